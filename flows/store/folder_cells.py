"""Cells in a folder: look and write are one act under a lock of the file system.

A version is the file's inode, time and size, as ``LocalObjects`` has it. The time is set under the
lock to the nanosecond, so that a new file in a freed inode is another version.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from flows.store import atomic
from flows.store.base import StoreAway, StoreError, StoreUnfit
from flows.store.cells import ANSWER, CellChanged, Sight
from flows.store.folder import LocalObjects
from flows.store.objects import Held

LOCK = "cells.lock"


class FolderCells:
    """``Cells`` under ``root``. A process that stops with the lock keeps the others waiting."""

    def __init__(self, root: Path) -> None:
        self._objects = LocalObjects(root)
        self._root: os.stat_result | None = None

    @property
    def where(self) -> str:
        """The folder's path."""
        return self._objects.where

    def prepare(self) -> None:
        """Make the folder, and try whether it has locks.

        Raises:
            StoreError: the folder cannot be used: no right, no space, no locks.
        """
        self._objects.prepare()
        with atomic.disk_errors(self._objects.root), self._locked():
            with contextlib.suppress(atomic.LockHeld), self._locked(0.0):
                raise StoreUnfit(
                    f"{self.where}: this file system grants one lock twice, so two workers could "
                    "hold one lease; choose another --store"
                )
            self._root = self._objects.root.stat()

    def read(self, name: str) -> Held | None:
        """The file's bytes and version."""
        with self._answering():
            return self._objects.get(name)

    def write(self, name: str, data: bytes, version: str | None = None) -> str:
        """Write a temporary file and give it the name, if that is free or of this version."""
        with self._changing(name, version) as (path, scratch):
            temporary = atomic.write_temporary(data, scratch)
            try:
                now = time.time_ns()
                os.utime(temporary, ns=(now, now))
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            atomic.sync_folder(path.parent)
            written = self._objects.stat(name)
        if written is None:
            raise StoreAway(f"{self.where}/{name}: what was just written is not there")
        return written.version

    def drop(self, name: str, version: str) -> None:
        """Remove the file, if it is of this version."""
        with self._changing(name, version) as (path, _):
            path.unlink()

    def list(self, prefix: str) -> dict[str, Sight]:
        """The files whose names begin so."""
        with self._answering():
            found = self._objects.list(prefix)
            return {entry.name: Sight(entry.version, entry.size) for entry in found}

    @contextlib.contextmanager
    def _changing(self, name: str, version: str | None) -> Iterator[tuple[Path, Path]]:
        """The file and where its temporary one goes, under the lock, once its version is this."""
        with self._answering():
            path = self._objects.path(name)
            scratch = self._objects.scratch_for(path)
            with self._locked():
                entry = self._objects.stat(name)
                if (None if entry is None else entry.version) != version:
                    raise CellChanged(f"{self.where}/{name}: another state than was said")
                yield path, scratch

    def _locked(self, patience: float = ANSWER) -> AbstractContextManager[None]:
        root = self._objects.root
        return atomic.locked(root / "tmp" / LOCK, root, "no locks", patience)

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """Whatever the disk says that is not about the object is no answer."""
        root = self._objects.root
        try:
            # A folder whose disk has gone is empty, and that says nothing of what was in it.
            if self._root is not None and not os.path.samestat(self._root, root.stat()):
                raise StoreAway(f"{root}: another folder than at the start; is its disk mounted?")
            with atomic.disk_errors(root):
                yield
        except StoreAway:
            raise
        except OSError as error:
            raise StoreAway(f"{root}: cannot be read ({error.strerror})") from None
        except StoreError as error:
            raise StoreAway(str(error)) from error
