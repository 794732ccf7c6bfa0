"""What manifests, stages and records say; each is read once a version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from flows.run.manifest import one_large
from flows.store.lanes import LANES, in_lanes
from flows.store.objects import Entry, Objects
from flows.store.outputs import decode_output_record
from flows.store.record import RecordError, decode_record

T = TypeVar("T")
Tell = Callable[[str, int, int], None]  # what is done, how many, of how many


def nothing(what: str, done: int, total: int) -> None:
    """Tell nobody."""


class Reader(Generic[T]):
    """Objects through ``decode``, which gets the bytes and the last part of the name."""

    def __init__(self, objects: Objects, decode: Callable[[bytes, str], T]) -> None:
        self._objects = objects
        self._decode = decode
        self._known: dict[str, tuple[str, T]] = {}

    def read(self, entry: Entry) -> T | None:
        """What it says; ``None`` when it is gone.

        Raises:
            StoreError: the home fails.
            ValueError: ``decode`` does.
        """
        if self._knows(entry):
            return self._known[entry.name][1]
        with one_large(entry.size):
            held = self._objects.get(entry.name)
            if held is None:
                self._known.pop(entry.name, None)
                return None
            told = self._decode(held.data, entry.name.rpartition("/")[2])
        self._known[entry.name] = held.version, told  # which may be newer than the entry
        return told

    def read_all(self, what: str, entries: list[Entry], tell: Tell) -> list[T]:
        """What those say that are there, several read at once."""
        new = [entry for entry in entries if not self._knows(entry)]
        for done, _ in enumerate(in_lanes(self.read, new, LANES), 1):
            tell(f"reading {what}", done, len(new))
        return [self._known[entry.name][1] for entry in entries if entry.name in self._known]

    def _knows(self, entry: Entry) -> bool:
        return entry.name in self._known and self._known[entry.name][0] == entry.version


@dataclass(frozen=True, slots=True)
class Naming:
    """What a record names: a step's key, the SHA-256 of a blob, and what else has a thumbnail."""

    step: str
    blob: str
    shown: str = ""


def of_record(data: bytes, key: str) -> Naming | None:
    """What the record of a step names; a damaged one nothing: its key is not done."""
    try:
        record = decode_record(data, key)
        return Naming(key, record.blob, record.geometry.get("region", {}).get("difference", ""))
    except RecordError:
        return None


def of_output(data: bytes, key: str) -> Naming | None:
    """What the record of an output file names, likewise."""
    try:
        record = decode_output_record(data, key)
    except RecordError:
        return None
    return Naming(record.step, record.blob)
