"""Leases: of all executions of one name, one at a time is alive.

A lease is an object ``leases/<name>`` that its holder changes every ``RENEW`` seconds by
compare-and-swap; absent, or empty, it is free. What it cannot do: a process that stands still for
longer than a judge's ``QUIET`` and wakes has had a double. Hence ``lost``, which a holder looks at
at every step, and ``sure``, which it asks before it publishes anything under a name of its own.

An answer that was lost is settled by reading: if the object holds this holder's id, it was done.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable

from flows.store.base import StoreAway
from flows.store.cells import CellChanged, Cells
from flows.store.judge import Judge, Verdict
from flows.store.objects import Held
from flows.store.words import (
    EMPTY,
    GAP,
    LEASES,
    NOBODY,
    OVERDUE,
    QUIET,
    RENEW,
    UNREADABLE,
    Words,
)

__all__ = [
    "GAP",
    "LEASES",
    "LOOK",
    "OVERDUE",
    "QUIET",
    "RENEW",
    "Judge",
    "Lease",
    "Verdict",
    "Words",
]

LOOK = 3.0  # seconds between two questions to a store that is away
FREEING = 4  # tries
_TURN = 0.05  # seconds between two tries at a name that changes hands

log = logging.getLogger(__name__)


class Lease:
    """One execution's; taken once, freed once. ``id`` is its own, whatever its name.

    ``made`` goes into the next words. ``away_since`` is when the first of a row of renewals was
    tried that did not come through, by ``time.monotonic``; ``None`` when the last one did.
    """

    def __init__(self, cells: Cells, name: str, worker: str, *, renew: float = RENEW) -> None:
        self.id = uuid.uuid4().hex
        self.name = name
        self.made = 0
        self.away_since: float | None = None
        self._cells = cells
        self._key = LEASES + name
        self._worker = worker
        self._renew = renew
        self._version: str | None = None  # of what we wrote last
        self._n = 0
        self._lost = False
        self._told = False
        self._stop = threading.Event()
        self._asking = threading.Lock()

    @property
    def lost(self) -> bool:
        """Whether the store said that it is not ours any more."""
        return self._lost

    def take(self, stopping: Callable[[], bool]) -> Words | None:
        """Take it: ``None`` when it is ours, else the words of whoever holds it.

        From then on a daemon thread renews it while the thread that called this lives. A holder
        that is proven dead is replaced. Waits while the store is away; once ``stopping()``, gives
        up with words of nobody (``holder`` is "").
        """
        version: str | None = None
        while self._version is None:
            try:
                found = self._try_to_take(version)
            except StoreAway as why:
                self._say("waiting to take it", why)
                if _waited(LOOK, stopping):
                    continue
                return NOBODY
            if isinstance(found, Words):
                return found
            version = None if found is None else found.version
            if self._version is None and not _waited(_TURN, stopping):
                return NOBODY
        self._told = False
        keeper = threading.Thread(
            target=self._keep, args=(threading.current_thread(),), name="lease", daemon=True
        )
        keeper.start()
        return None

    def sure(self, pause: Callable[[float], None]) -> bool:
        """Ask the store whether it is still ours, right before publishing.

        While the store is away it calls ``pause`` with a number of seconds and asks again; what
        that raises ends it.
        """
        while not self._lost:
            try:
                with self._asking:
                    return self._settle()
            except StoreAway as why:
                self._say("waiting to publish", why)
            pause(LOOK)
        return False

    def free(self) -> None:
        """Give it up, if it is still ours. A store that stays away is left to the judges."""
        self._stop.set()
        with self._asking:
            for turn in range(FREEING):
                if self._version is None or self._lost:
                    return
                try:
                    if self._try_to_free():
                        self._version = None
                        return
                except StoreAway as why:
                    self._say(f"giving it up, in {FREEING} tries at most", why)
                    if turn + 1 < FREEING:
                        time.sleep(min(2.0, self._renew))

    def _try_to_take(self, version: str | None) -> Words | Held | None:
        """The holder's words; or what to write over, ``None`` for a new object."""
        try:
            self._version = self._cells.write(self._key, self._next_words(), version)
        except CellChanged:
            held = self._cells.read(self._key)
            if held is None or len(held.data) <= EMPTY:
                return held
            words = Words.parse(held.data) or UNREADABLE
            if words.holder == self.id:  # ours, its answer lost
                self._version = held.version
            elif not words.is_dead:
                return words
            return held
        return None

    def _next_words(self) -> bytes:
        self._n += 1  # so that no two words have the same bytes, nor ETag
        return Words.of_this_process(self.id, self._n, self._worker, self.made).data()

    def _keep(self, owner: threading.Thread) -> None:
        wait = self._renew
        while not self._stop.wait(wait) and owner.is_alive() and not self._lost:
            with self._asking:
                if not self._stop.is_set():
                    wait = self._renewed()

    def _renewed(self) -> float:
        """Renew it once; in how many seconds to do so again."""
        began, before = time.monotonic(), self._version
        try:
            came_through = self._renew_once(before)
        except StoreAway as why:
            self._say("it cannot be renewed", why)
        except Exception:  # without this thread the lease would be lost in silence
            log.exception("lease %s: it cannot be renewed", self.name)
        else:
            if came_through:
                self.away_since, self._told = None, False
                return self._renew
        if self.away_since is None:
            self.away_since = began
        return min(2.0, self._renew)

    def _renew_once(self, version: str | None) -> bool:
        try:
            self._version = self._cells.write(self._key, self._next_words(), version)
        except (CellChanged, StoreAway):
            # Read, but not written: to a judge that is the same as silence.
            return self._settle() and self._version != version
        return True

    def _say(self, what: str, why: StoreAway) -> None:
        """Once for each time that the store is away."""
        if not self._told:
            self._told = True
            log.warning("lease %s: %s: %s", self.name, what, why)

    def _settle(self) -> bool:
        """Whether what the store holds is ours; it decides for good."""
        if self._lost:
            return False
        held = self._cells.read(self._key)
        words = None if held is None else Words.parse(held.data)
        if held is not None and (
            held.version == self._version or (words is not None and words.holder == self.id)
        ):
            self._version = held.version
            return True
        self._lost = True
        log.warning(
            "%s/%s is lost to %s: this execution publishes nothing",
            self._cells.where,
            self._key,
            "nobody" if words is None else f"worker '{words.worker}'",
        )
        return False

    def _try_to_free(self) -> bool:
        version = self._version
        assert version is not None  # noqa: S101 - free has looked
        try:
            self._cells.drop(self._key, version)
        except CellChanged:
            held = self._cells.read(self._key)
            words = None if held is None else Words.parse(held.data)
            if held is None or words is None or words.holder != self.id:
                return True  # gone by a try whose answer was lost, or another's
            self._version = held.version
            return False
        return True


def _waited(seconds: float, stopping: Callable[[], bool]) -> bool:
    """Let so long pass; ``False`` as soon as one is to stop."""
    end = time.monotonic() + seconds
    while not stopping():
        left = end - time.monotonic()
        if left <= 0:
            return True
        time.sleep(min(left, 0.25))
    return False
