"""What a lease says of its holder, how often it says so, and when a holder is proven dead.

Proof needs the same host name, boot id and PID namespace; a holder of another machine, container
or pod can only be waited out (``judge``).
"""

from __future__ import annotations

import functools
import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

LEASES = "leases/"
RENEW = 10.0  # seconds between two renewals
QUIET = 45.0  # seconds without a change after which a holder counts as dead
OVERDUE = 15.0  # seconds without a change after which proof of death is looked for
GAP = 20.0  # seconds; a judge that looks less often has not been watching
EMPTY = 2  # bytes; an object so small says nothing: it is free


@dataclass(frozen=True, slots=True)
class Words:
    """What a lease's object says.

    ``holder`` is of one execution, ``n`` counts its words. ``born`` is when the process of ``pid``
    started, in the kernel's ticks, ``here`` where its number counts; ``made`` is how many pictures
    were stored under the lease.
    """

    __pydantic_config__: ClassVar = ConfigDict(strict=True, defer_build=True)

    holder: str
    n: int
    worker: str
    pid: int
    born: str | None
    here: tuple[str, ...]
    made: int

    @classmethod
    def of_this_process(cls, holder: str, n: int, worker: str, made: int) -> Words:
        """What a holder in this process says."""
        pid = os.getpid()
        return cls(holder, n, worker, pid, born(pid), here(), made)

    def data(self) -> bytes:
        """The object's bytes: JSON."""
        return json.dumps(asdict(self), sort_keys=True).encode("ascii")

    @classmethod
    def parse(cls, data: bytes) -> Words | None:
        """The words in an object; ``None`` when it is empty, or holds anything else."""
        try:
            return _WORDS.validate_json(data)
        except ValidationError:
            return None

    @property
    def is_dead(self) -> bool:
        """Whether it is proven that the process which said this has ended."""
        if not self.here or self.here != here():
            return False
        return not may_live(self.pid, self.born)


NOBODY = Words("", 0, "", 0, None, (), 0)
UNREADABLE = Words("?", 0, "?", 0, None, (), 0)  # somebody's; it may be a newer version's

_WORDS = TypeAdapter(Words)


@functools.cache
def here() -> tuple[str, ...]:
    """Where this process's number counts: host name, boot and PID namespace; empty: unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return socket.gethostname(), boot, str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ()


def born(pid: int) -> str | None:
    """When the process of this number started, in ticks since boot; ``None`` when nobody tells."""
    told = _stat(pid)
    return told[1] if told else None


def _stat(pid: int) -> tuple[str, str] | None:
    """A process's state and start. Its name, in brackets, may hold anything."""
    try:
        rest = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode("ascii").split()
        return rest[0], rest[19]
    except (OSError, IndexError, ValueError):
        return None


def may_live(pid: int, started: str | None = None) -> bool:
    """Whether a process of this number, which started then, may be alive."""
    if pid <= 0:
        return True  # nobody's number
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass  # another user's, whose /proc may be hidden
    told = _stat(pid)
    if told is None:
        return True
    state, start = told
    if started is not None and start != started:
        return False  # the number was given again
    return state not in {"Z", "X"} or _has_threads(pid)


def _has_threads(pid: int) -> bool:
    """Whether more than the first thread is left: that one may be over before the others."""
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except OSError:
        return True
