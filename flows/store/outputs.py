"""Output files by their keys: ``outputs/<output key>`` says which blob holds the file's bytes.

Written as records are: the blob first, the record last and create-only. A file is of one picture;
when the step's picture has become another, its record does not count, and is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter

from flows.store.keyed import KeyedStore
from flows.store.lanes import in_lanes
from flows.store.record import Digest, RecordError, checked_fields, is_digest, opened

FOLDER = "outputs/"
SCHEMA = "kontext.output"
VERSION = 1

_ATTEMPTS = 5  # how often a put takes on a name whose holder turns out stale, or goes


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """One output file: made for the step ``step`` from its picture, the blob ``picture``.

    ``blob`` is the SHA-256 of the file's bytes and their name in the store, ``size`` their number.
    """

    __pydantic_config__: ClassVar = ConfigDict(strict=True, defer_build=True)

    key: Digest
    step: Digest
    picture: Digest
    blob: Digest
    size: int
    media_type: str

    @classmethod
    def of(cls, key: str, step: str, picture: str, data: bytes, media_type: str) -> OutputRecord:
        """The record of a file with these bytes."""
        blob = hashlib.sha256(data).hexdigest()
        return cls(key, step, picture, blob, len(data), media_type)


_RECORD = TypeAdapter(OutputRecord)


class OutputStore:
    """The output files of a store."""

    def __init__(self, store: KeyedStore) -> None:
        self._store = store

    def find(self, key: str, picture: str) -> OutputRecord | None:
        """The record of a file made from this picture, if its blob is there; no blob is read.

        Raises:
            StoreError: the home fails.
        """
        record = self.recorded(key, picture)
        if record is None or not self._store.holds(record.blob, record.size):
            return None
        return record

    def recorded(self, key: str, picture: str) -> OutputRecord | None:
        """``find`` without a look at the blob, for whoever is about to copy it.

        Raises:
            StoreError: the home fails.
        """
        held = self._store.objects.get(_name(key))
        record = None if held is None else _sound(held.data, key)
        return record if record is not None and record.picture == picture else None

    def find_all(
        self, asked: Iterable[tuple[str, str]]
    ) -> Iterator[tuple[tuple[str, str], OutputRecord | None]]:
        """``find`` for each key and picture, in their order, several at once in a far home."""
        return in_lanes(lambda pair: self.find(*pair), asked, self._store.lanes)

    def put(self, record: OutputRecord, data: bytes) -> OutputRecord:
        """Store a file; the record that holds the key afterwards: this, or an earlier sound one.

        Raises:
            ValueError: ``record`` does not name these bytes.
            StoreError: the home fails.
        """
        if hashlib.sha256(data).hexdigest() != record.blob or len(data) != record.size:
            raise ValueError(f"output {record.key[:12]} does not name the blob it came with")
        name = _name(record.key)
        for _ in range(_ATTEMPTS):
            if self._store.put_named(name, encode_output_record(record), data):
                return record
            if winner := self.find(record.key, record.picture):
                return winner
            self._give_way(name, record)
        raise self._store.never_sound(name)

    def discard(self, record: OutputRecord) -> None:
        """Its blob turned out to be another one than it says: the file is to be made again.

        Raises:
            StoreError: the home fails.
        """
        name = _name(record.key)
        held = self._store.objects.get(name)
        if held is not None and _sound(held.data, record.key) == record:
            self._store.objects.remove(name, held.version)

    def _give_way(self, name: str, record: OutputRecord) -> None:
        """Remove what holds the name and does not count; not one that has come to count since."""
        held = self._store.objects.get(name)
        if held is None:
            return
        there = _sound(held.data, record.key)
        counts = there is not None and there.picture == record.picture
        if there is None or not (counts and self._store.holds(there.blob, there.size)):
            self._store.objects.remove(name, held.version)


def encode_output_record(record: OutputRecord) -> bytes:
    """The bytes of a record; ``decode_output_record`` reads them back."""
    whole = {"schema": SCHEMA, "version": VERSION, **asdict(record)}
    return json.dumps(whole, sort_keys=True, indent=1).encode("ascii") + b"\n"


def decode_output_record(data: bytes, key: str) -> OutputRecord:
    """The record in ``data``, which is stored under ``key``.

    Raises:
        RecordError: it is none, of another version, or of another key.
    """
    return checked_fields(_RECORD, opened(data, SCHEMA, VERSION), key)


def _sound(data: bytes, key: str) -> OutputRecord | None:
    try:
        return decode_output_record(data, key)
    except RecordError:
        return None


def _name(key: str) -> str:
    if not is_digest(key):
        raise ValueError(f"{key!r} is no key: expected a SHA-256 in hex")
    return FOLDER + key
