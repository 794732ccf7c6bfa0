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
    rates = [
        record.seconds / work
        for record in records
        if tells_of(record, plan)
        if (work := recorded_work(record)) > 0
    ]
    if not rates:
        return None
    return median(rates) * sum(planned_work(plan, step) for step in todo)


def tells_of(record: Record, plan: Plan) -> bool:
    """Whether a record's time says something about the plan's: same weights and numerics."""
    return record.model_digest == plan.model.digest and dict(record.numerics) == asdict(
        plan.numerics
    )


def recorded_work(record: Record) -> float:
    """Pixels through the model: denoise steps, passes of each, area, pictures looked at."""
    pictures = 1 + len(record.parents) + len(record.sources)
    passes = 2 if record.params.get("true_cfg", 1) > 1 else 1
    return float(record.params.get("steps", 0)) * passes * record.width * record.height * pictures


def planned_work(plan: Plan, step: Step) -> float:
    """The same of a step to come; ``match`` is taken for the model's own area."""
    area = step.params.size.area if step.params.size is not None else plan.model.pixel_area
    passes = 2 if step.params.true_cfg > 1 else 1
    return float(step.params.steps * passes * area * (1 + len(step.contexts)))
