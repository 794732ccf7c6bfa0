"""Small objects that many processes change by compare-and-swap: leases, above all.

Every call asks once, with short time-outs and no tries of its own, and says what it heard: done,
``CellChanged`` (the store says that the object is in another state) or ``StoreAway`` (nothing is
known, and the change may have been made or not). Whoever asks settles a lost answer by reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from flows.store.objects import Held

FREE = b"{}"  # what ``drop`` leaves on a server that knows no conditional DELETE
CONNECT = 3.0  # seconds
ANSWER = 10.0  # seconds without a byte, or without the lock of a folder


class CellChanged(Exception):  # noqa: N818 - what the store said, not a fault of the caller
    """The object is in another state than was said."""


@dataclass(frozen=True, slots=True)
class Sight:
    """An object as a listing tells it: its version, and its size in bytes."""

    version: str
    size: int


class Cells(Protocol):
    """Safe for many threads and processes at once. Names are relative, as those of ``Objects``.

    Every method raises ``StoreAway`` when there is no answer, or one that says nothing of the
    object (no right, no bucket, a full disk); ``ValueError`` for a name that is none.
    """

    @property
    def where(self) -> str:
        """What people call the store: a path, or ``s3://bucket/prefix``."""

    def prepare(self) -> None:
        """Try that compare-and-swap holds here, and how an object is freed; leaves nothing behind.

        Until it has succeeded, ``drop`` takes the way that every store knows.

        Raises:
            StoreUnfit: conditions are not kept, so that two workers would hold one lease.
            StoreAway: it cannot be tried now.
        """

    def read(self, name: str) -> Held | None:
        """The object; ``None`` only when the store says that there is none."""

    def write(self, name: str, data: bytes, version: str | None = None) -> str:
        """Write a new object or, with ``version``, in place of exactly that one; its new version.

        Raises:
            CellChanged: the name is taken, or the object is another one or gone.
        """

    def drop(self, name: str, version: str) -> None:
        """Free it, if it is exactly that one: it is gone afterwards, or holds ``FREE``.

        Raises:
            CellChanged: it is another one or gone.
        """

    def list(self, prefix: str) -> dict[str, Sight]:
        """All objects whose name begins with ``prefix``, by their full names."""
