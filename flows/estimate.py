"""How long a plan will take, by the times in the store's own records; no guess without them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from statistics import median

from flows.recipe.step import Plan, Step
from flows.store.record import Record

SAMPLE = 256  # records that are enough for a median


def estimate_seconds(plan: Plan, todo: Iterable[Step], records: Iterable[Record]) -> float | None:
    """Engine seconds for ``todo``: the median rate of ``records`` times the steps' work.

    Only records of the same weights and numerics count; ``None`` when there are none.
    """
    numerics = asdict(plan.numerics)
    rates = [
        record.seconds / work
        for record in records
        if record.model_digest == plan.model.digest and dict(record.numerics) == numerics
        if (work := _recorded_work(record)) > 0
    ]
    if not rates:
        return None
    return median(rates) * sum(_planned_work(plan, step) for step in todo)


def _recorded_work(record: Record) -> float:
    pictures = 1 + len(record.parents) + len(record.sources)
    passes = 2 if record.params.get("true_cfg", 1) > 1 else 1
    return float(record.params.get("steps", 0)) * passes * record.width * record.height * pictures


def _planned_work(plan: Plan, step: Step) -> float:
    area = step.params.size.area if step.params.size is not None else plan.model.pixel_area
    passes = 2 if step.params.true_cfg > 1 else 1
    return float(step.params.steps * passes * area * (1 + len(step.contexts)))
