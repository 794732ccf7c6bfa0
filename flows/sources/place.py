"""Where an input picture is, and its digest: a file, an object in S3, or bytes in the store."""

from __future__ import annotations

import functools
import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from flows.settings import Settings
from flows.store.objects import Objects

SETTLING_NS = 2_000_000_000  # a file system's clock may tick no oftener


@dataclass(frozen=True, slots=True)
class S3Object:
    """An object as it was when the recipe was planned.

    ``version`` is its ETag, ``size`` in bytes; ``settings`` tell how its server is spoken to.
    """

    bucket: str
    key: str
    version: str
    size: int
    settings: Settings = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """The last part of its key, as of a path."""
        return PurePosixPath(self.key).name

    @property
    def stem(self) -> str:
        """Its name without the extension."""
        return PurePosixPath(self.key).stem

    @property
    def address(self) -> str:
        """``s3://bucket/key``."""
        return f"s3://{self.bucket}/{self.key}"

    def __str__(self) -> str:
        return self.address


Place = Path | S3Object


class SourceGone(Exception):  # noqa: N818 - a state of the store, named as people name it
    """A source picture is not in the store; the message says what to do."""


@dataclass(frozen=True, slots=True)
class StoredSource:
    """A picture's bytes in ``home`` under ``blobs/<digest>``; ``name`` is the file's it was."""

    name: str
    digest: str
    home: Objects | None = field(default=None, repr=False, compare=False)

    def read_bytes(self) -> bytes:
        """The bytes as they are stored, not verified.

        Raises:
            SourceGone: there are none.
            StoreError: the home fails.
        """
        held = self.home.get(f"blobs/{self.digest}") if self.home is not None else None
        if held is None:
            raise SourceGone("is not in the store any more; start the run again where the file is")
        return held.data


def look_at(path: Path) -> tuple[str, int]:
    """SHA-256 of a file's bytes, and the version of how its kind of picture is read.

    Read once per version of the file in this process; one that was changed just now is read each
    time: it may change again without its time.

    Raises:
        OSError: the file cannot be read.
    """
    stat = path.stat()
    changed = max(stat.st_mtime_ns, stat.st_ctime_ns)
    settled = time.time_ns() - changed > SETTLING_NS
    ask = _looked_at if settled else _looked_at.__wrapped__
    return ask(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


@functools.lru_cache(maxsize=65536)
def _looked_at(path: Path, *_version: int) -> tuple[str, int]:
    from kontext_engine.picture import reading_version

    data = path.read_bytes()
    return hashlib.sha256(data).hexdigest(), reading_version(data)
