"""The board of a run: which steps have ended how, which are ready, what a failure blocks."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from flows.execution.events import Listener, Settled
from flows.execution.outcome import State, StepOutcome
from flows.recipe.step import Plan
from flows.store.keyed import KeyedStore
from flows.store.record import Record


class Board:
    """Every step of a plan is open until it is settled, once; settling tells the listener."""

    def __init__(self, plan: Plan, listener: Listener) -> None:
        self._plan = plan
        self._listener = listener
        self._settled: dict[str, StepOutcome] = {}
        self._children: dict[str, list[str]] = {key: [] for key in plan.steps}
        for key, step in plan.steps.items():
            for parent in step.parents:
                self._children[parent].append(key)

    def take_from(self, store: KeyedStore) -> Mapping[str, Record]:
        """Settle as cached whatever the store holds; no picture is read."""
        found: dict[str, Record] = {}
        for key, record in store.peek_all(self._plan.steps):
            if record is not None:
                found[key] = record
                self.settle(StepOutcome(key, State.CACHED, record))
        return found

    def settle(self, outcome: StepOutcome) -> None:
        """A step has ended; when it failed, its descendants are blocked."""
        if outcome.key in self._settled:
            return
        self._settled[outcome.key] = outcome
        self._listener(Settled(outcome, self._plan.steps[outcome.key].label))
        if outcome.state is State.FAILED:
            self._block(outcome.key)

    def reopen(self, key: str) -> None:
        """A step thought done is not: its picture was found damaged."""
        self._settled.pop(key, None)

    def is_open(self, key: str) -> bool:
        """Whether this step has not ended yet."""
        return key not in self._settled

    def missing(self) -> tuple[str, ...]:
        """Open steps in the plan's order."""
        return tuple(key for key in self._plan.steps if key not in self._settled)

    def ready(self, keys: Collection[str]) -> tuple[str, ...]:
        """Those of ``keys`` that are open and whose parents all have pictures, in their order."""
        return tuple(key for key in keys if self.is_open(key) and self._has_parents(key))

    def record(self, key: str) -> Record:
        """The record of a done or cached step."""
        record = self._settled[key].record
        if record is None:
            raise LookupError(f"step {key[:12]} has no picture")
        return record

    def outcomes(self) -> Mapping[str, StepOutcome]:
        """Every step's end in the plan's order; open ones are pending."""
        why = "the run ended before its turn"
        return {
            key: self._settled.get(key) or StepOutcome(key, State.PENDING, reason=why)
            for key in self._plan.steps
        }

    def _has_parents(self, key: str) -> bool:
        parents = (self._settled.get(parent) for parent in self._plan.steps[key].parents)
        return all(parent is not None and parent.record is not None for parent in parents)

    def _block(self, failed: str) -> None:
        reason = f"needs '{self._plan.steps[failed].label}', which failed"
        below = list(self._children[failed])
        while below:
            key = below.pop()
            if self.is_open(key):
                self.settle(StepOutcome(key, State.BLOCKED, reason=reason, blocked_by=failed))
                below.extend(self._children[key])
