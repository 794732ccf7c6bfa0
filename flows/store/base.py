"""What a store is: the one owner of "done" (contract 2).

A store is written once, in ``keyed``, over a home for objects (``objects``): a folder (``folder``)
or a prefix of an S3 bucket (``s3``). It holds ``blobs/<sha256 of the bytes>``, ``records/<key>``,
``failures/<key>``, ``quarantine/…`` and, beside them, ``runs/<date>-<recipe>-<id>/``. Blob first,
record last, each atomic and create-only: a step is done when its record exists, and a blob without
a record is garbage, never harm.

StoreError
 ├─ StoreFull       no space or no quota left
 ├─ StoreReadOnly   the place cannot be written
 ├─ StoreUnfit      the place cannot keep the contract (no atomic create)
 ├─ BlobDamaged     a picture is missing or is not the one its record names
 ├─ NameLeaves      a name leads out of the home, through a link
 ├─ StoreAway       no answer: nothing is known
 └─ AddressError    not the address of a store
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from flows.store.record import Record


class StoreError(Exception):
    """The store cannot do its work; the message says where, what, and what to do."""


class StoreFull(StoreError):  # noqa: N818 - a state of the disk, named as people name it
    """No space or quota left. Nothing half-written stays; what was stored before is intact."""


class StoreReadOnly(StoreError):  # noqa: N818
    """The store's place exists but refuses writing."""


class StoreUnfit(StoreError):  # noqa: N818
    """The place offers no way to create a name atomically."""


class BlobDamaged(StoreError):  # noqa: N818
    """A record's picture is missing or has another digest; both have been quarantined."""


class NameLeaves(StoreError):  # noqa: N818
    """A name leads out of the home through a link."""


class StoreAway(StoreError):  # noqa: N818
    """No answer, or none that says anything: nothing is known."""


LASTING = (StoreFull, StoreReadOnly, StoreUnfit)  # waiting does not help; a person may


class AddressError(StoreError):
    """This is not the address of a store: neither a folder nor ``s3://bucket/prefix``."""


@dataclass(frozen=True, slots=True)
class FailureNote:
    """Why a key could not be made at some time. Overwritten by the next failure, never "done"."""

    key: str
    label: str
    reason: str
    attempts: int
    created: str
    software: str


class Store(Protocol):
    """Done pictures by key. Safe for many processes at once.

    Every method raises ``StoreError`` when the place itself fails; ``ValueError`` for a key that
    is not a SHA-256 in hex.
    """

    def prepare(self) -> None:
        """Make the place ready; asked before anything is computed for it.

        Raises:
            StoreError: it cannot be written, or cannot keep the contract.
        """

    def find(self, key: str) -> Record | None:
        """The record of a done step, its blob read and verified; ``None`` when it is not done.

        A damaged record, or one whose blob is missing or damaged, is quarantined: ``None``.
        """

    def find_picture(self, key: str) -> tuple[Record, bytes] | None:
        """``find``, and the picture's bytes that it has read."""

    def has(self, key: str) -> bool:
        """Whether ``find`` would most likely succeed: its record is there and sound.

        Cheap (no blob is asked for), changes nothing; for counting what is left to do.
        """

    def peek(self, key: str) -> Record | None:
        """The record, by which ``has`` judges: sound, nothing asked of its blob."""

    def peek_all(self, keys: Iterable[str]) -> Iterator[tuple[str, Record | None]]:
        """``peek`` for each key, in their order; several at once where the store is far."""

    def find_all(self, keys: Iterable[str]) -> Iterator[tuple[str, Record | None]]:
        """``find`` for each key, in their order; several at once where the store is far."""

    def has_all(self, keys: Iterable[str]) -> Iterator[tuple[str, bool]]:
        """``has`` for each key, likewise."""

    def failures(self, keys: Iterable[str]) -> Iterator[tuple[str, FailureNote | None]]:
        """``last_failure`` for each key, likewise."""

    def read(self, record: Record) -> bytes:
        """The picture's bytes.

        Raises:
            BlobDamaged: missing or another digest; quarantined together with its record.
        """

    def put(self, record: Record, blob: bytes) -> Record:
        """Store a picture and then its record; return the record that holds the key.

        That is ``record`` itself, or the winner's when another writer was first.

        Raises:
            ValueError: ``record`` does not name these bytes.
        """

    def sample(self, limit: int) -> Iterator[Record]:
        """At most ``limit`` records, any of them, blobs unseen; for estimates."""

    def note_failure(self, note: FailureNote) -> None:
        """Remember why a key failed, where it blocks nobody."""

    def last_failure(self, key: str) -> FailureNote | None:
        """The latest note for a key; ``None`` when there is none that can be read."""
