"""Creating a file so that it is either there, whole and durable, or not there at all.

A file opened O_EXCL under its final name would be an empty "done" after a crash; so the bytes go
to a temporary file, are synced, and get their name by ``link``, which fails if the name is taken.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from flows.store.base import StoreError, StoreFull, StoreReadOnly, StoreUnfit

STALE_SECONDS = 600.0  # a dead process's temporary file is kept this long, for slow clocks
LOCK_POLL = 0.005  # seconds between two tries to get a lock
FORGOTTEN_SECONDS = 24 * 3600.0  # nobody writes one file this long, whoever owns the pid now

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


class LockHeld(Exception):  # noqa: N818 - what is found, as people say it
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


def probe(scratch: Path) -> None:
    """Try in ``scratch`` what ``create`` needs; leaves nothing behind.

    Raises:
        StoreUnfit: no name can be created atomically here.
        OSError: of the file system.
    """
    path = scratch / temporary_name()
    create(path, b"", scratch)
    path.unlink(missing_ok=True)


def replace(path: Path, data: bytes, scratch: Path) -> None:
    """Write ``data`` under ``path`` whole, over whatever is there."""
    temporary = write_temporary(data, scratch)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def copy(source: Path, path: Path, scratch: Path) -> None:
    """Copy the bytes of ``source`` under ``path`` whole, over whatever is there.

    Raises:
        OSError: of the file system; ``FileNotFoundError`` when there is no source.
    """
    temporary = scratch / temporary_name()
    try:
        shutil.copyfile(source, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_temporary(data: bytes, scratch: Path) -> Path:
    """A new, synced file in ``scratch`` holding ``data``; removed again when writing fails."""
    path = scratch / temporary_name()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def temporary_name() -> str:
    """A name for a file of this process that nobody else takes."""
    return f"{_host()}-{os.getpid()}-{uuid.uuid4().hex}"  # clean_scratch reads it


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
def locked(path: Path, place: Path, without: str, patience: float | None = None) -> Iterator[None]:
    """Hold the lock of this file, which is made if need be, against other processes and threads.

    ``place`` and ``without`` are what is told of a file system without locks. ``patience`` in
    seconds; ``None`` waits for ever.

    Raises:
        StoreUnfit: there are no locks here.
        LockHeld: somebody else holds it for longer than the patience.
    """
    while True:
        with path.open("ab") as handle:
            try:
                _lock(handle.fileno(), patience)
            except OSError as error:
                if error.errno in _NO_LOCKS:
                    raise StoreUnfit(
                        f"{place}: this file system offers {without}, so two runs could "
                        "overwrite each other; choose another --store"
                    ) from None
                raise
            # A clean-up may have removed the file while we waited; then others lock a new one.
            if _same_file(handle.fileno(), path):
                yield
                return


def _lock(descriptor: int, patience: float | None) -> None:
    if patience is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    end = time.monotonic() + patience
    while not _locks_now(descriptor):
        if time.monotonic() > end:
            raise LockHeld
        time.sleep(LOCK_POLL)


def _locks_now(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


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


def clean_scratch(scratch: Path) -> int:
    """Remove temporary files whose writer is gone; how many.

    Only files of this host whose process is dead and that are older than ``STALE_SECONDS``, and
    whatever is older than ``FORGOTTEN_SECONDS``: another host's writers are left alone.
    """
    removed = 0
    now = time.time()
    for path in scratch.iterdir():
        parts = path.name.split("-")
        if len(parts) != 3 or not parts[1].isdigit():
            continue
        with contextlib.suppress(OSError):
            age = now - path.stat().st_mtime
            dead = parts[0] == _host() and not _alive(int(parts[1]))
            if (dead and age > STALE_SECONDS) or age > FORGOTTEN_SECONDS:
                path.unlink()
                removed += 1
    return removed


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _host() -> str:
    # A digest: host names may hold any character, and are nobody's business in a shared folder.
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


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
