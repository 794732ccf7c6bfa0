"""What came of a plan, as values: a failure is an answer here, not an exception."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from flows.store.record import Record

NOT_REACHED = "the run ended before its turn"


class State(StrEnum):
    """Where a step ended in this run."""

    DONE = "done"  # made in this run
    CACHED = "cached"  # found in the store
    FAILED = "failed"  # parked with its reason
    BLOCKED = "blocked"  # an ancestor failed
    PENDING = "pending"  # the run ended before its turn


class Ending(StrEnum):
    """How a run ended."""

    COMPLETE = "complete"
    FAILED = "failed"  # some steps failed; everything else is done
    INTERRUPTED = "interrupted"  # somebody asked to stop
    STOPPED = "stopped"  # nothing further could be done: no model, no space


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """One step's end. ``record`` is there for done and cached, ``reason`` for the others.

    ``blocked_by`` is the key of the failed ancestor. Told to another process without its record,
    which is in the store. With slots, for a large run holds 10^5 of them.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    state: State
    reason: str = ""
    blocked_by: str | None = None
    attempts: int = 0
    record: Annotated[Record | None, Field(exclude=True)] = None

    @classmethod
    def behind(cls, failed: str, label: str) -> StepOutcome:
        """Of a step that needs a failed one, with this key and label."""
        reason = f"needs '{label}', which failed"
        return cls(state=State.BLOCKED, reason=reason, blocked_by=failed)


@dataclass(frozen=True, slots=True)
class Outcome:
    """All steps of the plan in its order, how the run ended, and how long it took (seconds).

    ``store_failed`` tells that it was the store that stopped it, ``store_refuses`` that waiting
    would not help; ``problems``, by output key, why files could not be encoded of pictures that
    are there; ``broke``, by key, at which failed steps the engine itself broke, and how: another
    engine may make them.
    """

    steps: Mapping[str, StepOutcome]
    ending: Ending
    why: str = ""
    seconds: float = 0.0
    load_seconds: float = 0.0
    store_failed: bool = False
    store_refuses: bool = False
    problems: Mapping[str, str] = field(default_factory=dict)
    broke: Mapping[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> Mapping[State, int]:
        """How many steps are in each state; every state is there."""
        found = Counter(step.state for step in self.steps.values())
        return {state: found[state] for state in State}
