"""A look at a store: what of a plan is there, and what is missing, steps and output files.

One request a picture, and no picture is read: a step is there when its record is. That is sound
beside a clean-up: under its run's claim none takes a record of the plan, nor the blob that such a
record names, and records go before their blobs (``flows/gc/sweep.py``, 1 and 3). A blob that was
lost or damaged in any other way is met by whoever reads it, set aside and made again.

An output is work of its own: a picture may be there, and its file not (the recipe was renamed, its
maker died between the two). One that lies in the run's folder already is not asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from flows.plan.step import Plan, PlannedOutput
from flows.run.outputs import keyed_outputs
from flows.store.keyed import KeyedStore
from flows.store.outputs import OutputStore
from flows.store.record import Record

Wanted = Mapping[str, Mapping[str, PlannedOutput]]  # by step key, by output key
Delivered = Callable[[PlannedOutput, Record], bool]


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen: the record of every step that is there, and the work that there is.

    ``missing`` are steps without a record, in the plan's order. ``wanted`` are the output files
    to be made: all of missing steps, and of those that are there what lacks.
    """

    records: Mapping[str, Record]
    missing: tuple[str, ...]
    wanted: Wanted

    @property
    def outputs(self) -> tuple[str, ...]:
        """Keys of the output files that pictures lack which are there."""
        lacking = (own for step, own in self.wanted.items() if step in self.records)
        return tuple(key for own in lacking for key in own)


def look(
    plan: Plan,
    store: KeyedStore,
    keys: Collection[str] | None = None,
    outputs: Collection[str] = (),
    delivered: Delivered = lambda planned, record: False,  # noqa: ARG005 - none is
) -> Look:
    """What of these steps (default: all) is in ``store``, of their outputs, and of ``outputs``.

    Of a missing step the parents are looked at too, and so on up. What of its outputs has been
    ``delivered`` is taken for there.

    Raises:
        StoreError: the store fails.
    """
    asked = frozenset(plan.steps if keys is None else keys)
    files = frozenset(outputs)
    wanted = {
        step: chosen
        for step, own in keyed_outputs(plan).items()
        if (chosen := own if step in asked else {k: row for k, row in own.items() if k in files})
    }
    found = _records(plan, store, asked.union(wanted))
    records = {key: record for key, record in found.items() if record is not None}
    unsure = [
        (key, records[step].blob)
        for step, own in wanted.items()
        if step in records
        for key, row in own.items()
        if not all(delivered(planned, records[step]) for planned in row)
    ]
    lacking = {key for (key, _), file in OutputStore(store).find_all(unsure) if file is None}
    left = {
        step: {key: row[0] for key, row in own.items() if step not in records or key in lacking}
        for step, own in wanted.items()
    }
    return Look(
        records,
        tuple(key for key in plan.steps if key in found and key not in records),
        {step: own for step, own in left.items() if own},
    )


def _records(plan: Plan, store: KeyedStore, keys: Collection[str]) -> Mapping[str, Record | None]:
    found: dict[str, Record | None] = {}
    asked = [key for key in plan.steps if key in keys]
    while asked:
        found.update(store.peek_all(asked))
        missing = (plan.steps[key] for key in asked if found[key] is None)
        above = dict.fromkeys(parent for step in missing for parent in step.parents)
        asked = [parent for parent in above if parent not in found]
    return found
