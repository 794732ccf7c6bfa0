"""Re-roll: another seed for one frame, remembered beside the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flows.plan.keys import next_seed
from flows.plan.plan import make_plan
from flows.plan.select import select_exact
from flows.recipe.overrides import load_overrides, one_at_a_time, save_overrides
from flows.recipe.recipe import Recipe
from flows.settings import Settings
from kontext_engine.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Reroll:
    """What was changed: a step's label, its seed before and its seed from now on."""

    label: str
    before: int
    seed: int


def reroll(
    recipe: Recipe,
    selectors: Sequence[str],
    *,
    only: Sequence[str] = (),
    model: ModelSpec | None = None,
    settings: Settings | None = None,
) -> tuple[Reroll, ...]:
    """Give each step that a selector names a new seed; write all to the overrides file, or none.

    A label names one frame, of several takes the first; other selectors name all that they select.

    The new seed follows from the label and the seed there was, so the same re-rolls give the same
    pictures on any machine. Plan again afterwards: the steps and their descendants have new keys.

    Args:
        recipe: what ``load_recipe`` gave.
        selectors: what to change.
        only: what the run will be narrowed to; checked here, so that a run that is refused for it
            has not changed a seed.
        model: its spec; default: looked up by the name in the recipe.
        settings: where inputs may come from; default: those of this process.

    Raises:
        RecipeError: a selector names no step, the recipe is wrong, or the overrides
            cannot be written. No seed was changed.
    """
    with one_at_a_time(recipe.path):
        overrides = load_overrides(recipe.path)
        changes: list[Reroll] = []
        for selector in selectors:
            plan = make_plan(recipe, model=model, overrides=overrides, settings=settings)
            for label in select_exact(plan, selector, "--reroll"):
                # Two labels may share one key, and so its parameters; the seed is theirs alike.
                before = plan.steps[plan.labels[label]].params.seed
                change = Reroll(label, before, next_seed(label, before))
                overrides = replace(overrides, seeds={**overrides.seeds, label: change.seed})
                changes.append(change)
        make_plan(recipe, model=model, overrides=overrides, only=only, settings=settings)
        save_overrides(overrides)
    return tuple(changes)
