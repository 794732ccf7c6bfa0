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
    if wanted is not None:
        lock = _lock(folder, wanted)
        if lock is None:
            raise NameTakenError(
                f"a worker '{wanted}' runs on this machine; expected another name; give --name"
            )
        return Name(_plain(wanted), lock)
    host = _plain(socket.gethostname())
    for number in range(1, MOST + 1):
        name = host if number == 1 else f"{host}-{number}"
        if (lock := _lock(folder, name)) is not None:
            return Name(name, lock)
    raise NameTakenError(f"{MOST} workers run on this machine already; give --name")


def _plain(text: str) -> str:
    # Prefect takes neither '/' nor '%'.
    return re.sub(r"[^\w.-]+", "-", text).strip("-") or "worker"


def _lock(folder: Path, name: str) -> IO[bytes] | None:
    # The file stays: who removed it could remove another's. The kernel lets go of the lock.
    file = (folder / f"{_plain(name)}.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError:  # a file system without locks
        file.close()
        raise
    return file
