"""``gc.lock``: while a clean-up deletes, no run may start to look things up.

The lock is created only if it is not there, touched while its holder lives, and expires ``LEASE``
seconds after its last touch *by the home's own clock*: whoever judges that writes something of its
own first and reads the home's time off it (``HomeClock``), so wrong clocks of machines do no harm.

The holder deletes only while more than half of the lease is left by a clock that goes on while the
machine sleeps (``GcLock.safe``). So a deletion that hangs in its retries still ends before anybody
may call the lock expired.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from flows.store.base import StoreError
from flows.store.objects import Objects
from flows.store.words import here, may_live

LOCK = "gc.lock"
CLOCKS = "clocks/"  # written, read, removed
LEASE = 300.0  # seconds; a dead collector of another machine keeps new runs waiting this long
POLL = 0.5  # seconds between two looks at a lock that somebody else holds

Say = Callable[[str], None]


class CollectorBusy(StoreError):  # noqa: N818 - a state of the store, named as people name it
    """Another clean-up of this store is under way."""


def silent(text: str) -> None:
    """Tell nobody."""


def passing_seconds() -> float:
    """A clock that never goes back and counts a machine's sleep, where the system has one."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


@dataclass(frozen=True, slots=True)
class HomeClock:
    """The home's time, read off something that was just written there. Late, never early."""

    modified: float
    at: float

    def now(self) -> float:
        """Seconds since 1970 by the home's clock."""
        return self.modified + passing_seconds() - self.at

    @classmethod
    def of(cls, objects: Objects, name: str) -> HomeClock | None:
        """Read it off an object that has been written or touched a moment ago."""
        entry = objects.stat(name)
        return None if entry is None else cls(entry.modified, passing_seconds())

    @classmethod
    def probe(cls, objects: Objects) -> HomeClock:
        """Write something, read the time off it, remove it.

        Raises:
            StoreError: the home cannot be written.
        """
        name = f"{CLOCKS}{uuid.uuid4().hex}"
        objects.create(name, b"")
        try:
            clock = cls.of(objects, name)
        finally:
            objects.remove(name)
        if clock is None:
            raise StoreError(f"{objects.where}: what was just written is not there; try again")
        return clock


@dataclass(frozen=True, slots=True)
class Seen:
    """A lock that somebody holds: its instance, and when it expires by the home's clock."""

    id: str
    version: str
    expires: float
    who: str
    dead: bool

    def held(self, now: float) -> bool:
        """Whether it must be respected at this time."""
        return not self.dead and now <= self.expires


def look(objects: Objects) -> Seen | None:
    """The lock as it is now; ``None`` when there is none."""
    held = objects.get(LOCK)
    entry = objects.stat(LOCK) if held is not None else None
    if held is None or entry is None:
        return None
    body = _decode(held.data)
    lease = body.get("lease")
    seconds = float(lease) if isinstance(lease, (int, float)) and 0 < lease < 86400 else LEASE
    pid, is_here = body.get("pid"), body.get("host") == _host() is not None
    who = f"process {pid} of {'this' if is_here else 'another'} machine"
    dead = is_here and isinstance(pid, int) and not may_live(pid)
    return Seen(str(body.get("id")), entry.version, entry.modified + seconds, who, dead)


def wait_for_collector(
    objects: Objects,
    clock: HomeClock,
    say: Say,
    *,
    poll: float = POLL,
) -> bool:
    """Wait while the lock that is held *now* is held; whether there was one to wait for.

    A lock that somebody takes afterwards is not waited for: its holder reads what was written
    before, so waiting runs cannot be starved by one slice of a clean-up after another.

    Raises:
        StoreError: the home fails.
    """
    first = look(objects)
    if first is None or not first.held(clock.now()):
        return False
    say(
        f"{objects.where}: a clean-up is under way ({first.who}); waiting for it, "
        f"{max(1, round(first.expires - clock.now()))} s at most if it has died"
    )
    while True:
        time.sleep(poll)
        seen = look(objects)
        if seen is None or seen.id != first.id or not seen.held(clock.now()):
            return True


class GcLock:
    """The lock, held from ``__enter__`` to ``__exit__`` and renewed by a thread.

    Raises on entering:
        CollectorBusy: somebody else holds it.
        StoreReadOnly: the home cannot be written.
    """

    def __init__(self, objects: Objects, *, lease: float = LEASE) -> None:
        self._objects = objects
        self._lease = lease
        self._id = uuid.uuid4().hex
        self._renewed = 0.0
        self._lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="gc.lock", daemon=True)
        self.clock = HomeClock(0.0, 0.0)

    def __enter__(self) -> Self:
        self._take()
        self._thread.start()
        try:
            clock = HomeClock.of(self._objects, LOCK)
            if clock is None or not self._mine():
                raise CollectorBusy(f"{self._objects.where}: another clean-up took over; try again")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.clock = clock
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(StoreError):  # it expires
            seen = look(self._objects)
            if seen is not None and seen.id == self._id:
                self._objects.remove(LOCK, seen.version)

    def safe(self) -> bool:
        """Whether something may be deleted at this moment under this lock."""
        return not self._lost and passing_seconds() - self._renewed < self._lease / 2

    def _take(self) -> None:
        for _ in range(3):
            before = passing_seconds()
            if self._objects.create(LOCK, self._body()):
                self._renewed = before
                return
            seen = look(self._objects)
            if seen is None:
                continue
            if seen.held(HomeClock.probe(self._objects).now()):
                raise CollectorBusy(
                    f"{self._objects.where}: another clean-up is under way ({seen.who}); "
                    "wait for it to end"
                )
            self._objects.remove(LOCK, seen.version)
        raise CollectorBusy(f"{self._objects.where}: other clean-ups are under way; try again")

    def _body(self) -> bytes:
        body = {"id": self._id, "lease": self._lease, "host": _host(), "pid": os.getpid()}
        return json.dumps(body).encode("ascii")

    def _mine(self) -> bool:
        held = self._objects.get(LOCK)
        return held is not None and _decode(held.data).get("id") == self._id

    def _renew(self) -> None:
        while not self._stop.wait(self._lease / 10):
            before = passing_seconds()
            with contextlib.suppress(StoreError):  # tried again; meanwhile safe() runs out
                if passing_seconds() - self._renewed > self._lease or not self._mine():
                    self._lost = True
                    return
                if self._objects.touch(LOCK):
                    self._renewed = before


def _decode(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _host() -> str | None:
    """Where this process's number counts, as a digest; ``None`` where that cannot be told."""
    return hashlib.sha256(" ".join(here()).encode()).hexdigest()[:16] if here() else None
