"""The folder that a run is pulled to: nothing leaves it, and it remembers what it was given."""

from __future__ import annotations

import contextlib
import errno
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from flows.store.objects import checked
from kontext_engine.files import write_whole

MEMORY = ".kontext-pull.json"
_REMEMBER_EVERY = 2.0  # seconds between two writings of what was pulled
_FILES = TypeAdapter(dict[Literal["files"], dict[str, tuple[str, str]]])
_PART_AGE = 60.0  # seconds; nobody writes one file for so long


class PullError(Exception):
    """Nothing can be pulled here; the message says where, what, and what to do."""


class Refused(Exception):  # noqa: N818 - told as one of the problems
    """This file will not be written; the message says why."""


def inside(target: Path, relative: str) -> Path:
    """Where a file goes: below ``target``, through no link."""
    path = target
    for part in checked(relative).split("/"):
        path = path / part
        if path.is_symlink():
            raise Refused(f"{path}: is a link, which could lead out of {target}; remove it")
    return path


def clean(target: Path) -> None:
    """Remove what a pull left that was killed while it wrote (``write_whole``'s neighbours)."""
    for left in target.rglob(".*-*.part"):
        number = left.name[1:].partition("-")[0]
        if number.isdigit() and not left.is_symlink():
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _PART_AGE:
                    left.unlink()


@contextlib.contextmanager
def target_errors(target: Path) -> Iterator[None]:
    """Turn what a disk may answer into a ``PullError`` that says what to do."""
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        remedy = {
            errno.ENOSPC: "free some space, then pull again: what is there is kept",
            errno.EDQUOT: "free some space, then pull again: what is there is kept",
            errno.ENOTDIR: "choose a folder",
            errno.EEXIST: "choose a folder",
        }.get(error.errno or 0, "choose a folder that can be written")
        raise PullError(f"{target}: cannot be written ({why}); {remedy}") from None


class Memory:
    """Which version of a file without a digest was pulled, and the digest of what was written."""

    def __init__(self, target: Path) -> None:
        self._path = target / MEMORY
        self._files: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()
        self._changed = False
        self._written = time.monotonic()

    def read(self) -> None:
        """Take up what an earlier pull remembered; what cannot be read is forgotten."""
        with contextlib.suppress(OSError, ValueError):
            if not self._path.is_symlink():
                self._files = _FILES.validate_json(self._path.read_bytes())["files"]

    def knows(self, path: str, version: str, digest: str) -> bool:
        """Whether a file with this digest is this version."""
        return bool(version) and self._files.get(path) == (version, digest)

    def remember(self, path: str, version: str, digest: str) -> None:
        """Remember it; written down from time to time, for pulls that are killed."""
        with self._lock:
            self._files[path] = (version, digest)
            self._changed = True
            due = time.monotonic() - self._written > _REMEMBER_EVERY
        if due:
            self.write()

    def write(self) -> None:
        """Write it down, if there is anything new."""
        with self._lock:
            if not self._changed:
                return
            files = dict(sorted(self._files.items()))
            write_whole(self._path, json.dumps({"files": files}, indent=0) + "\n")
            self._changed, self._written = False, time.monotonic()
