"""A clean-up's lock, taken and released again and again so that no new run waits long."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from flows.gc.roots import RootReader, Roots
from flows.store.base import StoreError
from flows.store.lanes import LANES, in_lanes
from flows.store.lock import GcLock, HomeClock, passing_seconds
from flows.store.objects import Entry, Objects

SLICE = 15.0  # seconds; new runs wait about so long at most
BATCH = 128  # objects between two looks at the clock


def cut(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """In batches, between which a slice may end."""
    for start in range(0, len(entries), BATCH):
        yield entries[start : start + BATCH]


class Slices:
    """The lock, taken and released; what must stay under it, and removing under it."""

    def __init__(self, objects: Objects, reader: RootReader, lease: float, seconds: float) -> None:
        self.clock = HomeClock(0.0, 0.0)
        self._objects = objects
        self._reader = reader
        self._lease = lease
        self._seconds = seconds
        self._held = contextlib.ExitStack()
        self._slice: tuple[GcLock, Roots] | None = None
        self._ends = 0.0

    def __enter__(self) -> Slices:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def roots(self) -> Roots:
        """What must stay, read under the lock that is held now; begins a slice if none is on."""
        if self._slice is None or passing_seconds() > self._ends:
            self.end()
            lock = self._held.enter_context(GcLock(self._objects, lease=self._lease))
            self.clock = lock.clock
            self._slice = lock, self._reader.read(lock.clock.now())
            self._ends = passing_seconds() + self._seconds
        return self._slice[1]

    def remove(self, entries: Sequence[Entry], age: float) -> Iterator[tuple[Entry, bool]]:
        """Remove those that are still what they were, and so old; with each, whether it went.

        Raises:
            StoreError: the lock could not be renewed, or the home fails.
        """
        oldest = self.clock.now() - age

        def remove(entry: Entry) -> bool:
            seen = self._objects.stat(entry.name)
            if seen is None or seen.version != entry.version or seen.modified >= oldest:
                return False
            self._check()
            return self._objects.remove(entry.name, seen.version)

        return in_lanes(remove, entries, LANES)

    def end(self) -> None:
        """Let new runs in."""
        self._slice = None
        self._held.close()

    def _check(self) -> None:
        if self._slice is None or not self._slice[0].safe():
            raise StoreError(
                f"{self._objects.where}: the clean-up's lock could not be renewed in time; what "
                "went is gone, run it again to go on"
            )
