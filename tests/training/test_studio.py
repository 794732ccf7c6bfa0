"""Families: pure functions of their arguments, whose pairs differ in what is asked and no more."""

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
from PIL import Image

from kontext_engine.training.cutouts import FACES, OCCLUDERS, THINGS, Cutout
from kontext_engine.training.effects import TINTS, WEATHER
from kontext_engine.training.looks import Look, draw_looks, pairs
from kontext_engine.training.placement import POSES, Stage, layer, over
from kontext_engine.training.scenes import SCENES
from kontext_engine.training.signs import HELD_OUT
from kontext_engine.training.studio import Studio
from kontext_engine.training.styles import STYLES

# Drawn behind seeds 0, 1 and 1234 from the props alone.
GOLDEN_SUBJECTS = ["red-heart", "red-apple", "duck"]
GOLDEN_HOMES = ["night street", "plain black", "meadow"]
GOLDEN_BOXES = [(29, 58, 95, 116), (23, 38, 101, 113), (19, 31, 109, 121)]
GOLDEN_COVERS = [(58, 76, 30), (59, 70, 32), (68, 63, 37)]
GOLDEN_SPOTS = [(4, 84, 39, 119), (4, 81, 39, 116), (4, 89, 39, 124)]
GOLDEN_LOOKS = (
    Look("night street"),
    Look("plain yellow"),
    Look("underwater"),
    Look("night street", colour="white"),
    Look("night street", colour="green"),
    Look("night street", colour="orange"),
    Look("night street", weather="golden"),
    Look("night street", weather="rain"),
    Look("night street", occluder="cloud"),
    Look("night street", occluder="doughnut", spot=1),
    Look("night street", occluder="umbrella", spot=2),
    Look("night street", occluder="green-book", spot=3),
    Look("night street", occluder="leaf-fluttering-in-wind", spot=4),
    Look("night street", thing="dog", side="left"),
    Look("night street", thing="trophy", side="left"),
    Look("night street", thing="bicycle", side="left"),
    Look("night street", thing="potted-plant", side="right"),
    Look("night street", side="left", box=True),
    Look("plain yellow", colour="white"),
    Look("plain yellow", colour="white", thing="dog", side="left"),
    Look("night street", colour="white", thing="dog", side="left"),
    Look("night street", colour="white", thing="trophy", side="left"),
    Look("night street", colour="white", weather="monochrome", thing="trophy", side="left"),
    Look("plain yellow", occluder="cookie", spot=5),
    Look("underwater", occluder="hibiscus", spot=6),
    Look("night street", colour="green", occluder="sunflower", spot=7),
    Look("underwater", colour="green"),
    Look("underwater", colour="green", weather="golden"),
)
GOLDEN_REFERENCES = (
    Look("night street", style="sketch"),
    Look("night street", style="watercolour"),
    Look("night street", style="poster"),
    Look("plain yellow", empty=True),
    Look("plain yellow", pose="left"),
    Look("plain yellow", pose="turned"),
    Look("underwater", pose="close"),
    Look("night street", word="KLF"),
    Look("night street", word="RCHHM"),
    Look("night street", word="LUCKY"),
    Look("plain yellow", word="KLF"),
    Look("night street", style="flat"),
    Look("night street", pose="right"),
    Look("underwater", word="TOWN"),
)
SIZES = ((64, 64), (112, 144), (144, 112))
# What two looks of a pair differ in, by category.
DIFFERS = {
    "background": {"scene"},
    "recolour": {"colour"},
    "weather": {"weather"},
    "uncover": {"occluder"},
    "add": {"thing", "side"},
    "replace": {"thing"},
    "remove": {"thing", "side"},
    "box": {"thing", "box"},
    "text": {"word"},
    "restyle": {"style"},
    "style": {"style"},
    "expression": {"face"},
    "character": {"scene", "pose"},
}
LOCAL = ("recolour", "uncover", "add", "replace", "remove", "box")


def differing(a, b):
    return {f.name for f in fields(Look) if getattr(a, f.name) != getattr(b, f.name)}


@pytest.mark.parametrize("size", SIZES[:2])
def test_a_family_is_a_function_of_seed_and_size(size, studio, cutouts, held_out):
    first = studio.family(5, size)
    assert first.pictures.dtype == np.uint8
    assert first.pictures.shape == (len(first.looks), size[1], size[0], 3)
    studio.family(6, size)
    again = Studio([c for c in cutouts if c not in held_out], cutouts).family(5, size)
    assert (again.subject, again.looks) == (first.subject, first.looks)
    assert np.array_equal(again.pictures, first.pictures)
    other = studio.family(6, size)
    assert not np.array_equal(other.pictures[0], first.pictures[0])


def test_families_are_those_that_models_were_trained_on(studio):
    """The draws behind a seed: subject, place and looks. A changed order changes the data."""
    drawn = [studio.family(seed, (64, 64)) for seed in (0, 1, 1234)]
    assert [family.subject.name for family in drawn] == GOLDEN_SUBJECTS
    assert [family.looks[0].scene for family in drawn] == GOLDEN_HOMES
    assert drawn[0].looks[: len(GOLDEN_LOOKS)] == GOLDEN_LOOKS
    assert drawn[0].looks[len(GOLDEN_LOOKS) :] == GOLDEN_REFERENCES
    stages = [Stage.place(f.subject, f.seed, (128, 128)) for f in drawn]
    assert [stage.box for stage in stages] == GOLDEN_BOXES
    assert [tuple(map(round, stage.middle)) for stage in stages] == GOLDEN_COVERS
    assert [stage.spot("left") for stage in stages] == GOLDEN_SPOTS


def test_a_subject_and_looks_may_be_given_and_the_place_stays(studio, held_out):
    drawn = studio.family(3, (64, 64))
    given = studio.family(3, (64, 64), drawn.subject, drawn.looks[2:4])
    assert np.array_equal(given.pictures, drawn.pictures[2:4])
    other = studio.family(3, (64, 64), held_out[0], drawn.looks[2:4])
    assert other.subject == held_out[0]
    assert not np.array_equal(other.pictures, given.pictures)


@pytest.mark.parametrize(("seed", "face"), [(k, k % 4 == 0) for k in range(20)])
def test_every_pair_differs_in_what_its_category_names_alone(seed, face):
    looks = draw_looks(seed, face)
    assert len(set(looks)) == len(looks)
    found = list(pairs(looks))
    for pair in found:
        source, target = looks[pair.source], looks[pair.target]
        # Where a cover lay is no longer a question once it is gone.
        apart = differing(replace(source, spot=0), target)
        if pair.category in {"character", "place"}:  # from any pose to the one that is named
            assert {"scene"} <= apart <= {"scene", "pose"}
            assert (pair.value, pair.detail) == (target.scene, target.pose or "")
            if pair.category == "place":  # which the second picture shows
                assert looks[pair.place] == Look(target.scene, empty=True)
            continue
        assert apart == DIFFERS[pair.category], pair
        asked = {
            "background": target.scene, "recolour": target.colour, "weather": target.weather,
            "uncover": source.occluder, "add": target.thing, "replace": target.thing,
            "remove": source.thing, "box": target.thing, "text": target.word,
            "restyle": target.style, "style": target.style, "expression": target.face,
        }[pair.category]  # fmt: skip
        assert pair.value == asked
        details = {"add": target.side, "replace": source.thing, "text": source.word}
        assert pair.detail == details.get(pair.category, "")
    # Three sets, two of them dressed and two in another colour (12); three colours from bare and
    # from each other (9), on the two other sets, behind two things; two weathers and two over
    # combined looks; eight covers; a thing on either side of bare (4), of the coloured subject (2)
    # and on the other set; three things (6) and two beside the coloured subject for each other;
    # three in the box.
    counted = Counter(pair.category for pair in found)
    for name in ("character", "place"):  # as many as poses and sets happen to meet
        assert counted.pop(name) > 5
    assert counted.pop("background") in (12, 14)  # perhaps a pose on two sets
    # A sign is no subject, which words would name.
    assert not any(looks[p.source].word for p in found if p.category != "text")
    assert counted == {
        "recolour": 13, "weather": 4, "uncover": 8, "add": 7, "replace": 8, "remove": 7, "box": 3,
        "text": 6, "style": 3 if face else 4, "restyle": 3 if face else 4,
        **({"expression": 9} if face else {}),
    }  # fmt: skip
    # One may be asked for in two ways: by a name, or by a second picture.
    assert len({(p.source, p.target, p.category) for p in found}) == len(found)


def test_drawn_looks_in_the_end_show_everything():
    drawn = [look for seed in range(300) for look in draw_looks(seed)]
    assert {look.scene for look in drawn} == set(SCENES)
    assert {look.colour for look in drawn} == {None, *TINTS}
    assert {look.weather for look in drawn} == {None, *WEATHER}
    assert {look.occluder for look in drawn} == {None, *OCCLUDERS}
    assert {look.thing for look in drawn} == {None, *THINGS}
    assert {look.side for look in drawn} == {None, "left", "right"}
    assert {look.style for look in drawn} == {None, *STYLES}
    assert {look.pose for look in drawn} == {None, *POSES}
    assert len(drawn) == 42 * 300
    assert not {look.word for look in drawn} & {*HELD_OUT}
    assert {look.face for look in draw_looks(0, face=True)} <= {None, *FACES}


@pytest.mark.parametrize("seed", range(6))
def test_every_cover_of_a_family_lies_elsewhere_on_the_subject(seed, held_out):
    stage = Stage.place(held_out[seed], seed, (128, 128))
    covers = [stage.cover(spot) for spot in range(8)]
    assert covers[0] == stage.middle
    assert covers == [Stage.place(held_out[seed], seed, (128, 128)).cover(k) for k in range(8)]
    assert len(set(covers)) == 8
    left, top, right, bottom = stage.box
    for x, y, edge in covers:
        assert left < x < right and top < y < bottom
        assert 0.38 <= edge / max(right - left, bottom - top) <= 0.60


def may_change(category, stage, side=None, spot=0):
    """(h, w): where a local edit may touch the picture."""
    width, height = stage.size
    allowed = np.zeros((height, width), bool)
    if category == "recolour":
        mask = stage.actor.copy()
        mask[..., :3] = 1.0
        return over(np.zeros((height, width, 3), np.float32), mask, stage.box[:2])[..., 0] > 0
    if category == "uncover":
        x, y, edge = stage.cover(spot)
        reach = edge / 2 + 1.5
        rows, columns = (y - reach, y + reach), (x - reach, x + reach)
        allowed[slice(*clipped(rows, height)), slice(*clipped(columns, width))] = True
        return allowed
    x0, y0, x1, y1 = stage.spot(side)
    allowed[y0:y1, x0:x1] = True
    # A thing's shadow: an ellipse a fifth as high as wide, cut at three of its half-heights.
    reach = 3 * 0.2 * 0.42 * (x1 - x0) + 1
    allowed[slice(*clipped((y1 - reach, y1 + reach), height))] = True
    return allowed


def clipped(span, end):
    return max(0, int(span[0])), min(end, int(span[1]) + 1)


@pytest.mark.parametrize("seed", range(6))
def test_outside_what_a_local_edit_changes_source_and_target_are_equal(seed, studio):
    family = studio.family(seed, SIZES[seed % 3])
    stage = Stage.place(family.subject, seed, SIZES[seed % 3])
    checked = Counter()
    for pair in pairs(family.looks):
        source, target = family.pictures[pair.source], family.pictures[pair.target]
        changed = (source != target).any(axis=-1)
        assert changed.any(), pair
        if pair.category not in LOCAL:
            continue
        looks = family.looks[pair.source], family.looks[pair.target]
        side = looks[0].side or looks[1].side
        assert not (changed & ~may_change(pair.category, stage, side, looks[0].spot)).any(), pair
        checked[pair.category] += 1
    assert set(checked) == set(LOCAL)


def test_a_cover_hides_a_part_of_the_subject_and_never_all_of_it(studio):
    for seed in range(5):
        stage = Stage.place(studio.family(seed, (64, 64)).subject, seed, (64, 64))
        bare, covered = studio.family(
            seed, (64, 64), looks=(Look("plain gray"), Look("plain gray", occluder="pizza"))
        ).pictures
        actor = may_change("recolour", stage)
        hidden = (bare != covered).any(axis=-1) & actor
        assert 0.05 < hidden.sum() / actor.sum() < 0.95


def test_a_red_box_is_drawn_where_the_thing_will_stand(studio):
    for side in ("left", "right"):
        looks = (Look("snow"), Look("snow", side=side, box=True))
        bare, boxed = studio.family(2, (128, 128), looks=looks).pictures
        changed = (bare != boxed).any(axis=-1)
        rows, columns = np.nonzero(changed)
        x0, y0, x1, y1 = Stage.place(studio.family(2, (128, 128)).subject, 2, (128, 128)).spot(side)
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x0, y0, x1, y1)
        red = boxed[changed].astype(int)
        assert (red[:, 0] > 200).all()
        assert (red[:, 1:] < 50).all()
        assert not changed[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].any()


def test_over_cuts_what_overhangs_and_blends_by_alpha():
    canvas = np.full((4, 4, 3), 0.5, np.float32)
    top = np.ones((2, 2, 4), np.float32)
    top[..., 3] = 0.25
    shown = over(canvas, top, (3, -1))
    assert np.allclose(shown[0, 3], 0.625)
    shown[0, 3] = 0.5
    assert np.array_equal(shown, canvas)
    assert over(canvas, top, (4, 4)) is canvas


def test_a_layer_is_scaled_without_a_fringe(tmp_path):
    """Straight alpha would bleed the black of empty pixels into a white disc's rim."""
    rgba = np.zeros((100, 100, 4), np.uint8)
    y, x = np.mgrid[:100, :100]
    rgba[(x - 50) ** 2 + (y - 50) ** 2 < 45**2] = 255
    Image.fromarray(rgba).save(tmp_path / "1f535.webp", lossless=True)
    disc = Cutout("1f535", "disc", "1f535", "Objects", tmp_path / "1f535.webp")
    small = layer(disc, 21)
    assert max(small.shape[:2]) == 21
    rim = (small[..., 3] > 0.05) & (small[..., 3] < 0.95)
    assert rim.sum() > 20
    assert small[rim][:, :3].min() > 0.9
