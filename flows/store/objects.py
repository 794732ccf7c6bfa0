"""The few things a home for pictures must be able to do: one protocol, a folder and S3 keep it.

Names are relative, with ``/`` between parts: ``blobs/<sha256>``, ``runs/<run>/manifest.json``.
They are checked by ``checked``: none leaves the home.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

MAX_NAME = 900  # bytes; S3 allows 1,024 for prefix and name together


@dataclass(frozen=True, slots=True)
class Entry:
    """One object as a listing tells it.

    ``size`` in bytes, ``modified`` in seconds since 1970 by the home's own clock, ``version`` a
    token that another content does not have (S3: its ETag).
    """

    name: str
    size: int
    modified: float
    version: str


@dataclass(frozen=True, slots=True)
class Held:
    """An object's bytes and the version they are of."""

    data: bytes
    version: str


class Objects(Protocol):
    """A home. Safe for many processes and threads at once.

    Every method raises ``StoreError`` (or a kind of it) when the home itself fails, after its own
    retries; ``ValueError`` for a name that is not ``checked``.
    """

    @property
    def where(self) -> str:
        """What people call it: a path, or ``s3://bucket/prefix``."""

    def prepare(self) -> None:
        """Make it ready, and try what the contract needs; leaves nothing behind.

        Raises:
            StoreReadOnly: it cannot be written.
            StoreUnfit: it cannot create a name atomically.
        """

    def get(self, name: str) -> Held | None:
        """The whole object, or ``None`` when there is none."""

    def stat(self, name: str) -> Entry | None:
        """What a listing would tell of it, or ``None``."""

    def create(self, name: str, data: bytes) -> bool:
        """Write a new object, whole and durable, unless the name is taken; whether it was."""

    def replace(self, name: str, data: bytes) -> None:
        """Write an object, whole and durable, over whatever is there."""

    def remove(self, name: str, version: str | None = None) -> bool:
        """Remove it, if it is (still) of this version; whether it was removed by this call."""

    def copy(self, source: str, target: str) -> bool:
        """Copy an object, whole and durable, over whatever is there; ``False`` without a source.

        Where the home can, the bytes do not leave it.
        """

    def touch(self, name: str) -> bool:
        """Make its ``modified`` now, its bytes unchanged; ``False`` when there is none."""

    def list(self, prefix: str) -> Iterator[Entry]:
        """Everything whose name begins with ``prefix``, in no order that one may rely on."""

    def folders(self, prefix: str) -> Iterator[str]:
        """The names of the folders directly below ``prefix`` (which ends in ``/``)."""

    def link(self, name: str, seconds: int) -> str:
        """A URL that lets its holder read the object for so long, without credentials.

        Raises:
            StoreError: this kind of home has none.
        """


def checked(name: str) -> str:
    """``name`` if it may name an object.

    Raises:
        ValueError: empty, absolute, with empty or dot parts, a backslash, control characters, or
            too long.
    """
    parts = name.split("/")
    if (
        any(part in {"", ".", ".."} for part in parts)
        or "\\" in name
        or not name.isprintable()
        or len(name.encode("utf-8", "surrogatepass")) > MAX_NAME
    ):
        raise ValueError(
            f"{name[:80]!r} cannot name an object; expected relative parts between slashes"
        )
    return name
