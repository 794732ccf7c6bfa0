"""One run's folder, ``runs/<date>-<recipe>-<id>/``, in whatever home it is.

Everything that a run writes for people goes through it, by names relative to the folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flows.settings.address import is_s3
from flows.store.address import open_objects, parse_address
from flows.store.base import AddressError
from flows.store.folder import LocalObjects
from flows.store.objects import Entry, Objects

if TYPE_CHECKING:
    from flows.settings import Settings

RUNS = "runs"
THUMBS = "thumbs"


class RunFolder:
    """The folder ``name`` below ``runs/`` of a home; without a name, the home itself.

    The latter is a run that was copied away from its store: pulled, or sent to somebody.
    """

    def __init__(self, objects: Objects, name: str) -> None:
        self.objects = objects
        self.name = name
        self._prefix = f"{RUNS}/{name}/" if name else ""

    @property
    def where(self) -> str:
        """What people call it: a path, or ``s3://bucket/prefix/runs/<run>``."""
        return f"{self.objects.where}/{self._prefix}".rstrip("/")

    @property
    def is_near(self) -> bool:
        """Whether reading costs next to nothing."""
        return isinstance(self.objects, LocalObjects)

    def at(self, relative: str) -> str:
        """What people call a file of it."""
        return f"{self.where}/{relative}"

    def read(self, relative: str) -> bytes | None:
        """A file's bytes, or ``None``."""
        held = self.objects.get(self._prefix + relative)
        return None if held is None else held.data

    def stat(self, relative: str) -> Entry | None:
        """What a listing tells of a file, or ``None``."""
        return self.objects.stat(self._prefix + relative)

    def write(self, relative: str, data: bytes | str) -> None:
        """Write a file, whole, over whatever is there."""
        whole = data.encode() if isinstance(data, str) else data
        self.objects.replace(self._prefix + relative, whole)

    def copy(self, name: str, relative: str) -> bool:
        """Copy an object of the home into the folder, over what is there; whether there was one."""
        return self.objects.copy(name, self._prefix + relative)

    def files(self) -> dict[str, Entry]:
        """What is in the folder, by names relative to it: one listing."""
        found = self.objects.list(self._prefix)
        return {entry.name.removeprefix(self._prefix): entry for entry in found}

    def link(self, relative: str, seconds: int) -> str:
        """A URL that lets its holder read a file for so long.

        Raises:
            StoreError: this home has none.
        """
        return self.objects.link(self._prefix + relative, seconds)


def open_run(
    where: str, store: str | None = None, settings: Settings | None = None
) -> tuple[RunFolder, str]:
    """A run's folder by what a person calls it, and the address of its store.

    ``where`` is a folder or ``s3://bucket/prefix/runs/<run>``, with or without a file of it at
    the end; or, where ``store`` is given and there is no such folder, a run's name.

    Raises:
        AddressError: it is none of them.
    """
    if is_s3(where):
        home, separator, rest = where.rstrip("/").rpartition(f"/{RUNS}/")
        if not separator:
            parse_address(where)  # refuses credentials, without repeating them
            raise AddressError(f"{where}: not a run; expected s3://bucket/prefix/{RUNS}/<run>")
        return RunFolder(open_objects(home, settings), rest.partition("/")[0]), store or home
    path = Path(where)
    if store is not None and not path.exists() and len(path.parts) == 1:
        return RunFolder(open_objects(store, settings), where), store
    folder = path.parent if path.is_file() else path
    whole = folder.absolute()
    if whole.parent.name == RUNS:
        # As it was written, so that what is told afterwards is, too.
        home = str(folder.parent.parent if len(folder.parts) > 2 else whole.parent.parent)
        return RunFolder(LocalObjects(Path(home)), whole.name), store or home
    # Away from its home: temporary files lie beside the thumbnails while they are written.
    return RunFolder(LocalObjects(folder, scratch=THUMBS), ""), store or str(folder)
