"""``recipe.schema.json``: in sync, and of one mind with ``kontext check``."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from flows.recipe.errors import RecipeError
from flows.recipe.node import to_plain
from flows.recipe.recipe import parse_recipe
from flows.recipe.schema import RecipeFile, json_schema, json_schema_text
from flows.recipe.source import parse_source
from tests.language import PAGE, page
from tests.recipe.test_wrong import WRONG

RECIPES = Path(__file__).parents[2] / "recipes"
FULL = """\
# yaml-language-server: $schema=recipe.schema.json
version: 1
name: everything
description: All that a recipe can say.
model: kontext-mini
variables: {season: summer, year: 2024}
inputs:
  one: samples/shoe.png
  product:
    - {file: samples/handbag.png, name: bag, noun: handbag, price: 3.50}
    - samples/*.png
matrix:
  scene:
    - {name: beach, value: a beach, words: on a sunny beach}
    - snow
    - 2024
  exclude: [{product: [bag, shoe], scene: snow}]
  include: [{product: bag, scene: {name: night, words: at night}}]
defaults: {steps: 16, guidance: 2.5, size: match, fit: pad}
steps:
  base: {op: generate, prompt: hi, seed: 7, size: {width: 128, height: 96}}
  edit: {op: edit, image: [one, base], prompt: hi, negative_prompt: no, true_cfg: 2, size: 64x64}
outputs:
  - {step: edit, name: "{product}/{scene}", format: jpeg, quality: 90}
"""
# The table's cases that are wrong in form: a schema sees these as well, and no others. What else is
# wrong is so in meaning (a name that is not there, a picture that cannot be), or is no YAML at all.
_IN_FORM = """
unknown-top-key unknown-key-far empty-steps steps-null steps-list unknown-step-key
missing-prompt missing-op bad-op quoted-int bool-int float-int steps-zero steps-many
guidance-text guidance-range negative-seed prompt-number prompt-braces prompt-empty
bad-step-name fit-value several-at-once no-version version-2 version-quoted no-steps
size-unreadable edit-without-image generate-with-image variable-unset axis-not-list axis-empty
of-every-kind value-bad-name include-list input-number output-format output-ground-is-a-comment
output-size-match output-size-unreadable
sheet-key sheet-columns
output-neither zip-one zip-not-a-list zip-in-matrix-of-unknown-kind takes-zero takes-many
takes-text takes-in-defaults parameter-unknown-type parameter-without-type
parameter-not-a-mapping parameter-unknown-key parameter-bad-name unknown-key-x extends-a-list
extends-empty region-unknown-key box-three box-word cutout-with-words cutout-of-nothing
cutout-key cutout-std pick-from-nothing pick-by-nobody pick-by-hnd pick-unknown-key-of-by
pick-with-a-prompt from-of-an-edit
"""
IN_FORM = frozenset(_IN_FORM.split())


@functools.cache
def checker() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json_schema())


def valid(text: str) -> bool:
    return bool(checker().is_valid(to_plain(parse_source(text, "r.yaml").root)))


def test_the_file_is_in_sync() -> None:
    shipped = (RECIPES / "recipe.schema.json").read_text()
    assert shipped == json_schema_text(), "run: kontext schema --out recipes/recipe.schema.json"


def test_the_page_of_the_language_is_in_sync() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python -m tests.language"


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(json_schema_text()))


def test_every_feature_is_valid_for_both(tmp_path: Path) -> None:
    assert valid(FULL)
    parse_recipe(FULL, tmp_path / "r.yaml")


@pytest.mark.parametrize("name", WRONG)
def test_an_editor_sees_what_is_wrong_in_form_and_no_more(name: str) -> None:
    content, _ = WRONG[name]
    try:
        valid_there = valid(content.decode())
    except (RecipeError, UnicodeDecodeError):  # an editor sees that it is no YAML of ours
        assert name not in IN_FORM
        return
    assert valid_there == (name not in IN_FORM)


def test_no_mark_is_of_a_case_that_is_gone() -> None:
    assert WRONG.keys() >= IN_FORM


def test_shipped_recipes_are_valid_and_point_to_the_schema() -> None:
    for path in RECIPES.glob("*.yaml"):
        if path.name.endswith(".overrides.yaml"):
            continue
        text = path.read_text()
        assert text.startswith("# yaml-language-server: $schema=recipe.schema.json\n# "), path
        assert valid(text), path
        parse_recipe(text, path)


def described(schema: Any, path: str = "") -> list[str]:
    """Paths of properties without a description."""
    if not isinstance(schema, dict):
        return []
    lacking = [
        f"{path}.{name}"
        for name, item in schema.get("properties", {}).items()
        if isinstance(item, dict) and "description" not in item
    ]
    for name, item in schema.get("$defs", {}).items():
        lacking += described(item, f"{path}.{name}")
    return lacking


def test_every_key_has_a_text_to_hover() -> None:
    assert described(json_schema()) == []
    steps = json_schema()["$defs"]["StepSpec"]["properties"]
    assert steps["image"]["description"].startswith("The picture to edit")
    assert set(RecipeFile.model_fields) == set(json_schema()["properties"])
