"""How a worker where nothing succeeds is kept from using up what others could make.

Each attempt that comes to nothing counts against its chunk, whoever is to blame. A host that cannot
load the model, or reach the store, would be done with each in a moment, and take the next.
"""

from __future__ import annotations

from flows.workers.attempt import Verdict

LONGEST = 60.0  # seconds


class Setbacks:
    """Counts attempts in a row that came to nothing; what is made ends the row."""

    def __init__(self) -> None:
        self.row = 0

    def rest_after(self, verdict: Verdict) -> float:
        """For how long whoever had this attempt takes no other (seconds)."""
        if verdict.fruitless:
            self.row += 1
            return min(LONGEST, 2.0 ** min(self.row, 6))
        if verdict.made:
            self.row = 0
        return 0.0
