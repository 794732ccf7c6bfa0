"""What records name: the blob of each, and the step that it is for. Each is read once a version."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from flows.store.lanes import LANES, in_lanes
from flows.store.objects import Entry, Objects
from flows.store.outputs import decode_output_record
from flows.store.record import RecordError, decode_record


@dataclass(frozen=True, slots=True)
class Naming:
    """What one record names: a step's key, and the SHA-256 of a blob."""

    step: str
    blob: str


Decode = Callable[[bytes, str], Naming | None]


class RecordIndex:
    """Records by their names. One that is damaged or gone names nothing: its key is not done."""

    def __init__(self, objects: Objects, decode: Decode) -> None:
        self._objects = objects
        self._decode = decode
        self._versions: dict[str, str] = {}
        self._names: dict[str, Naming | None] = {}

    def read(self, entries: Iterable[Entry], tell: Callable[[int], None]) -> None:
        """Take these records into account, and forget what is not among them."""
        wanted = {entry.name: entry for entry in entries}
        new = [name for name, entry in wanted.items() if self._versions.get(name) != entry.version]
        for name in set(self._names) - set(wanted):
            del self._names[name]
            self._versions.pop(name, None)
        for done, (name, names) in enumerate(in_lanes(self._read, new, LANES), 1):
            self._names[name] = names
            self._versions[name] = wanted[name].version
            tell(done)

    def add(self, names: Iterable[str]) -> None:
        """Read these records too, unless they are known."""
        new = [name for name in names if name not in self._names]
        self._names.update(in_lanes(self._read, new, LANES))

    def step(self, name: str) -> str | None:
        """The step that a record is for."""
        names = self._names.get(name)
        return None if names is None else names.step

    def blobs(self, without: Collection[str] = frozenset()) -> frozenset[str]:
        """The blobs that the records name; ``without`` are records that do not count."""
        return frozenset(
            names.blob
            for name, names in self._names.items()
            if names is not None and name not in without
        )

    def _read(self, name: str) -> Naming | None:
        held = self._objects.get(name)
        return None if held is None else self._decode(held.data, name.rpartition("/")[2])


def of_record(data: bytes, key: str) -> Naming | None:
    """What the record of a step names."""
    try:
        return Naming(key, decode_record(data, key).blob)
    except RecordError:
        return None


def of_output(data: bytes, key: str) -> Naming | None:
    """What the record of an output file names."""
    try:
        record = decode_output_record(data, key)
    except RecordError:
        return None
    return Naming(record.step, record.blob)
