"""A store made by an earlier release gives only cache hits: no shipped recipe's key has moved."""

from __future__ import annotations

import json

import pytest

from tests.recipe.frozen import RECIPES, TABLE, keys_of, planned

FROZEN = json.loads(TABLE.read_text())


def test_the_table_is_of_the_recipes_that_were_shipped_when_it_was_made() -> None:
    assert tuple(FROZEN) == RECIPES
    assert sum(len(keys) - 1 for keys in FROZEN.values()) == 360


@pytest.mark.parametrize("name", RECIPES)
def test_keys_labels_and_outputs_are_as_they_were(name: str) -> None:
    assert keys_of(planned(name)) == FROZEN[name]
