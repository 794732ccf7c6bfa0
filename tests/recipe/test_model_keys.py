"""What a model folder says and how it reaches the keys: weights by digest, kontext.json by value.

The folders are written out byte for byte, so that their keys are fixed for good.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from kontext_engine.catalogue import resolve_model
from kontext_engine.digest import folder_digest
from kontext_engine.spec import ModelSpec, write_spec
from tests.recipe.workspace import plan_text

# As a folder from a hub has them; what stands for the weights need not be loadable to be keyed.
FILES = {
    "model_index.json": '{"_class_name": "FluxKontextPipeline"}\n',
    "scheduler/scheduler_config.json": '{"shift": 3.0, "use_dynamic_shifting": true}\n',
    "text_encoder/config.json": '{"hidden_size": 768}\n',
    "text_encoder_2/config.json": '{"d_model": 4096}\n',
    "tokenizer/tokenizer_config.json": '{"model_max_length": 77}\n',
    "tokenizer_2/tokenizer_config.json": '{"model_max_length": 512}\n',
    "transformer/config.json": (
        '{"_class_name": "FluxTransformer2DModel", "guidance_embeds": true, "in_channels": 64}\n'
    ),
    "transformer/diffusion_pytorch_model.safetensors": "weights",
    "vae/config.json": '{"block_out_channels": [128, 256, 512, 512], "sample_size": 1024}\n',
}
WRITTEN = {
    "default_steps": 12,
    "default_guidance": 3.5,
    "default_size": [64, 64],
    "pixel_area": 4096,
    "text_tokens": 32,
    "context_ids": "index",
    "max_contexts": 2,
}
STATED = """\
version: 1
inputs: {product: samples/shoe.png}
defaults: {steps: 8, guidance: 2, seed: 7, size: 64x64}
steps:
  words: {op: generate, prompt: a beach}
  edit: {op: edit, image: product, prompt: put it on the beach}
  again: {op: edit, image: edit, prompt: make it snow}
"""
UNSTATED = """\
version: 1
inputs: {product: samples/shoe.png}
defaults: {seed: 7}
steps:
  words: {op: generate, prompt: a beach}
  edit: {op: edit, image: product, prompt: put it on the beach}
"""
# What these recipes' keys were before kontext.json left the digest, and have to stay.
HUB_STATED = {
    "words": "5575625b1292129422a2e4971c8c44fcc6ffd6f48566279d7239bfde39bff96c",
    "edit": "cbfc88f6ed06d502bdd7c3bcbc7fc39c15472623abb9e4a36859372d9c48c5a2",
    "again": "2e3f04ceac2f1d2b5fa58d7e4a72fe903f02a5b506c7769d94bacc9fbb8382e7",
}
HUB_UNSTATED = {
    "words": "7572f34a815c494528850c0406e619b843464138863fcccd7354e9ea4eda0260",
    "edit": "ed83a375dcc574aa0fc4b2b98adf61d1e74755eaa9a90f3cccc2ea9329f96a33",
}
# Fields of kontext.json that reach a key only where a recipe leaves them to the model, or never,
DEFAULTS_AND_LIMITS: dict[str, object] = {
    "default_steps": 99,
    "default_guidance": 9.5,
    "default_size": [80, 48],
    "sizes": [[64, 64], [80, 48]],
    "max_contexts": 4,
    "name": "other",
    "licence": "other",
}
# and those that change pixels whatever a recipe says.
DECIDING: dict[str, object] = {
    "text_tokens": 33,
    "context_ids": "offset",
    "pixel_area": 128 * 128,
    "multiple": 8,
    "condition": "channel",
    "guidance_embedded": False,
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def model(folder: Path) -> Path:
    """A model folder as it comes from a hub: without a kontext.json."""
    for name, text in FILES.items():
        path = folder / "hub" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder / "hub"


def keys(model: Path, recipe: str = STATED) -> dict[str, str]:
    return dict(plan_text(recipe, model.parent, model=resolve_model(model)).labels)


def write(model: Path, **changed: object) -> None:
    (model / "kontext.json").write_text(json.dumps(WRITTEN | changed), "utf-8")


def test_keys_of_a_folder_from_a_hub_stay_what_they_were(model: Path) -> None:
    assert keys(model) == HUB_STATED
    assert keys(model, UNSTATED) == HUB_UNSTATED


def test_a_spec_that_says_what_is_derived_anyway_changes_no_key(model: Path) -> None:
    write_spec(model, resolve_model(model))
    assert keys(model) == HUB_STATED
    assert keys(model, UNSTATED) == HUB_UNSTATED


@pytest.mark.parametrize("field", DEFAULTS_AND_LIMITS)
def test_a_recipe_that_states_its_parameters_keeps_its_keys(model: Path, field: str) -> None:
    write(model)
    before = keys(model)
    write(model, **{field: DEFAULTS_AND_LIMITS[field]})
    assert keys(model) == before


@pytest.mark.parametrize(
    ("field", "moved"),
    [
        ("default_steps", {"words", "edit"}),
        ("default_guidance", {"words", "edit"}),
        ("default_size", {"words"}),  # an edit follows its picture
    ],
)
def test_a_recipe_that_leaves_them_to_the_model_follows_its_defaults(
    model: Path, field: str, moved: set[str]
) -> None:
    write(model)
    before = keys(model, UNSTATED)
    write(model, **{field: DEFAULTS_AND_LIMITS[field]})
    after = keys(model, UNSTATED)
    assert {step for step in before if after[step] != before[step]} == moved


@pytest.mark.parametrize("field", DECIDING)
def test_what_decides_pixels_changes_every_key(model: Path, field: str) -> None:
    write(model)
    before = keys(model)
    write(model, **{field: DECIDING[field]})
    after = keys(model)
    assert all(after[step] != before[step] for step in before)


def test_every_field_of_the_file_has_been_judged() -> None:
    known = {field.name for field in fields(ModelSpec)} - {"source", "digest"}
    assert known == {*DEFAULTS_AND_LIMITS, *DECIDING}


def test_the_digest_is_of_the_weights_alone(model: Path) -> None:
    bare = resolve_model(model).digest
    write(model)
    assert resolve_model(model).digest == bare
    # A table that another release keeps there, say: what this one cannot read changes no digest.
    (model / "kontext.json").write_text('{"measured": {"draft": 2}}', "utf-8")
    assert folder_digest(model) == bare
    write(model)
    (model / "transformer" / "diffusion_pytorch_model.safetensors").write_bytes(b"others")
    assert resolve_model(model).digest != bare
