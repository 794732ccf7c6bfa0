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

from dataclasses import dataclass


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
