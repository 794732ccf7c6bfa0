"""A work list: what of a plan is missing in a store, steps and output files; and doing it.

An output is work of its own: a picture may be there, and its file not (the recipe was renamed, its
maker died between the two).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from flows.execution.asking import CancelSignal, EngineFactory
from flows.execution.events import Listener, ignore
from flows.execution.execute import USUAL, Limits, never, run_plan
from flows.execution.keeping import Keeper, Wanted
from flows.execution.outcome import Outcome, State, StepOutcome
from flows.outputs import keyed_outputs
from flows.recipe.select import sub_plan
from flows.recipe.step import Plan
from flows.store.keyed import KeyedStore
from flows.store.outputs import OutputStore
from flows.store.record import Record


@dataclass(frozen=True, slots=True)
class Missing:
    """What there is to do, in the plan's order.

    ``keys`` are those of steps without a record. ``outputs`` are keys of outputs whose record is
    missing, of steps that are there; those of missing steps come with their steps.
    """

    keys: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """A store as it was seen: the record of every step that is there, and what is missing."""

    records: Mapping[str, Record]
    missing: Missing

    def complete(self, plan: Plan, outcome: Outcome) -> Outcome:
        """The outcome of the whole plan, where ``outcome`` tells of what was missing only."""
        steps: dict[str, StepOutcome] = {}
        for key in plan.steps:
            end, record = outcome.steps.get(key), self.records.get(key)
            # A store that failed at once was asked for none of what is there.
            unasked = end is None or (outcome.store_failed and end.state is State.PENDING)
            if record is not None and unasked:
                end = StepOutcome(key, State.CACHED, record)
            steps[key] = end or StepOutcome(key, State.PENDING, reason=outcome.why)
        return replace(outcome, steps=steps)


def look_for_missing(plan: Plan, store: KeyedStore) -> Missing:
    """What of ``plan`` is not in ``store``. Asks several at once in a far home, reads no picture.

    Raises:
        StoreError: the store fails.
    """
    return look(plan, store).missing


def look(plan: Plan, store: KeyedStore) -> Look:
    """``look_for_missing``, and the records that it saw.

    Raises:
        StoreError: the store fails.
    """
    seen = dict(store.peek_all(plan.steps))
    records = {key: record for key, record in seen.items() if record is not None}
    asked = [
        (output, records[step].blob)
        for step, outputs in keyed_outputs(plan).items()
        if step in records
        for output in outputs
    ]
    found = OutputStore(store).find_all(asked)
    lacking = tuple(key for (key, _), record in found if record is None)
    return Look(records, Missing(tuple(key for key in plan.steps if key not in records), lacking))


def do_work(
    plan: Plan,
    keys: Collection[str],
    store: KeyedStore,
    engine_factory: EngineFactory,
    *,
    on_event: Listener = ignore,
    cancelled: CancelSignal = never,
    limits: Limits = USUAL,
    outputs: Collection[str] = (),
) -> Outcome:
    """Make those of ``keys`` that are missing, with whatever ancestors are missing or damaged.

    Of each of these steps all outputs of the plan are made, and beside them ``outputs``, files of
    pictures that are there; and thumbnails. Everything is stored at once, picture by picture.
    The outcome tells of these steps and their ancestors, and why some outputs could not be made;
    for the rest see ``run_plan``, which raises nothing either.
    """
    asked = frozenset(keys)
    wanted = _wanted(plan, asked, frozenset(outputs))
    steps = [key for key in plan.steps if key in asked or key in wanted]
    keeper = Keeper(plan, wanted, store, cancelled)
    outcome = run_plan(
        sub_plan(plan, steps),
        store,
        engine_factory,
        on_event=on_event,
        cancelled=cancelled,
        limits=limits,
        care=keeper,
    )
    return replace(outcome, problems=dict(keeper.problems))


def _wanted(plan: Plan, keys: frozenset[str], outputs: frozenset[str]) -> Wanted:
    return {
        step: chosen
        for step, own in keyed_outputs(plan).items()
        if (chosen := own if step in keys else {k: o for k, o in own.items() if k in outputs})
    }
