"""The board of a run: which steps have ended how, which are ready, what a failure blocks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from flows.plan.step import Plan
from flows.run.events import Listener, Settled
from flows.run.look import Look
from flows.run.outcome import NOT_REACHED, State, StepOutcome
from flows.store.record import Record


class Board:
    """Every step that was looked at is open until it is settled, once; settling tells the listener.

    A step that was thought done and is not is looked at anew, and so are parents nobody needed.
    """

    def __init__(self, plan: Plan, listener: Listener) -> None:
        self._plan = plan
        self._listener = listener
        self._known: set[str] = set()
        self._settled: dict[str, StepOutcome] = {}
        self._children: defaultdict[str, list[str]] = defaultdict(list)
        self._late: dict[str, None] = {}  # open ones that came up after the first look

    def take(self, seen: Look) -> None:
        """Settle as cached what the store holds; what is missing is open."""
        for key in seen.missing:
            self._known.add(key)
            for parent in self._plan.steps[key].parents:
                self._children[parent].append(key)
        for key, record in seen.records.items():
            self._known.add(key)
            self.settle(key, StepOutcome(state=State.CACHED, record=record))

    def reopen(self, key: str, seen: Look) -> None:
        """A step thought done was found damaged; ``seen`` is another look at it."""
        self._settled.pop(key, None)
        self._late.update(dict.fromkeys(one for one in seen.missing if one not in self._known))
        self._late[key] = None
        self.take(seen)

    def settle(self, key: str, outcome: StepOutcome) -> None:
        """A step has ended; when it failed, its descendants are blocked."""
        if key in self._settled:
            return
        self._settled[key] = outcome
        self._late.pop(key, None)
        self._listener(Settled(key, outcome, self._plan.steps[key].label))
        if outcome.state is State.FAILED:
            blocked = StepOutcome.behind(key, self._plan.steps[key].label)
            below = list(self._children[key])
            while below:
                child = below.pop()
                if child not in self._settled:
                    self.settle(child, blocked)
                    below.extend(self._children[child])

    def is_wanted(self, key: str) -> bool:
        """Whether an open step looks at this one's picture."""
        return any(child not in self._settled for child in self._children[key])

    def ready(self, keys: Collection[str]) -> tuple[str, ...]:
        """Those of ``keys``, and of what came up late, that are open and have all parents."""
        asked = (*self._late, *(key for key in keys if key not in self._late))
        return tuple(key for key in asked if key not in self._settled and self._has_parents(key))

    def record(self, key: str) -> Record:
        """The record of a done or cached step."""
        record = self._settled[key].record
        if record is None:
            raise LookupError(f"step {key[:12]} has no picture")
        return record

    def outcomes(self) -> Mapping[str, StepOutcome]:
        """The end of every step that was looked at, in the plan's order; open ones are pending."""
        pending = StepOutcome(state=State.PENDING, reason=NOT_REACHED)
        return {
            key: self._settled.get(key, pending) for key in self._plan.steps if key in self._known
        }

    def _has_parents(self, key: str) -> bool:
        parents = (self._settled.get(parent) for parent in self._plan.steps[key].parents)
        return all(parent is not None and parent.record is not None for parent in parents)
