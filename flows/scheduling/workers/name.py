"""What a worker is called: the same after each restart, and nobody else on this machine."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MOST = 64  # workers on a machine


class NoNameError(Exception):
    """A worker cannot have a name; the message says why and what to do."""


class NameTakenError(NoNameError):
    """A worker of this name runs on this machine."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name and the lock that keeps it ours for as long as this process lives."""

    text: str
    lock: IO[bytes]

    @property
    def holder(self) -> str:
        """What leases say: this very process, so that its next life is somebody else."""
        return f"{self.text} ({socket.gethostname()} {os.getpid()})"


def claim_name(wanted: str | None = None, folder: Path | None = None) -> Name:
    """``wanted``, or the host's name, with ``-2`` and so on for further workers.

    Raises:
        NameTakenError: ``wanted`` is another's already.
        NoNameError: names cannot be kept here.
    """
    try:
        folder = folder or Path(tempfile.gettempdir()) / f"kontext-workers-{os.getuid()}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _claimed(folder, wanted)
    except OSError as error:
        raise NoNameError(
            f"{folder or 'TMPDIR'} cannot keep the names of this machine's workers "
            f"({error.strerror or error}); expected a folder with room that this user may write "
            "to; clean it up, or set TMPDIR to another"
        ) from error


def _claimed(folder: Path, wanted: str | None) -> Name:
    host = wanted or socket.gethostname()
    plain = re.sub(r"[^\w.-]+", "-", host).strip("-") or "worker"  # Prefect takes no '/' and no '%'
    for number in range(1, 2 if wanted is not None else MOST + 1):
        name = plain if number == 1 else f"{plain}-{number}"
        if (lock := _lock(folder / f"{name}.lock")) is not None:
            return Name(name, lock)
    if wanted is None:
        raise NameTakenError(f"{MOST} workers run on this machine already; give --name")
    raise NameTakenError(
        f"a worker '{wanted}' runs on this machine; expected another name; give --name"
    )


def _lock(path: Path) -> IO[bytes] | None:
    # The file stays: who removed it could remove another's. The kernel lets go of the lock.
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            return None
        raise  # a file system without locks
    return file
