"""Keys are a promise to every store there is: these values must never change by accident.

Whoever changes what a key covers raises KEY_VERSION and writes the new values here.
"""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import fields, replace
from pathlib import Path

import pytest
from PIL import Image

from flows.plan.keys import next_seed, seeding, step_key
from flows.plan.step import ParentStep, SourceImage, StepParams
from flows.sources import place
from flows.sources.place import look_at
from kontext_engine.geometry import Fit, Size
from kontext_engine.spec import NumericsProfile
from tests.recipe.workspace import MODEL

PARAMS = StepParams(prompt="put it on a beach", seed=7, steps=16, guidance=2.5)
SOURCE = SourceImage("product", Path("shoe.png"), "cd" * 32)


def key(**changes: object) -> str:
    given: dict[str, object] = {
        "operation": "edit",
        "params": PARAMS,
        "contexts": (SOURCE,),
        "model": MODEL,
        "numerics": NumericsProfile(),
    } | changes
    return step_key(**given)  # type: ignore[arg-type]


def test_golden_keys() -> None:
    assert key() == "dbde4d402d75ed07efba1cf1d2773c70b0012ae1f49b5e7e1ff8203a40dacdd4"
    assert (
        key(operation="generate", contexts=())
        == "7113cdef94a97ee65b84e6f4760920feb84d1342400fae42d716da12ee7a6653"
    )


def test_the_golden_key_is_the_hash_of_this_text() -> None:
    text = (
        '{"contexts":[{"source":"' + "cd" * 32 + '"}],"fit":"crop","guidance":2.5,"key":1,'
        '"model":{"condition":"sequence","context_ids":"offset","multiple":16,"pixel_area":16384,'
        '"text_tokens":77,"weights":"' + "ab" * 32 + '"},"negative_prompt":null,"numerics":'
        '{"attention":"sdpa","device":"cpu","dtype":"float32","tier":"quality","version":1},'
        '"operation":"edit","prompt":"put it on a beach","seed":7,"size":null,"steps":16,'
        '"true_cfg":1}'
    )
    assert key() == hashlib.sha256(text.encode()).hexdigest()


def test_golden_seeds() -> None:
    values = {"product": "handbag", "scene": "beach"}
    assert seeding("on_scene", values)(values) == 2002494675
    assert seeding("hero", ())({}) == 1461638852
    assert next_seed("hero", 7) == 2832527542


CHANGES: dict[str, object] = {
    "prompt": "put it on a beach.",
    "seed": 8,
    "steps": 17,
    "guidance": 2.6,
    "true_cfg": 2.0,
    "size": Size(128, 128),
    "fit": Fit.PAD,
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_parameter_is_in_the_key(name: str) -> None:
    assert key(params=replace(PARAMS, **{name: CHANGES[name]})) != key()
    assert {field.name for field in fields(StepParams)} == {*CHANGES, "negative_prompt"}


@pytest.mark.parametrize("name", [field.name for field in fields(NumericsProfile)])
def test_every_field_of_the_numerics_is_in_the_key(name: str) -> None:
    usual = NumericsProfile()
    other = 2 if name == "version" else f"{getattr(usual, name)}-other"
    assert key(numerics=replace(usual, **{name: other})) != key()


def test_sources_count_by_content_and_parents_by_key() -> None:
    assert key(contexts=(replace(SOURCE, path=Path("b.png"), input="x"),)) == key()
    assert key(contexts=(replace(SOURCE, digest="ee" * 32),)) != key()
    # A parent's key and a file of that very digest are different things.
    assert key(contexts=(ParentStep(SOURCE.digest),)) != key()


def test_what_has_no_effect_is_not_in_the_key() -> None:
    generate = {"operation": "generate", "contexts": ()}
    assert key(**generate, params=replace(PARAMS, fit=Fit.PAD)) == key(**generate)
    assert key(params=replace(PARAMS, negative_prompt="ugly")) == key()
    free = replace(PARAMS, true_cfg=2.0)
    assert key(params=replace(free, negative_prompt="ugly")) != key(params=free)


def test_a_number_has_one_spelling() -> None:
    assert key(params=replace(PARAMS, guidance=2.0)) == key(params=replace(PARAMS, guidance=2))
    assert key(params=replace(PARAMS, guidance=-0.0)) == key(params=replace(PARAMS, guidance=0))
    with pytest.raises(ValueError, match="JSON compliant"):
        key(params=replace(PARAMS, guidance=math.nan))


def test_a_files_digest_follows_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert look_at(path).digest == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"three")
    assert look_at(path).digest == hashlib.sha256(b"three").hexdigest()


def test_bytes_that_change_within_one_tick_of_the_clock_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    then = path.stat().st_mtime_ns
    assert look_at(path).digest == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"two")
    os.utime(path, ns=(then, then))
    assert look_at(path).digest == hashlib.sha256(b"two").hexdigest()


def test_a_file_that_has_settled_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    monkeypatch.setattr(place, "SETTLING_NS", -1)
    assert look_at(path).digest == look_at(path).digest
    monkeypatch.setattr(Path, "open", pytest.fail)
    assert look_at(path).digest == hashlib.sha256(b"one").hexdigest()


def test_a_kind_that_is_read_anew_has_a_key_of_its_own_and_all_others_keep_theirs() -> None:
    old, new = SOURCE, replace(SOURCE, reading=2)
    assert key(contexts=[old]) == key(contexts=[replace(SOURCE, reading=1)])
    assert key(contexts=[old]) != key(contexts=[new])


def test_how_a_file_is_read_is_told_by_its_header(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "rgb.tif")
    Image.new("LAB", (8, 8)).save(tmp_path / "lab.tif")
    (tmp_path / "none.tif").write_bytes(b"no picture")
    found = {path.stem: look_at(path).reading for path in tmp_path.iterdir()}
    assert found == {"rgb": 1, "lab": 2, "none": 1}
