"""The set, the split by subject, and the part of it that comes with the tests."""

import hashlib
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from kontext_engine.training import cutouts as module
from kontext_engine.training.cutouts import (
    HELD_OUT_DIGEST,
    HELD_OUT_SHARE,
    OCCLUDERS,
    SIGNS,
    THINGS,
    Cutout,
    held_out_order,
    order_digest,
    pixels,
    read_set,
    split_of,
)
from kontext_engine.training.errors import TrainingError
from kontext_engine.training.held_out import export_held_out
from kontext_engine.training.studio import Studio
from tests.training.conftest import CUTOUTS, DATA, NOUNS

TONES = ("1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff")
FIRST = (
    "scorpion", "slightly-smiling-face", "nine-oclock", "face-vomiting", "mouse-trap",
    "cold-face", "call-me-hand", "writing-hand", "man-superhero", "person-shrugging", "skier",
    "woman-surfing", "old-woman", "waffle", "admission-tickets", "shaking-face", "clapper-board",
    "crab", "socks", "rice-cracker", "face-with-rolling-eyes", "satellite-antenna", "goal-net",
    "person-in-suit-levitating",
)  # fmt: skip
# SHA-256 over code, name, subject and category of the whole set's held-out order.
ORDER = "8cde07dfa439007bce5ca32d6fb8b171c24511c8ea398ef238d934eb9da6d1a0"


def described(cutout):
    return f"{cutout.code} {cutout.name} {cutout.subject} {cutout.category}"


def fabricated(code):
    subject = "-".join(part for part in code.split("-") if part not in TONES)
    return Cutout(code, f"thing-{subject}", subject, "Objects", CUTOUTS / "none.webp")


def test_the_shipped_part_has_the_whole_sets_held_out_order(held_out):
    listing = "\n".join(map(described, held_out))
    assert hashlib.sha256(listing.encode()).hexdigest() == ORDER
    assert order_digest(held_out) == ORDER == HELD_OUT_DIGEST
    assert order_digest(held_out[1:]) != ORDER
    assert tuple(cutout.name for cutout in held_out[:24]) == FIRST
    assert len(held_out) == 350


def test_the_order_begins_with_one_of_each_subject_and_does_not_depend_on_the_listing(held_out):
    subjects = len({cutout.subject for cutout in held_out})
    assert len({cutout.subject for cutout in held_out[:subjects]}) == subjects == 160
    assert held_out_order(held_out[::-1]) == held_out


def test_the_shipped_part_is_what_the_exporter_writes(tmp_path):
    assert export_held_out(CUTOUTS, tmp_path / "again") == 390
    shipped = {p.relative_to(CUTOUTS): p for p in CUTOUTS.rglob("*") if p.is_file()}
    written = [p for p in (tmp_path / "again").rglob("*") if p.is_file()]
    assert {p.relative_to(tmp_path / "again") for p in written} == set(shipped)
    for path in written:
        assert path.read_bytes() == shipped[path.relative_to(tmp_path / "again")].read_bytes()
    assert sum(path.stat().st_size for path in shipped.values()) < 4_000_000


def test_the_shipped_part_is_attributed():
    text = (CUTOUTS / "ATTRIBUTION.md").read_text("utf-8")
    assert "Microsoft Corporation" in text
    assert "MIT License" in text
    assert "@lobehub/fluent-emoji-3d" in text


def test_only_held_out_subjects_and_props_are_shipped(cutouts):
    training = {cutout.name for cutout in cutouts if split_of(cutout) == "train"}
    assert training == {*OCCLUDERS, *THINGS}
    assert not {cutout.category for cutout in cutouts} & set(SIGNS)


def test_whatever_instructions_name_is_trained_on():
    for name in (*OCCLUDERS, *THINGS):
        # Even where the hash of its code points would hold it out.
        unlucky = (replace(fabricated(f"{code:x}"), name=name) for code in range(0x1F300, 0x1F340))
        assert {split_of(cutout) for cutout in unlucky} == {"train"}


def test_all_skin_tones_of_a_subject_lie_on_one_side(cutouts):
    sides = defaultdict(set)
    for base in range(0x1F300, 0x1FA00):
        for code in (f"{base:x}", *(f"{base:x}-{tone}" for tone in TONES)):
            sides[base].add(split_of(fabricated(code)))
    assert {len(found) for found in sides.values()} == {1}
    share = sum(found == {"held_out"} for found in sides.values()) / len(sides)
    assert share == pytest.approx(HELD_OUT_SHARE, abs=0.02)

    people = Counter(cutout.subject for cutout in cutouts if "People" in cutout.category)
    assert max(people.values()) == 6  # without a tone, and five


def test_no_held_out_subject_is_in_training(cutouts, held_out):
    training = {cutout.subject for cutout in cutouts if split_of(cutout) == "train"}
    assert training.isdisjoint(cutout.subject for cutout in held_out)
    assert {split_of(cutout) for cutout in held_out} == {"held_out"}


def test_a_studio_casts_only_the_subjects_it_is_given(cutouts, held_out, studio):
    unseen = Studio(held_out, cutouts)
    rng = np.random.default_rng(0)
    assert {split_of(unseen.cast(rng)) for _ in range(200)} == {"held_out"}
    assert {split_of(studio.cast(rng)) for _ in range(200)} == {"train"}


def test_names_carry_no_skin_tone(cutouts):
    tones = [c for c in cutouts if any(tone in c.code for tone in TONES)]
    assert len(tones) > 150
    assert not any(c.name.endswith(("-light", "-medium", "-dark")) for c in tones)
    assert {c.noun for c in cutouts if c.name == "man-superhero"} == {"man superhero"}


@pytest.mark.skipif(
    not (DATA.parents[1] / "data" / "cutouts").is_dir(), reason="the whole set was not fetched"
)
def test_the_shipped_nouns_are_those_of_the_whole_set():
    every = read_set(DATA.parents[1] / "data" / "cutouts")
    assert tuple(sorted({c.noun for c in every if split_of(c) == "train"})) == NOUNS
    assert (
        hashlib.sha256("\n".join(map(described, held_out_order(every))).encode()).hexdigest()
        == ORDER
    )


def test_pixels_are_trimmed_and_scaled(cutouts):
    for cutout in cutouts[::40]:
        rgba = pixels(cutout, 96)
        assert rgba.dtype == np.uint8
        assert rgba.shape[2] == 4
        assert max(rgba.shape[:2]) == 96
        for border in (rgba[0], rgba[-1], rgba[:, 0], rgba[:, -1]):
            assert border[:, 3].max() > 0, cutout.name


def test_a_missing_set_says_how_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        read_set(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: no cut-outs here; expected names.json and assets/; "
        "run `make data` (needs npm, 18 MB)"
    )
    assert module.EDGE == 128


@pytest.mark.parametrize("listing", ["", "{", "[]", "{}", '{"chars": {}}', '{"chars": 3}', "\\x00"])
def test_a_damaged_listing_is_named(listing, tmp_path):
    (tmp_path / "assets").mkdir()
    (tmp_path / "names.json").write_text(listing)
    with pytest.raises(TrainingError) as told:
        read_set(tmp_path)
    assert str(told.value).startswith(f"{tmp_path / 'names.json'}: damaged (")
    assert str(told.value).endswith("fetch the set again with `make data`")


@pytest.mark.parametrize("data", [b"", b"no picture", None])
def test_an_unreadable_cutout_is_named(data, cutouts, tmp_path):
    path = tmp_path / "1f43b.webp"
    path.write_bytes(cutouts[0].path.read_bytes()[:900] if data is None else data)
    with pytest.raises(TrainingError, match=r"1f43b\.webp: not a readable picture"):
        pixels(replace(cutouts[0], path=path))
