"""A mistake in a recipe that is right otherwise is told alone: nothing follows from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.cli.check import everything, plan_anyway
from flows.recipe.errors import RecipeError
from flows.recipe.node import to_plain
from flows.recipe.recipe import parse_recipe, without
from flows.recipe.source import read_source

ROOT = Path(__file__).parents[2]
RECIPES = ("exact-product", "house-style", "localisation", "remake")


def broken(document: dict[str, Any]) -> Iterator[str]:
    """The recipe with one mistake in a step, an output or the defaults, of form or of meaning."""
    parts = [
        *document.get("steps", {}).values(),
        *document.get("outputs", []),
        *([document["defaults"]] if "defaults" in document else []),
    ]
    for part in parts:
        wrong = [(name, {"no": {"such": "kind"}}) for name in part]
        wrong += [(name, "{nothing}") for name in ("prompt", "name") if name in part]
        wrong += [(name, "nothing") for name in ("image", "step", "from") if name in part]
        for name, value in [*wrong, ("nonsense", 1)]:
            before = dict(part)
            part[name] = value
            yield json.dumps(document, ensure_ascii=False)
            part.clear()
            part.update(before)


@pytest.mark.parametrize("name", RECIPES)
def test_nothing_follows_from_a_mistake(name: str, monkeypatch) -> None:
    path = ROOT / "recipes" / "briefs" / f"{name}.yaml"
    monkeypatch.chdir(ROOT)
    rest = 0
    for text in broken(to_plain(read_source(path).root)):
        recipe = None
        with pytest.raises(RecipeError) as error:
            recipe = parse_recipe(text, path)
            plan_anyway(recipe)
        rest += error.value.rest is not None
        rest += recipe is not None and without(recipe, error.value.problems) is not None
        assert everything(error.value, recipe).problems == error.value.problems
    assert rest > 0
