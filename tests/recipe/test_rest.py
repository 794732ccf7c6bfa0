"""A mistake of form in a recipe that is right otherwise is told alone: nothing follows from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.cli.check import everything
from flows.recipe.errors import RecipeError
from flows.recipe.node import to_plain
from flows.recipe.recipe import parse_recipe
from flows.recipe.source import read_source

ROOT = Path(__file__).parents[2]
RECIPES = ("exact-product", "house-style", "localisation", "remake", "storyboard")


def broken(document: dict[str, Any]) -> Iterator[str]:
    """The recipe with each part of a step, an output or the defaults of a kind that none has."""
    parts = [
        *document.get("steps", {}).values(),
        *document.get("outputs", []),
        *([document["defaults"]] if "defaults" in document else []),
    ]
    for part in parts:
        for name, value in list(part.items()):
            part[name] = {"no": {"such": "kind"}}
            yield json.dumps(document, ensure_ascii=False)
            part[name] = value
        part["nonsense"] = 1
        yield json.dumps(document, ensure_ascii=False)
        del part["nonsense"]


@pytest.mark.parametrize("name", RECIPES)
def test_nothing_follows_from_a_mistake_of_form(name: str, monkeypatch) -> None:
    path = ROOT / "recipes" / "briefs" / f"{name}.yaml"
    monkeypatch.chdir(ROOT)
    partly = 0
    for text in broken(to_plain(read_source(path).root)):
        with pytest.raises(RecipeError) as error:
            parse_recipe(text, path)
        partly += error.value.partly is not None
        assert everything(error.value).problems == error.value.problems
    assert partly > 0
