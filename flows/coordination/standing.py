"""How far a run is: the ends of its steps as its attempts tell them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from flows.coordination.ledger import StepSheet
from flows.execution.outcome import Ending, Outcome, State, StepOutcome
from flows.store.record import Record

MADE = frozenset({State.DONE, State.CACHED})
SETTLED = MADE | {State.FAILED, State.BLOCKED}
NOT_BEGUN = StepSheet(state=State.PENDING, reason="the run ended before its turn")


@dataclass
class Standing:
    """Mutable tally of one run; ``attempts`` and ``strikes`` count over all its chunks.

    A strike is an attempt whose worker or engine was lost, as opposed to one handed back.
    """

    total: int
    ends: dict[str, StepSheet] = field(default_factory=dict)
    attempts: int = 0
    strikes: int = 0
    engine_seconds: float = 0.0
    ending: Ending | None = None
    why: str = ""

    def settle(self, key: str, end: StepSheet) -> None:
        """A step has ended; what was made stays made."""
        known = self.ends.get(key)
        if known is None or known.state not in MADE:
            self.ends[key] = end

    def is_settled(self, key: str) -> bool:
        """Whether nothing more is to be done for this step."""
        end = self.ends.get(key)
        return end is not None and end.state in SETTLED

    @property
    def counts(self) -> Mapping[State, int]:
        """How many steps are in each state; those not heard of are pending."""
        found = Counter(end.state for end in self.ends.values())
        found[State.PENDING] += self.total - len(self.ends)
        return {state: found[state] for state in State}

    def without_picture(self, records: Mapping[str, Record | None]) -> list[str]:
        """Keys said to be made whose record is not there."""
        return [
            key
            for key, record in records.items()
            if record is None and key in self.ends and self.ends[key].state in MADE
        ]

    def outcome(
        self, records: Mapping[str, Record | None], ending: Ending | None, seconds: float
    ) -> Outcome:
        """The run's end, by the records that are there; ``ending`` when it was stopped."""
        steps: dict[str, StepOutcome] = {}
        for key, record in records.items():
            end = self.ends.get(key, NOT_BEGUN)
            state, reason = end.state, end.reason
            if record is not None:
                # Also what was made by an attempt that did not live to tell.
                state, reason = (state if state in MADE else State.DONE), ""
            elif state in MADE:
                state, reason = State.FAILED, "its picture was damaged since; run again"
            steps[key] = StepOutcome(key, state, record, reason, end.blocked_by, end.attempts)
        if all(end.record is not None for end in steps.values()):
            ending = Ending.COMPLETE  # also when it was asked to stop a moment too late
        return Outcome(steps, ending or Ending.FAILED, self.why, seconds)
