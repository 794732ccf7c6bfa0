"""Creating a file so that it is either there, whole and durable, or not there at all.

A file opened O_EXCL under its final name would be an empty "done" after a crash; so the bytes go
to a temporary file, are synced, and get their name by ``link``, which fails if the name is taken.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from flows.store.base import StoreAway, StoreError, StoreFull, StoreReadOnly, StoreUnfit

LOCK_POLL = 0.005  # seconds between two tries to get a lock
FORGOTTEN_SECONDS = 24 * 3600.0  # nobody writes one file for so long

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


class LockHeld(StoreAway):
    """Somebody else holds a lock for longer than one waits."""


def create(path: Path, data: bytes, scratch: Path) -> bool:
    """Write ``data`` under ``path`` unless that name is taken; whether this call made it.

    ``scratch`` is a folder of the same file system for the temporary file. Where hard links are
    refused (exFAT, some network mounts) the name is given by rename under a lock.

    Raises:
        OSError: of the file system; nothing is left behind under ``path``.
    """
    temporary = write_temporary(data, scratch)
    try:
        created = _give_name(temporary, path, scratch)
    finally:
        temporary.unlink(missing_ok=True)
    if created:
        sync_folder(path.parent)
    return created


def replace(path: Path, data: bytes, scratch: Path) -> None:
    """Write ``data`` under ``path`` whole, over whatever is there."""
    _put(path, write_temporary(data, scratch))


def copy(source: Path, path: Path, scratch: Path) -> None:
    """Copy the bytes of ``source`` under ``path`` whole, over whatever is there.

    Raises:
        OSError: of the file system; ``FileNotFoundError`` when there is no source.
    """

    def fill(descriptor: int) -> None:
        with source.open("rb") as file, os.fdopen(descriptor, "wb", closefd=False) as new:
            shutil.copyfileobj(file, new)

    _put(path, _temporary(scratch, fill))


def _put(path: Path, temporary: Path) -> None:
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_temporary(data: bytes, scratch: Path) -> Path:
    """A new, synced file in ``scratch`` holding ``data``; removed again when writing fails."""
    return _temporary(scratch, lambda descriptor: write_all(descriptor, data))


def _temporary(scratch: Path, fill: Callable[[int], None]) -> Path:
    path = scratch / temporary_name()
    # Whom it is for is decided by the umask: a store may have several users.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        try:
            fill(descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def temporary_name() -> str:
    """A name for a file that nobody else takes; ``clean_scratch`` knows it."""
    return f"{uuid.uuid4().hex}.tmp"


def write_all(descriptor: int, data: bytes) -> None:
    """``os.write`` may write less than it was given; this does not."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _give_name(temporary: Path, path: Path, scratch: Path) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _rename_under_lock(temporary, path, scratch)
    return True


def _rename_under_lock(temporary: Path, path: Path, scratch: Path) -> bool:
    # Every writer of such a file system comes this way, so the lock makes "look, then rename"
    # one act; the kernel drops it when its holder dies.
    with locked(scratch / "lock", path.parent, "neither hard links nor locks"):
        if path.exists():
            return False
        temporary.rename(path)
        return True


@contextlib.contextmanager
def locked(path: Path, place: Path, without: str, patience: float = -1) -> Iterator[None]:
    """Hold the lock of this file, which is made if need be, against other processes and threads.

    The kernel's lock (``flock``): whoever dies has given it up. ``place`` and ``without`` are what
    is told of a file system without locks. ``patience`` in seconds; negative waits for ever.

    Raises:
        StoreUnfit: there are no locks here.
        LockHeld: somebody else holds it for longer than the patience.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, patience, poll_interval=LOCK_POLL, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise LockHeld(
            f"{place}: another process holds its lock for {patience:.0f} s; is one stopped?"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise StoreUnfit(
            f"{place}: this file system offers {without}, so two runs could overwrite each other; "
            "choose another --store"
        ) from None
    try:
        yield
    finally:
        lock.release()


def sync_folder(folder: Path) -> None:
    """Make a new name in ``folder`` survive a power cut, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:
            raise
    finally:
        os.close(descriptor)


def clean_scratch(scratch: Path) -> None:
    """Remove temporary files whose writer must be gone."""
    for path in scratch.glob("*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > FORGOTTEN_SECONDS:
                path.unlink()


@contextlib.contextmanager
def disk_errors(root: Path) -> Iterator[None]:
    """Turn what a disk may answer into a ``StoreError`` that says what to do."""
    try:
        yield
    except OSError as error:
        raise _explain(error, root) from error


def _explain(error: OSError, root: Path) -> StoreError:
    why = (error.strerror or str(error)).lower()
    if error.errno in _FULL:
        return StoreFull(
            f"{root}: {why}; free some space or choose another --store, then run again: "
            "everything stored so far is kept"
        )
    if error.errno in _READ_ONLY:
        return StoreReadOnly(
            f"{root}: cannot be used ({why}); make the folder readable and writable, or choose "
            "another --store"
        )
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        return StoreError(
            f"{root}: a file is in the way of a folder ({why}); choose another --store"
        )
    return StoreError(f"{root}: {why}; check the disk, then run again")
