"""How long steps take, by what has been measured; and how much of them a chunk should hold."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import median

from flows.estimate import planned_work, recorded_work, tells_of
from flows.execution.packing import LEAST
from flows.recipe.step import Plan, Step
from flows.store.record import Record

RECENT = 64  # records of a kind that count: enough for a median, few enough to follow a change
SHARE = 6  # chunks an engine should get of a run, so that the last ones end about together
USUAL = 160.0  # seconds in a chunk where there is more than enough work

Kind = tuple[int, int, int]  # denoise steps, passes of each, pictures looked at


class StepTimes:
    """Seconds of engine time for the steps of one plan; learns from records as they come in.

    A time is the median rate (seconds per pixel and pass) of the latest records of the step's
    kind, else of all kinds, times the step's work. Steps of one kind differ in area at most, so
    attention's cost, which grows faster than its tokens, is measured and not assumed.
    """

    def __init__(self, plan: Plan, records: Iterable[Record] = ()) -> None:
        self._plan = plan
        self._rates: dict[Kind, deque[float]] = {}
        self._medians: dict[Kind | None, float | None] = {}
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Take a record into account, if it is of the plan's weights and numerics."""
        work = recorded_work(record)
        if work <= 0 or not tells_of(record, self._plan):
            return
        kind = _recorded_kind(record)
        self._rates.setdefault(kind, deque(maxlen=RECENT)).append(record.seconds / work)
        self._medians.pop(kind, None)
        self._medians.pop(None, None)

    def seconds(self, step: Step) -> float | None:
        """What one step will take, or ``None`` when nothing like it has been measured."""
        rate = self._rate(_planned_kind(step))
        return None if rate is None else rate * planned_work(self._plan, step)

    def _rate(self, kind: Kind) -> float | None:
        wanted = kind if kind in self._rates else None
        if wanted not in self._medians:
            rates = self._rates.values() if wanted is None else [self._rates[wanted]]
            every = [rate for some in rates for rate in some]
            self._medians[wanted] = median(every) if every else None
        return self._medians[wanted]


def chunk_seconds(total: float, engines: int) -> float:
    """What a chunk should hold of ``total`` seconds of work for so many engines.

    A minute at least, so that scheduling it (1 to 2 s) hardly shows; more where each engine gets
    several all the same. Chunks turn out longer and shorter than this: hence ``SHARE`` where three
    would do, and ``USUAL`` well below what a chunk may be.
    """
    return min(USUAL, max(LEAST, total / (SHARE * max(1, engines))))


def _recorded_kind(record: Record) -> Kind:
    passes = 2 if record.params.get("true_cfg", 1) > 1 else 1
    return int(record.params.get("steps", 0)), passes, len(record.parents) + len(record.sources)


def _planned_kind(step: Step) -> Kind:
    return step.params.steps, 2 if step.params.true_cfg > 1 else 1, len(step.contexts)
