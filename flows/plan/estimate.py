"""How long steps take, by the times in the store's own records; no guess without them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from statistics import median

from flows.plan.step import Plan, Step
from flows.store.record import Record

SAMPLE = 256  # records that are enough for a median

Kind = tuple[int, int, int]  # denoise steps, passes of each, pictures looked at


class StepTimes:
    """Seconds of engine time for the steps of one plan, by records of its weights and numerics.

    A time is the median rate (seconds per pixel and pass) of the records of the step's kind, else
    of all kinds, times the step's work. Steps of one kind differ in area at most, so attention's
    cost, which grows faster than its tokens, is measured and not assumed.
    """

    def __init__(self, plan: Plan, records: Iterable[Record]) -> None:
        self._area = plan.model.pixel_area  # what ``match`` is taken for
        numerics = asdict(plan.numerics)
        rates: dict[Kind, list[float]] = {}
        for record in records:
            if record.model_digest == plan.model.digest and dict(record.numerics) == numerics:
                asked, pictures = record.params, len(record.parents) + len(record.sources)
                kind = _kind(asked.get("steps", 0), asked.get("true_cfg", 1), pictures)
                if work := _work(kind, record.width * record.height):
                    rates.setdefault(kind, []).append(record.seconds / work)
        self._rates = {kind: median(some) for kind, some in rates.items()}
        every = [rate for some in rates.values() for rate in some]
        self._usual = median(every) if every else None

    def seconds(self, step: Step) -> float | None:
        """What one step will take, or ``None`` when nothing has been measured."""
        params = step.params
        kind = _kind(params.steps, params.true_cfg, len(step.contexts))
        rate = self._rates.get(kind, self._usual)
        area = params.size.area if params.size is not None else self._area
        return None if rate is None else rate * _work(kind, area)

    def total(self, steps: Iterable[Step]) -> float | None:
        """What they will take together, likewise."""
        if self._usual is None:
            return None
        return sum(self.seconds(step) or 0.0 for step in steps)


def _kind(steps: int, true_cfg: float, pictures: int) -> Kind:
    return int(steps), 2 if true_cfg > 1 else 1, pictures


def _work(kind: Kind, area: int) -> float:
    """Pixels through the model: denoise steps, passes of each, area, pictures and the one made."""
    steps, passes, pictures = kind
    return float(steps * passes * area * (1 + pictures))
