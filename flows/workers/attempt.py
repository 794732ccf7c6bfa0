"""One attempt that a worker has in hand: what it is told, and how it is stopped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from flows.coordination.ledger import AttemptName, Result
from flows.execution.events import EngineLoaded, Event, Retrying, Settled
from flows.execution.outcome import State
from flows.resident.pooled import PooledEngine

Say = Callable[[int, str], None]  # a level of logging, and a line

_Name = Annotated[str, Field(min_length=1, max_length=200)]


class Ticket(BaseModel):
    """The parameters of the flow ``make-chunk``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: Annotated[str, Field(min_length=1)]
    run: _Name
    chunk: _Name
    attempt: Annotated[int, Field(ge=1)]

    @property
    def name(self) -> AttemptName:
        """The attempt as the ledger knows it."""
        return AttemptName(self.run, self.chunk, self.attempt)


class End(StrEnum):
    """How an attempt ended for the scheduler; what was made is in the store in any case."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    HANDED_BACK = "handed_back"
    NOT_WANTED = "not_wanted"


class Verdict(NamedTuple):
    """An end, and why, for people; ``made`` steps are there.

    ``fruitless`` is an end for which this host may be to blame: nothing was made, and not because
    of what the steps are.
    """

    end: End
    why: str
    made: int = 0
    fruitless: bool = False


class Attempt:
    """In hand from when it was picked up until its end is known. Any thread may stop it."""

    def __init__(self, ticket: Ticket, priority: int, say: Say) -> None:
        self.ticket = ticket
        self.priority = priority
        self.say = say
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._engine: PooledEngine | None = None

    def cancelled(self) -> bool:
        """Whether somebody has stopped it."""
        return self._stop.is_set()

    def cancel(self) -> None:
        """Stop it within a denoise step; returns at once."""
        if not self._stop.is_set():
            self._stop.set()
            self.let_go()

    def moved(self) -> float:
        """When an engine last moved for it, or for those before it (``time.monotonic``)."""
        with self._lock:
            engine = self._engine
        return engine.progressed() if engine is not None else float("-inf")

    def let_go(self) -> None:
        """End its waiting for an engine, or its work there; why, its own signals tell."""
        with self._lock:
            engine = self._engine
        if engine is not None:
            engine.cancel()

    def hire(self, engine: PooledEngine, *, draining: Callable[[], bool]) -> PooledEngine:
        """Note who computes for it. One that was stopped a moment ago stops that, too."""
        with self._lock:
            self._engine = engine
        if self.cancelled() or draining():
            engine.cancel()
        return engine

    def hear(self, event: Event) -> None:
        """Tell people what happens to its steps."""
        match event:
            case EngineLoaded(model=model, seconds=seconds):
                self.say(logging.INFO, f"model '{model}' is ready ({seconds:.1f} s)")
            case Retrying(label=label, reason=reason, attempt=attempt):
                self.say(logging.WARNING, f"{label}: attempt {attempt}: {reason}; tried again")
            case Settled(outcome=outcome, label=label) if outcome.state is State.DONE:
                self.say(logging.INFO, f"{label}: done")
            case Settled(outcome=outcome, label=label) if outcome.state is not State.CACHED:
                self.say(logging.WARNING, f"{label}: {outcome.state.value}: {outcome.reason}")


def judge(result: Result | None, *, cancelled: bool) -> Verdict:
    """What the scheduler is told of a result."""
    if result is None:
        return Verdict(End.NOT_WANTED, "another attempt has taken its place, or its run has ended")
    states = [step.state for step in result.steps.values()]
    made = sum(state in (State.DONE, State.CACHED) for state in states)
    count = f"{made} of {len(states)} steps are made"
    if result.handed_back:
        why = f"{count}; the rest is handed back: the worker stops"
        return Verdict(End.HANDED_BACK, why, made)
    if made == len(states):
        return Verdict(End.COMPLETED, f"{count}, {result.seconds:.1f} s", made)
    if cancelled and State.PENDING in states:
        return Verdict(End.CANCELLED, f"{count}; stopped", made)
    why = result.why or next(
        (f"{step.reason}" for step in result.steps.values() if step.reason), "no reason given"
    )
    fruitless = not made and bool(result.why) and not cancelled
    return Verdict(End.FAILED, f"{count}: {why}", made, fruitless)
