"""A clean-up's lock, taken and released again and again so that no new run waits long."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from flows.gc.needs import Needs, NeedsReader
from flows.store.base import StoreError
from flows.store.lock import GcLock, HomeClock, passing_seconds
from flows.store.objects import Entry, Objects

SLICE = 15.0  # seconds; new runs wait about so long at most
BATCH = 128  # objects between two looks at the clock


def cut(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """In batches, between which a slice may end."""
    for start in range(0, len(entries), BATCH):
        yield entries[start : start + BATCH]


class Slices:
    """The lock, taken and released so that nobody waits long, and what must stay under it."""

    def __init__(self, objects: Objects, reader: NeedsReader, lease: float, seconds: float) -> None:
        self._objects = objects
        self._reader = reader
        self._lease = lease
        self._seconds = seconds
        self._held: contextlib.ExitStack | None = None
        self._lock: GcLock | None = None
        self._read: Needs | None = None
        self._ends = 0.0
        self.clock = HomeClock(0.0, 0.0)

    def __enter__(self) -> Slices:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def needs(self) -> Needs:
        """What must stay, read under the lock that is held now; begins a slice if none is on."""
        if self._read is None or passing_seconds() > self._ends:
            self.end()
            self._begin()
        assert self._read is not None  # noqa: S101 - _begin has set it
        return self._read

    def now(self) -> float:
        """By the home's clock."""
        return self.clock.now()

    def check(self) -> None:
        """Ask right before each deletion.

        Raises:
            StoreError: the lock could not be renewed.
        """
        if self._lock is None or not self._lock.safe():
            raise StoreError(
                f"{self._objects.where}: the clean-up's lock could not be renewed in time; what "
                "went is gone, run it again to go on"
            )

    def end(self) -> None:
        """Let new runs in."""
        if self._held is not None:
            self._held.close()
        self._held = self._lock = self._read = None

    def _begin(self) -> None:
        stack = contextlib.ExitStack()
        self._lock = stack.enter_context(GcLock(self._objects, lease=self._lease))
        self._held = stack
        self.clock = self._lock.clock
        self._read = self._reader.read(self.clock.now())
        self._ends = passing_seconds() + self._seconds
