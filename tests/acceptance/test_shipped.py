"""The recipes that come with the software are right, and plan to what they promise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import ROOT

RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


def plan(kontext, model: Path, recipe: Path) -> dict:
    ended = kontext("plan", recipe, "--model", model, "--json")
    assert ended.status == 0, ended.err
    return json.loads(ended.out)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_checks_and_plans(kontext, model, recipe):
    first, _, _ = recipe.read_text().partition("\n")
    assert first == "# yaml-language-server: $schema=recipe.schema.json"
    checked = kontext("check", recipe, "--set", f"model={model}")
    assert (checked.status, checked.err) == (0, "")
    told = plan(kontext, model, recipe)
    assert told["total"] == len(told["steps"]) > 0
    assert (told["done"], told["warnings"]) == (0, [])
    assert told["outputs"]
    table = kontext("plan", recipe, "--model", model)
    assert table.out.splitlines()[-1] == f"{told['total']} steps, 0 done, {told['total']} to do; " \
        "no estimate yet."  # fmt: skip
    assert not (kontext.folder / "out").exists()


def test_product_backgrounds_has_six_products_on_four_scenes(kontext, model):
    told = plan(kontext, model, ROOT / "recipes" / "product-backgrounds.yaml")
    values = [variant["values"] for variant in told["variants"]]
    assert len({value["product"] for value in values}) >= 6
    assert len({value["scene"] for value in values}) >= 4
    assert {step["operation"] for step in told["steps"]} == {"edit"}


def test_journey_takes_each_character_to_four_places_and_changes_their_weather(kontext, model):
    told = plan(kontext, model, ROOT / "recipes" / "journey.yaml")
    parents = {step["key"]: step["parents"] for step in told["steps"]}
    assert len(told["variants"]) == 16
    for variant in told["variants"]:
        place, weathered = variant["keys"]
        assert (parents[place], parents[weathered]) == ([], [place])


def test_storyboard_is_a_chain_of_three_for_three_characters(kontext, model):
    told = plan(kontext, model, ROOT / "recipes" / "storyboard.yaml")
    parents = {step["key"]: step["parents"] for step in told["steps"]}
    assert len(told["variants"]) >= 3
    for variant in told["variants"]:
        face, street, snow = variant["keys"]
        assert (parents[face], parents[street], parents[snow]) == ([], [face], [street])
