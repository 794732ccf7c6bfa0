"""The coordinator's seat: one process at a time conducts a store, others stand by.

``coordinator.json`` is written anew every few seconds by whoever has the seat. Somebody who waits
takes it once it has not changed for ``LEASE`` seconds *by the waiting one's own clock*, so wrong
clocks do no harm; or at once, when its writer was a process of this machine that is dead.

Whoever cannot write it for half of that time stops (``held``), so that the old one has stopped
before the new one starts. Were both to work for a moment, nothing would break either: everything
that a conductor does may be done twice.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from flows.store.base import StoreError
from flows.store.lock import _alive as is_alive
from flows.store.lock import _host as this_machine
from flows.store.lock import passing_seconds
from flows.store.objects import Entry, Objects

log = logging.getLogger(__name__)

NAME = "coordinator.json"
LEASE = 15.0  # seconds


@dataclass(frozen=True, slots=True)
class Sitter:
    """Who has the seat, as its object tells."""

    id: str
    name: str
    is_dead: bool  # known for sure


class Seat:
    """Taken by ``take``, then renewed by a thread until ``leave``; ``held`` asks whether it lasts.

    ``name`` is what people call this process.
    """

    def __init__(
        self,
        objects: Objects,
        name: str,
        *,
        lease: float = LEASE,
        clock: Callable[[], float] = passing_seconds,
    ) -> None:
        self.name = name
        self._objects = objects
        self._lease = lease
        self._clock = clock
        self._id = uuid.uuid4().hex
        self._renewed = float("-inf")
        self._count = 0
        self._lost = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.leave()

    @property
    def held(self) -> bool:
        """Whether this process may act at this moment."""
        return not self._lost and self._clock() - self._renewed < self._lease / 2

    def take(self, wait: Callable[[float], bool]) -> bool:
        """Stand by until the seat is this process's; ``False`` when ``wait`` says to stop.

        ``wait`` sleeps for so many seconds, and tells whether to give up.

        Raises:
            StoreError: the store fails.
        """
        self._rest()  # it may still renew, after a stall without a rival; two would fall out
        seen: tuple[Entry | None, float] | None = None  # the object, and since when it is so
        told = ""
        while True:
            sitter, entry = self._look()
            now = self._clock()
            if sitter is None or entry is None:
                # Renewing leaves a moment without it: so it must be missing twice in a row.
                if seen is not None and seen[0] is None and self._create():
                    return True
                seen = (None, now)
            else:
                if seen is None or entry != seen[0]:
                    seen = (entry, now)
                stale = sitter.is_dead or sitter.id == self._id or now - seen[1] > self._lease
                if stale and self._objects.remove(NAME, entry.version) and self._create():
                    return True
                if not stale and told != sitter.id:
                    told = sitter.id
                    log.info("standing by: %s conducts %s", sitter.name, self._objects.where)
            if wait(min(1.0, self._lease / 10)):
                return False

    def leave(self) -> None:
        """Give it up; the next one need not wait."""
        if self._rest():
            with contextlib.suppress(StoreError):  # it expires
                sitter, entry = self._look()
                if sitter is not None and entry is not None and sitter.id == self._id:
                    self._objects.remove(NAME, entry.version)

    def _rest(self) -> bool:
        """Renew no more; whether it was renewed until now."""
        thread, self._thread = self._thread, None
        self._stop.set()
        if thread is None:
            return False
        thread.join()
        return True

    def _create(self) -> bool:
        before = self._clock()
        if not self._objects.create(NAME, self._body()):
            return False
        self._renewed, self._lost = before, False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="seat", daemon=True)
        self._thread.start()
        return True

    def _renew(self) -> None:
        while not self._stop.wait(self._lease / 5):
            before = self._clock()
            with contextlib.suppress(StoreError):  # tried again; meanwhile it runs out
                if not self._write_again():
                    self._lost = True
                    return
                self._renewed = before

    def _write_again(self) -> bool:
        """Whether it was ours and is again. Whoever slept in here does not overwrite another's."""
        sitter, entry = self._look()
        mine = sitter is not None and sitter.id == self._id
        if entry is not None and not (mine and self._objects.remove(NAME, entry.version)):
            return False
        return self._objects.create(NAME, self._body())

    def _look(self) -> tuple[Sitter | None, Entry | None]:
        entry = self._objects.stat(NAME)
        held = self._objects.get(NAME) if entry is not None else None
        return (None, None) if held is None else (_sitter(held.data), entry)

    def _body(self) -> bytes:
        self._count += 1  # so that no two writings are alike
        body = {
            "id": self._id,
            "name": self.name,
            "machine": this_machine(),
            "pid": os.getpid(),
            "renewals": self._count,
        }
        return json.dumps(body).encode("ascii")


def _sitter(data: bytes) -> Sitter:
    try:
        body: Any = json.loads(data)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return Sitter("", "somebody", is_dead=False)
    here = body.get("machine") == this_machine() is not None
    return Sitter(
        str(body.get("id")), str(body.get("name")), is_dead=here and not is_alive(body.get("pid"))
    )
