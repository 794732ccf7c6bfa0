"""The shipped recipes plan without a warning, and make as many pictures as the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flows.plan.plan import make_plan
from flows.recipe.recipe import load_recipe
from tests.recipe.workspace import MODEL, plan_file

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "recipes.md").read_text("utf-8")
TABLE = {
    name: (int(count), change)
    for name, count, change in re.findall(r"\| `([a-z-]+\.yaml)` \|.*\| (\d+) \| (.*) \|", TEXT)
}
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


@pytest.fixture(scope="module")
def plans():
    return {path.name: plan_file(path) for path in RECIPES}


def test_the_page_has_them_all_and_their_numbers(plans):
    assert {name: count for name, (count, _) in TABLE.items()} == {
        name: len(plan.steps) for name, plan in plans.items()
    }
    steps = [step for plan in plans.values() for step in plan.steps.values()]
    drawn = [step for step in steps if step.operation == "generate"]
    assert f"they make {len(steps)} pictures, of\nwhich {len(drawn)} from words alone" in TEXT
    assert len(steps) - len(drawn) >= 300


def test_none_warns_and_no_two_make_the_same_picture(plans):
    assert {name: plan.warnings for name, plan in plans.items() if plan.warnings} == {}
    keys = [key for plan in plans.values() for key in plan.steps]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (name, found.group(1))
        for name, (_, told) in sorted(TABLE.items())
        if (found := re.search(r"--set ([a-z]+=[a-z]+)", told))
    ],
)
def test_what_the_page_tells_to_change_changes_pictures(name, change, plans):
    changed = make_plan(load_recipe(ROOT / "recipes" / name, [change]), model=MODEL)
    assert set(changed.steps) != set(plans[name].steps)
    assert len(changed.outputs) == len(plans[name].outputs)
