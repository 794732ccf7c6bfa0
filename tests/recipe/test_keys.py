"""Keys are a promise to every store there is: these values must never change by accident.

Whoever changes what a key covers raises KEY_VERSION and writes the new values here.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import fields, replace
from pathlib import Path

import pytest

from flows.recipe import keys
from flows.recipe.keys import canonical, default_seed, digest, file_digest, next_seed, step_key
from flows.recipe.step import ParentStep, SourceImage, StepParams
from kontext_engine.geometry import Fit, Size
from kontext_engine.spec import Condition, ContextIds, ModelSpec, NumericsProfile
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
    assert default_seed("on_scene", {"product": "handbag", "scene": "beach"}) == 2002494675
    assert default_seed("hero", {}) == 1461638852
    assert next_seed("hero", 7) == 2832527542


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "put it on a beach."},
        {"seed": 8},
        {"steps": 17},
        {"guidance": 2.6},
        {"true_cfg": 2.0},
        {"size": Size(128, 128)},
        {"fit": Fit.PAD},
    ],
)
def test_every_parameter_is_in_the_key(change: dict[str, object]) -> None:
    assert key(params=replace(PARAMS, **change)) != key()


def test_every_parameter_has_a_case_above() -> None:
    covered = {"prompt", "seed", "steps", "guidance", "true_cfg", "size", "fit"}
    assert {field.name for field in fields(StepParams)} == covered | {"negative_prompt"}


@pytest.mark.parametrize("name", [field.name for field in fields(NumericsProfile)])
def test_every_field_of_the_numerics_is_in_the_key(name: str) -> None:
    usual = NumericsProfile()
    other = 2 if name == "version" else f"{getattr(usual, name)}-other"
    assert key(numerics=replace(usual, **{name: other})) != key()


CHANGES_PIXELS = {
    "digest": "00" * 32,
    "pixel_area": 256 * 256,
    "text_tokens": 512,
    "guidance_embedded": False,
    "multiple": 32,
    "context_ids": ContextIds.INDEX,
    "condition": Condition.CHANNEL,
}
# Names and limits; default steps, guidance and size reach the key as parameters.
CHANGES_NONE = {
    "name": "other",
    "source": "/elsewhere",
    "default_size": Size(64, 64),
    "sizes": (),
    "default_steps": 99,
    "default_guidance": 9.0,
    "max_contexts": 9,
    "licence": "other",
}


@pytest.mark.parametrize("name", CHANGES_PIXELS)
def test_what_of_a_model_changes_pixels_is_in_the_key(name: str) -> None:
    assert key(model=replace(MODEL, **{name: CHANGES_PIXELS[name]})) != key()


@pytest.mark.parametrize("name", CHANGES_NONE)
def test_what_of_a_model_changes_none_is_not(name: str) -> None:
    assert key(model=replace(MODEL, **{name: CHANGES_NONE[name]})) == key()


def test_every_field_of_a_model_has_been_judged() -> None:
    assert {field.name for field in fields(ModelSpec)} == {*CHANGES_PIXELS, *CHANGES_NONE}


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


def test_canonical_json_has_one_spelling() -> None:
    assert canonical({"b": 2.0, "a": [1, (2.5, None)], "ü": "é"}) == (
        b'{"a":[1,[2.5,null]],"b":2,"\\u00fc":"\\u00e9"}'
    )
    assert json.loads(canonical({"x": 0.1})) == {"x": 0.1}
    assert digest({"a": -0.0}) == digest({"a": 0})
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical(math.nan)


def test_a_files_digest_follows_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert file_digest(path) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"three")
    assert file_digest(path) == hashlib.sha256(b"three").hexdigest()


def test_bytes_that_change_within_one_tick_of_the_clock_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    then = path.stat().st_mtime_ns
    assert file_digest(path) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"two")
    os.utime(path, ns=(then, then))
    assert file_digest(path) == hashlib.sha256(b"two").hexdigest()


def test_a_file_that_has_settled_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    monkeypatch.setattr(keys, "SETTLING_NS", -1)
    assert file_digest(path) == file_digest(path)
    monkeypatch.setattr(Path, "open", pytest.fail)
    assert file_digest(path) == hashlib.sha256(b"one").hexdigest()
