"""How the steps of a chunk ended, as told from one process to another; and a run's end from them.

Records are not told: they are in the store, and whoever gathers looks there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from pydantic import BaseModel, ConfigDict

from flows.plan.step import Plan
from flows.run.outcome import NOT_REACHED, Ending, Outcome, State, StepOutcome
from flows.store.record import Record

_MADE = (State.DONE, State.CACHED)
_NO_PICTURE = (State.FAILED, State.BLOCKED)


class ChunkEnds(BaseModel):
    """What came of one execution of a chunk.

    ``steps`` by key; ``problems`` by output key: why its file could not be encoded.
    ``engine_seconds`` of what was made. ``why`` it ended early, for people, if it did.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: dict[str, StepOutcome]
    problems: dict[str, str]
    engine_seconds: float
    why: str = ""

    @classmethod
    def of(cls, outcome: Outcome, keys: Collection[str]) -> ChunkEnds:
        """Of these ``keys``, and of others that had to be made anew on the way."""
        asked = frozenset(keys)
        steps = {
            key: end
            for key, end in outcome.steps.items()
            if key in asked or end.state in (State.DONE, State.FAILED)
        }
        made = (end.record for end in steps.values() if end.state is State.DONE)
        return cls(
            steps=steps,
            problems=dict(outcome.problems),
            engine_seconds=sum(record.seconds for record in made if record is not None),
            why=outcome.why,
        )

    @classmethod
    def given_up(cls, plan: Plan, there: Mapping[str, bool], reason: str) -> ChunkEnds:
        """Of these keys, in the plan's order, nobody makes those that are not ``there``."""
        done, failed = StepOutcome(state=State.DONE), StepOutcome(state=State.FAILED, reason=reason)
        steps: dict[str, StepOutcome] = {}
        for key, made in there.items():
            steps[key] = done if made else _blocked(plan, key, steps) or failed
        return cls(steps=steps, problems={}, engine_seconds=0.0, why=reason)

    def to_json(self) -> bytes:
        """Its bytes; ``from_json`` reads them back, without the records."""
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, data: bytes) -> ChunkEnds:
        """The ends in ``data``.

        Raises:
            ValueError: there are none.
        """
        return cls.model_validate_json(data)


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
    told: dict[str, StepOutcome] = {}
    attempts: Counter[str] = Counter()
    problems: dict[str, str] = {}
    for chunk in ends:
        problems.update(chunk.problems)
        for key, end in chunk.steps.items():
            attempts[key] += end.attempts
            made = key in told and told[key].state is State.DONE
            if end.state is not State.PENDING and not (made and end.state is State.CACHED):
                told[key] = end
    found = frozenset(cached)
    steps: dict[str, StepOutcome] = {}
    for key in plan.steps:
        record, last = records.get(key), told.get(key)
        if record is None:
            step_end = _unmade(plan, key, last, steps, key in found, why or NOT_REACHED)
        else:
            made = key not in found or (last is not None and last.state is State.DONE)
            step_end = StepOutcome(state=State.DONE if made else State.CACHED, record=record)
        steps[key] = replace(step_end, attempts=attempts[key])
    ending = _ending({end.state for end in steps.values()}, ending)
    why = "" if ending in (Ending.COMPLETE, Ending.FAILED) else why
    return Outcome(steps, ending, why, seconds, problems=problems)


def _unmade(
    plan: Plan,
    key: str,
    told: StepOutcome | None,
    before: Mapping[str, StepOutcome],
    was_there: bool,
    why: str,
) -> StepOutcome:
    """The end of a step without a record; its parents' ends are in ``before``."""
    if (blocked := _blocked(plan, key, before)) is not None:
        return blocked
    if told is not None and told.state is State.FAILED:
        return StepOutcome(state=State.FAILED, reason=told.reason)
    if was_there or (told is not None and told.state in _MADE):
        return StepOutcome(state=State.FAILED, reason="its picture was damaged since; run again")
    return StepOutcome(state=State.PENDING, reason=why)


def _blocked(plan: Plan, key: str, before: Mapping[str, StepOutcome]) -> StepOutcome | None:
    """How a step is blocked, if a parent is without a picture in ``before``."""
    for parent in plan.steps[key].parents:
        if parent in before and before[parent].state in _NO_PICTURE:
            failed = before[parent].blocked_by or parent
            return StepOutcome.behind(failed, plan.steps[failed].label)
    return None


def _ending(states: Collection[State], asked: Ending | None) -> Ending:
    """Also one that was asked to stop a moment too late has done what there was to do."""
    if State.PENDING in states:
        return Ending.STOPPED if asked in (None, Ending.COMPLETE) else asked
    return Ending.FAILED if State.FAILED in states else Ending.COMPLETE
