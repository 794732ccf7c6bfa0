"""A run under way as one conductor knows it; all of it can be read from the store again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from flows.coordination.dispatch import Delivery
from flows.coordination.ledger import (
    AttemptName,
    ChunkList,
    ChunkSheet,
    LedgerError,
    Order,
    Result,
    Sight,
    StepSheet,
)
from flows.coordination.standing import Standing
from flows.execution.outcome import State
from flows.pipeline import Finished
from flows.recipe.step import Plan

Sights = Mapping[str, Mapping[int, Sight]]  # by chunk and number of the attempt


@dataclass
class UnderWay:
    """Mutable. ``began``, ``seen`` and ``whereabouts`` are by the conductor's monotonic clock."""

    order: Order
    plan: Plan
    chunks: ChunkList
    standing: Standing
    began: float
    closed: set[str] = field(default_factory=set)  # chunks with nothing left to do
    seen: dict[AttemptName, tuple[str | None, float]] = field(default_factory=dict)  # leases
    # Where the scheduler has those that nobody has taken, and when it was first heard to.
    whereabouts: dict[AttemptName, tuple[Delivery, float]] = field(default_factory=dict)
    finished: Finished | None = None  # published
    shown: bool = False  # the scheduler has heard of that; it is to be forgotten
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
            try:
                result = read(attempt)
            except LedgerError as error:  # another release's; what it made is found all the same
                self._read.add(attempt)
                barren = str(error)
                continue
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

    def stands(self, attempt: AttemptName, delivery: Delivery, now: float) -> float:
        """For how long the scheduler has been heard to have an attempt there, without a change."""
        known = self.whereabouts.get(attempt)
        if known is None or known[0] is not delivery:
            self.whereabouts[attempt] = (delivery, now)
            return 0.0
        return now - known[1]

    def forgive(self, blind: float, now: float) -> None:
        """While the store was away nobody could take or renew a lease: that does not count."""
        for attempt, (lease, at) in self.seen.items():
            self.seen[attempt] = (lease, min(now, at + blind))
        for attempt, (delivery, at) in self.whereabouts.items():
            self.whereabouts[attempt] = (delivery, min(now, at + blind))

    def sheet(self, chunk: str) -> ChunkSheet:
        """A chunk by its name."""
        return next(sheet for sheet in self.chunks.chunks if sheet.name == chunk)

    def strike(self, chunk: ChunkSheet, made: int) -> int:
        """An attempt came to nothing while ``made`` steps are there; how many did so in a row."""
        before, known = self._strikes.get(chunk.name, (0, 0))
        count = 1 if made > known else before + 1
        self._strikes[chunk.name] = (count, made)
        return count

    def give_up(self, chunk: ChunkSheet, held: Mapping[str, bool], reason: str) -> None:
        """Park what is left of a chunk; what the store ``held`` of it was made, whoever did."""
        for key in chunk.keys:
            if held[key]:
                self.standing.settle(key, StepSheet(state=State.DONE))
            elif not self.standing.is_settled(key):
                self.standing.settle(key, StepSheet(state=State.FAILED, reason=reason))
        self.closed.add(chunk.name)

    def to_make_again(self, damaged: Collection[str]) -> tuple[str, ...]:
        """Those of these pictures that are of a chunk. Safe for any thread."""
        of_chunks = {key for chunk in self.chunks.chunks for key in chunk.keys} if damaged else ()
        return tuple(key for key in damaged if key in of_chunks)

    def reopen(self, damaged: Collection[str]) -> None:
        """Pictures that had been made were found damaged, and are made again."""
        for chunk in self.chunks.chunks:
            for key in set(damaged).intersection(chunk.keys):
                del self.standing.ends[key]
                self.closed.discard(chunk.name)


def newest(run: str, chunk: ChunkSheet, sights: Sights) -> AttemptName | None:
    """The attempt that a worker has, or is to have; ``None`` when the last one ended."""
    known = sights.get(chunk.name, {})
    if not known or known[max(known)].result is not None:
        return None
    return AttemptName(run, chunk.name, max(known))


def next_attempt(run: str, chunk: ChunkSheet, sights: Sights) -> AttemptName:
    """The attempt after all that were."""
    return AttemptName(run, chunk.name, max(sights.get(chunk.name, {}), default=0) + 1)
