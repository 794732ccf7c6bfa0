"""A run under way as one conductor knows it; all of it can be read from the store again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from flows.coordination.ledger import (
    AttemptName,
    ChunkList,
    ChunkSheet,
    Order,
    Result,
    Sight,
    StepSheet,
)
from flows.coordination.standing import Standing
from flows.execution.outcome import State
from flows.pipeline import Finished
from flows.recipe.step import Plan
from flows.store.record import Record

Sights = Mapping[str, Mapping[int, Sight]]  # by chunk and number of the attempt


@dataclass
class UnderWay:
    """Mutable. ``began`` and ``seen`` are by the conductor's monotonic clock."""

    order: Order
    plan: Plan
    chunks: ChunkList
    standing: Standing
    began: float
    closed: set[str] = field(default_factory=set)  # chunks with nothing left to do
    seen: dict[AttemptName, tuple[str | None, float]] = field(default_factory=dict)  # leases
    finished: Finished | None = None  # published; the scheduler is to hear of it
    told: tuple[int, ...] = ()
    _read: set[AttemptName] = field(default_factory=set)
    _strikes: dict[str, tuple[int, int]] = field(default_factory=dict)  # in a row, steps then

    @classmethod
    def begin(cls, order: Order, plan: Plan, chunks: ChunkList, now: float) -> UnderWay:
        """As it stands before any attempt."""
        standing = Standing(len(plan.steps))
        for key in chunks.cached:
            standing.settle(key, StepSheet(state=State.CACHED))
        return cls(order, plan, chunks, standing, now)

    def take(
        self,
        chunk: ChunkSheet,
        attempts: Mapping[int, Sight],
        read: Callable[[AttemptName], Result | None],
    ) -> str | None:
        """Take the results that are new; why an attempt came to nothing, if one did."""
        barren = None
        for number, sight in sorted(attempts.items()):
            attempt = AttemptName(self.order.run, chunk.name, number)
            if sight.result is None or attempt in self._read:
                continue
            result = read(attempt)
            if result is None:
                continue
            self._read.add(attempt)
            self.standing.engine_seconds += result.engine_seconds
            for key, end in result.steps.items():
                if end.state is not State.PENDING:
                    self.standing.settle(key, end)
            made = any(end.state is State.DONE for end in result.steps.values())
            if not made and not result.handed_back and not self.is_done(chunk):
                barren = result.why or "it ended without a step made"
        return barren

    def block(self, chunk: ChunkSheet) -> None:
        """What an earlier chunk's failure blocks is not tried."""
        for key in chunk.keys:
            if self.standing.is_settled(key):
                continue
            for parent in self.plan.steps[key].parents:
                end = self.standing.ends.get(parent)
                if end is not None and end.state in (State.FAILED, State.BLOCKED):
                    failed = end.blocked_by or parent
                    reason = f"needs '{self.plan.steps[failed].label}', which failed"
                    sheet = StepSheet(state=State.BLOCKED, reason=reason, blocked_by=failed)
                    self.standing.settle(key, sheet)
                    break

    def is_done(self, chunk: ChunkSheet) -> bool:
        """Whether nothing more is to be done for any of its steps."""
        return all(map(self.standing.is_settled, chunk.keys))

    def is_ready(self, chunk: ChunkSheet) -> bool:
        """Whether it may be begun: all that it comes after has ended."""
        return chunk.name not in self.closed and self.closed.issuperset(chunk.after)

    def silent(self, waiting: Sequence[AttemptName], sights: Sights, now: float, limit: float) -> (
        set[AttemptName]
    ):  # fmt: skip
        """Those whose lease was not renewed for ``limit`` seconds: their worker is dead."""
        lost = set()
        for attempt in waiting:
            lease = sights[attempt.chunk][attempt.number].lease
            known = self.seen.get(attempt)
            if known is None or known[0] != lease:
                self.seen[attempt] = (lease, now)
            elif lease is not None and now - known[1] > limit:
                lost.add(attempt)
        return lost

    def strike(self, chunk: ChunkSheet, made: int) -> int:
        """An attempt came to nothing while ``made`` steps are there; how many did so in a row."""
        before, known = self._strikes.get(chunk.name, (0, 0))
        count = 1 if made > known else before + 1
        self._strikes[chunk.name] = (count, made)
        return count

    def give_up(self, chunk: ChunkSheet, reason: str) -> None:
        """Park what is left of a chunk."""
        for key in chunk.keys:
            if not self.standing.is_settled(key):
                self.standing.settle(key, StepSheet(state=State.FAILED, reason=reason))
        self.closed.add(chunk.name)

    def reopen(self, records: Mapping[str, Record | None]) -> bool:
        """Whether pictures that had been made were found damaged, and are made again."""
        chunk_of = {key: chunk.name for chunk in self.chunks.chunks for key in chunk.keys}
        damaged = [key for key in self.standing.without_picture(records) if key in chunk_of]
        for key in damaged:
            del self.standing.ends[key]
            self.closed.discard(chunk_of[key])
        return bool(damaged)


def newest(run: str, chunk: ChunkSheet, sights: Sights) -> AttemptName | None:
    """The attempt that a worker has, or is to have; ``None`` when the last one ended."""
    known = sights.get(chunk.name, {})
    if not known or known[max(known)].result is not None:
        return None
    return AttemptName(run, chunk.name, max(known))


def next_attempt(run: str, chunk: ChunkSheet, sights: Sights) -> AttemptName:
    """The attempt after all that were."""
    return AttemptName(run, chunk.name, max(sights.get(chunk.name, {}), default=0) + 1)
