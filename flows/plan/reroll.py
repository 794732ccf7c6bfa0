"""Re-roll: another seed for one frame, remembered as a decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from flows.decisions.decided import UNDECIDED, Decided
from flows.decisions.decision import Decision
from flows.plan.keys import next_seed
from flows.plan.plan import make_plan
from flows.plan.select import parse_label, select_exact, take_label
from flows.plan.slots import slot_of, split_take, takes_of
from flows.plan.step import Plan
from flows.problems import Problem
from flows.recipe.errors import RecipeError
from flows.recipe.overrides import load_overrides, one_at_a_time, save_overrides
from flows.recipe.recipe import Recipe
from flows.settings import Settings
from kontext_engine.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Reroll:
    """What was changed: a step's label, its seed before, its seed from now on, the decision of it.

    A take that a hand has picked keeps its seed: ``label`` is one more take then.
    """

    label: str
    before: int
    seed: int
    decision: Decision = field(compare=False)


def reroll(
    recipe: Recipe,
    selectors: Sequence[str],
    *,
    only: Sequence[str] = (),
    model: ModelSpec | None = None,
    settings: Settings | None = None,
    decided: Decided = UNDECIDED,
    who: str = "somebody",
    add: Callable[[Decision], object] = lambda decision: None,  # noqa: ARG005 - there is no store
    keep: bool = True,
) -> tuple[Reroll, ...]:
    """Give each step that a selector names a new seed; all are kept, or none.

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
        decided: what was decided so far; the decisions given back are made upon that.
        who: whose decisions they are.
        add: writes one.
        keep: write the seeds to the overrides file beside the recipe, too.

    Raises:
        RecipeError: a selector names no step, the recipe is wrong, or the overrides
            cannot be written. No seed was changed.
        Refused: somebody else has decided about a step meanwhile; those before it are written.
    """
    with one_at_a_time(recipe.path):
        overrides = load_overrides(recipe.path)
        changes: list[Reroll] = []
        for selector in selectors:
            plan = make_plan(
                recipe, model=model, overrides=overrides, settings=settings, decided=decided
            )
            for label in _named(plan, selector):
                # Two labels may share one key, and so its parameters; the seed is theirs alike.
                before = plan.steps[plan.labels[label]].params.seed
                change = _change(plan, label, before, decided, who)
                overrides = replace(overrides, seeds={**overrides.seeds, change.label: change.seed})
                decided = decided.plus(change.decision)
                changes.append(change)
        make_plan(
            recipe, model=model, overrides=overrides, only=only, settings=settings, decided=decided
        )
        for change in changes:
            add(change.decision)
        if keep:
            save_overrides(overrides)
    return tuple(changes)


def _named(plan: Plan, selector: str) -> Sequence[str]:
    """The labels of steps that have a seed; a pick that is named by itself has none."""
    labels = select_exact(plan, selector, "--reroll")
    seeded = [
        label
        for label in labels
        if label in plan.labels
        and label not in plan.picks
        and plan.steps[plan.labels[label]].operation in ("generate", "edit")
    ]
    if seeded:
        return seeded
    pick = next((plan.picks[label] for label in labels if label in plan.picks), None)
    if pick is not None:
        among = pick.candidates[0].label if pick.candidates else "one of its steps"
        text = f"is a pick, which has no seed; expected a step that makes a picture; name '{among}'"
    elif any(label in plan.waiting for label in labels):
        text = "waits for a pick, so there is no picture of it yet; expected a pick before; decide"
    else:
        text = "is made without a seed; expected a step that a model makes; name another"
    raise RecipeError([Problem(f"--reroll {selector}", None, text)])


def _change(plan: Plan, label: str, before: int, decided: Decided, who: str) -> Reroll:
    key = plan.labels[label]
    pinned = any(pick.chosen == key and pick.by == "hand" for pick in plan.picks.values())
    bare, take = split_take(plan, label)
    if pinned:  # the picture that was picked stays; another one stands beside it
        take = len(takes_of(plan, label)) + 1
        label = take_label(*parse_label(bare), take)
    seed = next_seed(label, before)
    decision = decided.make(
        "seed", slot_of(plan, label), who, plan.recipe_text, label=label, take=take, value=seed
    )
    return Reroll(label, before, seed, decision)
