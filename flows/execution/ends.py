"""How the steps of a chunk ended, as told from one process to another; and a run's end from them.

Records are not told: they are in the store, and whoever gathers looks there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from flows.execution.outcome import Ending, Outcome, State, StepOutcome
from flows.recipe.step import Plan
from flows.store.record import Record

NOT_BEGUN = "the run ended before its turn"

_MADE = frozenset({State.DONE, State.CACHED})


class EndsError(ValueError):
    """These bytes do not tell how a chunk ended; the message says why."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StepEnd(_Frozen):
    """How a step ended; ``reason``, ``blocked_by`` and ``attempts`` as in ``StepOutcome``."""

    state: State
    reason: str = ""
    blocked_by: str | None = None
    attempts: int = 0


class ChunkEnds(_Frozen):
    """What came of one execution of a chunk.

    ``steps`` by key; ``problems`` by output key: why its file could not be encoded.
    ``engine_seconds`` of what was made. ``why`` it ended early, for people, if it did.
    """

    steps: dict[str, StepEnd]
    problems: dict[str, str]
    engine_seconds: float
    why: str = ""

    @classmethod
    def of(
        cls, outcome: Outcome, keys: Collection[str], problems: Mapping[str, str] | None = None
    ) -> ChunkEnds:
        """Of these ``keys``, and of others that had to be made anew on the way (damaged parents).

        ``problems`` are the outcome's own unless given.
        """
        asked = frozenset(keys)
        ends = [
            end
            for key, end in outcome.steps.items()
            if key in asked or end.state in (State.DONE, State.FAILED)
        ]
        made = (end.record for end in ends if end.state is State.DONE)
        return cls(
            steps={end.key: _step_end(end) for end in ends},
            problems=dict(outcome.problems if problems is None else problems),
            engine_seconds=sum(record.seconds for record in made if record is not None),
            why=outcome.why,
        )

    def to_json(self) -> bytes:
        """Its bytes; ``from_json`` reads them back."""
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """The ends in ``data``.

        Raises:
            EndsError: there are none.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise EndsError(f"{where}: {first['msg']}") from None


def _step_end(end: StepOutcome) -> StepEnd:
    return StepEnd(
        state=end.state, reason=end.reason, blocked_by=end.blocked_by, attempts=end.attempts
    )


def gather(
    plan: Plan,
    ends: Iterable[ChunkEnds],
    cached: Collection[str],
    records: Mapping[str, Record | None],
    ending: Ending | None,
    why: str,
    seconds: float,
) -> Outcome:
    """A run's outcome from the ends of its chunks, in the order in which they were told.

    A step is made when its record is there, whatever was told of it: found if its key is in
    ``cached`` (those that were there when the run was first cut) and nobody tells of having made
    it again. Of the others, what was told last counts; what a failure blocks follows from the
    plan; those of which nobody tells are pending with ``why``.

    ``ending`` is how the run was stopped, if it was; ``seconds`` how long it took.
    """
    told = _told(ends)
    found = frozenset(cached)
    steps: dict[str, StepOutcome] = {}
    for key in plan.steps:
        record, end = records.get(key), told.ends.get(key)
        attempts = told.attempts.get(key, 0)
        if record is not None:
            was_there = key in found and (end is None or end.state is not State.DONE)
            state = State.CACHED if was_there else State.DONE
            steps[key] = StepOutcome(key, state, record, attempts=attempts)
        else:
            lost = key in found or (end is not None and end.state in _MADE)
            steps[key] = _unmade(plan, key, end, steps, attempts, lost, why or NOT_BEGUN)
    ending = _ending(steps.values(), ending)
    why = "" if ending in (Ending.COMPLETE, Ending.FAILED) else why
    return Outcome(steps, ending, why, seconds, problems=told.problems)


class _Told:
    """What the chunks tell together; later words count, but "not reached" is no news."""

    def __init__(self) -> None:
        self.ends: dict[str, StepEnd] = {}
        self.attempts: dict[str, int] = {}
        self.problems: dict[str, str] = {}

    def take(self, chunk: ChunkEnds) -> None:
        for key, end in chunk.steps.items():
            self.attempts[key] = self.attempts.get(key, 0) + end.attempts
            known = self.ends.get(key)
            made_before = known is not None and known.state is State.DONE
            if end.state is State.PENDING or (made_before and end.state is State.CACHED):
                continue
            self.ends[key] = end
        self.problems.update(chunk.problems)


def _told(ends: Iterable[ChunkEnds]) -> _Told:
    told = _Told()
    for chunk in ends:
        told.take(chunk)
    return told


def _unmade(
    plan: Plan,
    key: str,
    end: StepEnd | None,
    before: Mapping[str, StepOutcome],
    attempts: int,
    lost: bool,
    why: str,
) -> StepOutcome:
    """The end of a step without a record; its parents' ends are in ``before``."""
    state, reason, failed = State.PENDING, why, None
    for parent in plan.steps[key].parents:
        if before[parent].state in (State.FAILED, State.BLOCKED):
            failed = before[parent].blocked_by or parent
    if failed is not None:
        state, reason = State.BLOCKED, f"needs '{plan.steps[failed].label}', which failed"
    elif end is not None and end.state is State.FAILED:
        state, reason = State.FAILED, end.reason
    elif lost:
        state, reason = State.FAILED, "its picture was damaged since; run again"
    return StepOutcome(key, state, None, reason, failed, attempts)


def _ending(steps: Iterable[StepOutcome], asked: Ending | None) -> Ending:
    """Also one that was asked to stop a moment too late has done what there was to do."""
    states = {step.state for step in steps}
    if State.PENDING in states:
        return Ending.STOPPED if asked in (None, Ending.COMPLETE) else asked
    return Ending.FAILED if State.FAILED in states else Ending.COMPLETE
