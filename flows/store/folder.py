"""A folder of this machine as a home for objects, safe against crashes and other writers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from flows.store import atomic
from flows.store.base import NameLeaves, StoreError
from flows.store.objects import Entry, Held, checked
from flows.store.record import is_digest

_DIGESTS = frozenset({"records", "failures"})  # folders whose files are named by keys


class LocalObjects:
    """``Objects`` under ``root``; folders are made when something is first written to them.

    Reading needs no right to write. ``scratch`` is the folder below ``root`` for temporary files;
    for a folder that is a link to another disk they lie in that one. ``files_url`` is where a file
    server shows the folder, if one does.
    """

    def __init__(self, root: Path, scratch: str = "tmp", files_url: str | None = None) -> None:
        self.root = root
        self._files_url = files_url
        self._scratch = root / scratch
        self._ready = False

    @property
    def where(self) -> str:
        """The folder's path."""
        return str(self.root)

    def prepare(self) -> None:
        """Make the folder, and try whether a name can be created there."""
        with atomic.disk_errors(self.root):
            self._make_ready()
            path = self._scratch / atomic.temporary_name()
            atomic.create(path, b"", self._scratch)
            path.unlink(missing_ok=True)

    def get(self, name: str) -> Held | None:
        """The file's bytes and version, or ``None``."""
        path = self._plain(name) or self.path(name)
        with atomic.disk_errors(self.root):
            try:
                # Not by ``Path``: a plan asks for a hundred thousand names.
                with open(path, "rb") as file:  # noqa: PTH123
                    return Held(file.read(), _version(os.fstat(file.fileno())))
            except FileNotFoundError:
                return None

    def stat(self, name: str) -> Entry | None:
        """What the file system tells of the file, or ``None``."""
        path = self.path(name)
        with atomic.disk_errors(self.root):
            try:
                return _entry(name, path.stat())
            except FileNotFoundError:
                return None

    def create(self, name: str, data: bytes) -> bool:
        """Write a new file under ``name`` by ``link``, unless it is there; whether it was not."""
        path = self.path(name)
        with atomic.disk_errors(self.root):
            return atomic.create(path, data, self.scratch_for(path))

    def replace(self, name: str, data: bytes) -> None:
        """Write a file by temporary file and rename, over whatever is there."""
        path = self.path(name)
        with atomic.disk_errors(self.root):
            atomic.replace(path, data, self.scratch_for(path))

    def remove(self, name: str, version: str | None = None) -> bool:
        """Remove a file; with ``version`` only that one, a newer one that came is given back."""
        path = self.path(name)
        with atomic.disk_errors(self.root):
            if version is None:
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
                    return True
                return False
            with contextlib.suppress(FileNotFoundError):
                if _version(path.stat()) == version:
                    return self._remove_version(path, version)
            return False

    def copy(self, source: str, target: str) -> bool:
        """Copy a file's bytes to a file of its own, by temporary file and rename."""
        first, path = self.path(source), self.path(target)
        with atomic.disk_errors(self.root):
            if not first.is_file():
                return False
            scratch = self.scratch_for(path)
            try:
                atomic.copy(first, path, scratch)
            except FileNotFoundError:
                return False
            return True

    def touch(self, name: str) -> bool:
        """Set the time of a file to now; ``False`` when there is none."""
        path = self.path(name)
        with atomic.disk_errors(self.root):
            try:
                os.utime(path)
            except FileNotFoundError:
                return False
            return True

    def list(self, prefix: str) -> Iterator[Entry]:
        """Every file whose name begins with ``prefix``; links to folders are not followed."""
        folder, _, _ = prefix.rpartition("/")
        with atomic.disk_errors(self.root):
            for name, stat in _walk(self.root / folder, f"{folder}/" if folder else ""):
                if name.startswith(prefix):
                    yield _entry(name, stat)

    def folders(self, prefix: str) -> Iterator[str]:
        """The folders directly below ``prefix``, by their own names."""
        with atomic.disk_errors(self.root), contextlib.suppress(FileNotFoundError):
            for path in (self.root / prefix).iterdir():
                if path.is_dir():
                    yield path.name

    def link(self, name: str, seconds: int) -> str:  # noqa: ARG002 - it has no end
        """Where the file server shows it; without one ``StoreError``."""
        if self._files_url is not None:
            return f"{self._files_url}/{quote(checked(name))}"
        raise StoreError(
            f"{self.root}: a folder cannot give links that others may open; use --links relative"
        )

    def path(self, name: str) -> Path:
        """The file of a name; it need not be there."""
        path = self.root / checked(name)
        first, _, rest = name.partition("/")
        if first == "runs" and "/" in rest and path.parent.exists():
            # Here people choose the names. A folder of the home itself may be a link to another
            # disk, but nothing below may lead on.
            home = (self.root / first).resolve()
            if not path.parent.resolve().is_relative_to(home):
                raise NameLeaves(f"{path}: leaves {home} through a link; remove the link")
        return path

    def _plain(self, name: str) -> str | None:
        """The file of a name that nobody chose, such as a record's: its digest is checked."""
        folder, _, rest = name.partition("/")
        return f"{self.root}/{name}" if folder in _DIGESTS and is_digest(rest) else None

    def _make_ready(self) -> None:
        if self._ready:
            return
        self._make_folder(self._scratch)
        atomic.clean_scratch(self._scratch)
        self._ready = True

    def scratch_for(self, path: Path) -> Path:
        """Where the temporary file of a new ``path`` goes; everything is ready afterwards."""
        self._make_ready()
        self._make_folder(path.parent)
        same = path.parent.stat().st_dev == self._scratch.stat().st_dev
        return self._scratch if same else path.parent

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            atomic.sync_folder(folder.parent)

    def _remove_version(self, path: Path, version: str) -> bool:
        aside = self.scratch_for(path) / atomic.temporary_name()
        path.rename(aside)
        try:
            if _version(aside.stat()) == version:
                return True
            # Between the look and the move another process put a sound one: give it back.
            atomic.create(path, aside.read_bytes(), aside.parent)
            return False
        finally:
            aside.unlink(missing_ok=True)


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        found = sorted(os.scandir(folder), key=lambda item: item.name)
    except FileNotFoundError:
        return
    for item in found:
        with contextlib.suppress(FileNotFoundError):
            # A folder of the home itself may be a link to another disk.
            if item.is_dir(follow_symlinks=not prefix):
                yield from _walk(Path(item.path), f"{prefix}{item.name}/")
            elif item.is_file():
                with contextlib.suppress(ValueError):
                    yield checked(f"{prefix}{item.name}"), item.stat()


def _entry(name: str, stat: os.stat_result) -> Entry:
    return Entry(name, stat.st_size, stat.st_mtime, _version(stat))


def _version(stat: os.stat_result) -> str:
    """Another file, other bytes or a touch give another one."""
    return f"{stat.st_ino:x}-{stat.st_mtime_ns:x}-{stat.st_size:x}"
