"""How long to wait before something that keeps dying is started again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds of delay: ``first``, doubled with each further failure in a row up to ``most``.

    Whatever lived for ``healthy`` seconds starts the count anew.
    """

    first: float = 0.5
    most: float = 30.0
    healthy: float = 60.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row; none after none."""
        if failures < 1:
            return 0.0
        return min(self.most, self.first * 2.0 ** min(failures - 1, 32))
