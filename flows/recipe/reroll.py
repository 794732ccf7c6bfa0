"""Re-roll: another seed for one frame, remembered beside the recipe."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flows.recipe.errors import Problem, RecipeError
from flows.recipe.keys import next_seed
from flows.recipe.overrides import load_overrides, save_overrides
from flows.recipe.plan import make_plan
from flows.recipe.recipe import Recipe
from flows.recipe.select import select_one
from kontext_engine.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Reroll:
    """What was changed: a step's label, its seed before and its seed from now on."""

    label: str
    before: int
    seed: int


def reroll(recipe: Recipe, selector: str, *, model: ModelSpec | None = None) -> Reroll:
    """Give the one step that ``selector`` names a new seed, and write it to the overrides file.

    The new seed follows from the label and the seed there was, so the same re-rolls give the same
    pictures on any machine. Plan again afterwards: the step and its descendants have new keys.

    Raises:
        RecipeError: the selector names no step or several, or the overrides cannot be written.
    """
    overrides = load_overrides(recipe.path)
    plan = make_plan(recipe, model=model, overrides=overrides)
    label = select_one(plan, selector, "--reroll")
    # Two labels may share one key, and so its parameters; the seed is theirs alike.
    before = plan.steps[plan.labels[label]].params.seed
    seed = next_seed(label, before)
    try:
        save_overrides(replace(overrides, seeds={**overrides.seeds, label: seed}))
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        text = f"cannot be written ({reason}); expected a writable folder; check its permissions"
        raise RecipeError([Problem(str(overrides.path), None, text)]) from None
    return Reroll(label, before, seed)
