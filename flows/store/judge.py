"""Judging by one's own clock whether the holder of a lease lives.

No machine's clock is compared with another's. A lease is quiet when the judge itself has seen one
version of it for ``QUIET`` seconds, every look answered and no two looks more than ``GAP`` seconds
apart. A store that is away is nobody's death: a look that was not answered starts the count again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from enum import StrEnum

from flows.store.base import StoreAway
from flows.store.cells import CellChanged, Cells, Sight
from flows.store.words import EMPTY, GAP, LEASES, OVERDUE, QUIET, UNREADABLE, Words

REMEMBERED = 1000  # broken leases of which one can be asked whose they were

log = logging.getLogger(__name__)


class Verdict(StrEnum):
    """What a judge says of a name."""

    HELD = "held"  # somebody holds its lease, or it changes hands
    BROKEN = "broken"  # its holder is dead, and this judge has freed it now
    QUIET = "quiet"  # nobody holds it, and its run's state has not changed for so long
    FREE = "free"  # nobody holds it


class Judge:
    """One thread's. Times are in seconds by ``clock``, which never goes back.

    ``broken`` tells what the leases said that this judge broke, by name.
    """

    def __init__(
        self,
        cells: Cells,
        *,
        quiet: float = QUIET,
        overdue: float = OVERDUE,
        gap: float = GAP,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.broken: dict[str, Words] = {}
        self._cells = cells
        self._quiet = quiet
        self._overdue = overdue
        self._gap = gap
        self._clock = clock
        self._seen: dict[str, tuple[object, float, float]] = {}  # what, since when, last seen
        self._pruned = clock()

    def forget(self) -> None:
        """A look was not answered: whatever was seen counts from the next look."""
        self._seen.clear()

    def since(self, name: str, what: object) -> float:
        """For how long this has been seen under the name without a gap; 0 at the first look."""
        now = self._clock()
        seen, first, last = self._seen.get(name, (None, now, now))
        if seen != what or now - last > self._gap:
            first = now
        self._seen[name] = (what, first, now)
        self._prune(now)
        return now - first

    def lease(
        self, name: str, sights: Mapping[str, Sight], state: object, patience: float
    ) -> Verdict:
        """What a look shows of a name's lease; one that is quiet is broken.

        ``sights`` is what ``cells.list`` told just now. ``state`` is the state of what the lease
        is for, read before; a free one is QUIET when that has not changed for ``patience`` seconds.

        Raises:
            StoreAway: no answer; everything counts from the next look.
        """
        sight = sights.get(LEASES + name)
        if sight is None or sight.size <= EMPTY:
            unchanged = self.since(name, (sight and sight.version, state))
            return Verdict.QUIET if unchanged > patience else Verdict.FREE
        age = self.since(name, sight.version)
        if age <= min(self._quiet, self._overdue):
            return Verdict.HELD
        try:
            return self._overdue_lease(name, sight.version, age)
        except StoreAway:
            self.forget()
            raise

    def _overdue_lease(self, name: str, version: str, age: float) -> Verdict:
        held = self._cells.read(LEASES + name)
        if held is None or held.version != version:
            return Verdict.HELD  # it moved: the next look tells
        words = Words.parse(held.data) or UNREADABLE
        if age <= self._quiet and not words.is_dead:
            return Verdict.HELD
        if not self._broke(name, version):
            return Verdict.HELD
        self.broken.pop(name, None)
        self.broken[name] = words
        while len(self.broken) > REMEMBERED:
            del self.broken[next(iter(self.broken))]
        log.warning(
            "%s/%s%s: worker '%s' has not renewed this lease for %.0f s%s; it is free now",
            self._cells.where,
            LEASES,
            name,
            words.worker,
            age,
            " and its process has ended" if words.is_dead else "",
        )
        return Verdict.BROKEN

    def _broke(self, name: str, version: str) -> bool:
        try:
            self._cells.drop(LEASES + name, version)
        except CellChanged:
            return False
        except StoreAway:
            held = self._cells.read(LEASES + name)  # its answer may have been lost
            if held is not None and len(held.data) > EMPTY:
                raise
        return True

    def _prune(self, now: float) -> None:
        """What was last seen before a gap counts anew anyhow."""
        if now - self._pruned <= self._gap:
            return
        self._pruned = now
        for name, (_, _, last) in list(self._seen.items()):
            if now - last > self._gap:
                del self._seen[name]
