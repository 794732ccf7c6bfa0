"""What judges said of candidates, made decisions: the best one is picked, with every reason.

A judge looks at each candidate in a step of its own, so that what it said is stored, and is not
asked for again while judge and candidate are the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from flows.decisions.decided import Decided, read_decided
from flows.decisions.decision import Decision, Score
from flows.decisions.ledger import Refused, add
from flows.plan.plan import make_plan
from flows.plan.step import Pick, Plan
from flows.recipe.recipe import parse_recipe
from flows.run.outcome import Outcome, State
from flows.settings import Settings
from flows.store.keyed import KeyedStore
from flows.store.record import Record

JUDGED = "judged"  # in a record's geometry, where what is told of a region is, too
_NO_PICTURE = (State.FAILED, State.BLOCKED)


def score_of(record: Record) -> Score | None:
    """What a judge said, in the record of its look at a picture."""
    said = record.geometry.get(JUDGED)
    return Score.model_validate(said) if isinstance(said, Mapping) else None


def open_picks(plan: Plan) -> tuple[Pick, ...]:
    """The picks that a judge has still to make."""
    return tuple(pick for pick in plan.picks.values() if pick.judged and pick.chosen is None)


def judge_picks(
    plan: Plan, outcome: Outcome, store: KeyedStore, decided: Decided, done: Collection[str]
) -> list[str]:
    """Write what judges have picked by now; the labels of these picks, but for those ``done``.

    A candidate that could not be made, or judged, is passed over if another one was.

    Raises:
        StoreError: the store fails.
    """
    found = []
    for pick in open_picks(plan):
        if pick.label in done:
            continue
        if decided.judged(pick.slot, pick.judge, pick.judged) is None:
            decision = _decision(plan, pick, outcome, decided)
            if decision is None:
                continue
            with contextlib.suppress(Refused):  # another run was quicker, and has seen the same
                add(store.objects, decision)
        found.append(pick.label)
    return found


def _decision(plan: Plan, pick: Pick, outcome: Outcome, decided: Decided) -> Decision | None:
    scores: dict[str, Score | None] = {}
    for key in pick.judged:
        end = outcome.steps.get(key)
        if end is None or (end.record is None and end.state not in _NO_PICTURE):
            return None  # its turn is to come
        scores[key] = score_of(end.record) if end.record is not None else None
    judged = [key for key, said in scores.items() if said is not None]
    if not judged:
        return None
    best = max(judged, key=lambda key: _number(scores[key]))  # of equal ones the first
    chosen = plan.steps[best].parents[0]
    label = next(one.label for one in pick.candidates if one.key == chosen)
    return decided.make(
        "pick", pick.slot, "judge", plan.recipe_text,
        key=chosen, label=label, judge=pick.judge, scores=scores,
    )  # fmt: skip


def _number(said: Score | None) -> float:
    return said.score if said is not None else float("-inf")


def next_plan(
    plan: Plan,
    outcome: Outcome,
    store: KeyedStore,
    settings: Settings,
    decided: Decided,
    judged: list[str],
    path: Path,
    libraries: Mapping[str, str] | None = None,
) -> Plan | None:
    """The plan of the next stage, if judges have picked something by now; their picks' labels are
    added to ``judged``.

    It is of the recipe as it was planned, at ``path``, whatever has become of the file; cuts are
    made with ``libraries``.

    Raises:
        RecipeError, StoreError: as ``make_plan``.
    """
    found = judge_picks(plan, outcome, store, decided, judged)
    if not found:
        return None
    judged += found
    recipe = parse_recipe(plan.recipe_text, path, plan.sets, settings)
    return make_plan(
        recipe, model=plan.model, numerics=plan.numerics, only=plan.only, settings=settings,
        decided=read_decided(store, settings, plan.recipe, plan.recipe_path.name),
        libraries=libraries,
    )  # fmt: skip


def decided_since(plan: Plan, decided: Decided) -> Iterator[str]:
    """What hands have decided since the plan was made, for people."""
    newer = [
        slot.words
        for digest, slot in decided.ledger.slots().items()
        if decided.numbers()[digest] > plan.numbers.get(digest, 0)
    ]
    if newer:
        more = f" and {len(newer) - 1} more" if len(newer) > 1 else ""
        yield f"decided meanwhile: {newer[0]}{more}; that counts from the next run"


def join(earlier: Outcome, outcome: Outcome) -> Outcome:
    """A run's outcome: its last stage's, where what earlier stages made counts as made."""
    made = {key for key, end in earlier.steps.items() if end.state is State.DONE}
    steps = {
        key: replace(end, state=State.DONE, attempts=earlier.steps[key].attempts)
        if key in made and end.state is State.CACHED
        else end
        for key, end in outcome.steps.items()
    }
    return replace(
        outcome,
        steps=steps,
        seconds=earlier.seconds + outcome.seconds,
        load_seconds=earlier.load_seconds + outcome.load_seconds,
        problems={**earlier.problems, **outcome.problems},
    )
