"""A worker where nothing succeeds keeps away from what others could make: it quarantines itself.

Each attempt that comes to nothing counts against its chunk, whoever is to blame. A host that cannot
load the model, or whose engine dies at every picture, would be done with each in a moment, and
take the next.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

IN_A_ROW = 3  # attempts that came to nothing, until the worker keeps away
LONGEST = 30 * 60.0  # seconds between two trials


class Setbacks:
    """Counts attempts in a row that came to nothing. Safe for threads.

    From the ``IN_A_ROW``-th on nothing is taken for a minute, then one chunk on trial; if that
    comes to nothing too, for two minutes, for four, up to ``LONGEST``. What is made ends it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._row = 0
        self._until = 0.0
        self._why = ""

    def fruitless(self, why: str) -> None:
        """An attempt has ended without a new picture, and this host may be to blame."""
        with self._lock:
            self._row += 1
            self._why = why
            if self._row >= IN_A_ROW:
                rest = min(LONGEST, 60.0 * 2.0 ** min(self._row - IN_A_ROW, 10))
                self._until = self._clock() + rest

    def fruitful(self) -> None:
        """Something was made."""
        with self._lock:
            self._row, self._until, self._why = 0, 0.0, ""

    def may_take(self, in_hand: int) -> bool:
        """Whether a chunk may be taken: any, or the one on trial."""
        with self._lock:
            if self._row < IN_A_ROW:
                return True
            return self._clock() >= self._until and in_hand == 0

    @property
    def why(self) -> str:
        """Why the worker keeps away; empty when it does not."""
        with self._lock:
            if self._row < IN_A_ROW:
                return ""
            left = max(0.0, self._until - self._clock())
            when = f"a trial in {left:.0f} s" if left else "on trial"
            return f"{self._row} attempts in a row came to nothing ({self._why}); {when}"
