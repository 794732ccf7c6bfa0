"""Where an input picture is, and its digest: a file, an object in S3, or bytes in the store."""

from __future__ import annotations

import functools
import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from flows.settings import Settings
from flows.store.objects import Objects
from kontext_engine.geometry import Size

SETTLING_NS = 2_000_000_000  # a file system's clock may tick no oftener


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a source: SHA-256 of its bytes, how its kind is read, its upright size.

    ``reading`` is 1 and ``size`` none where it is no picture that can be read.
    """

    digest: str
    reading: int = 1
    size: Size | None = None

    @classmethod
    def of(cls, data: bytes) -> Seen:
        """What there is to see in a source's bytes."""
        from kontext_engine.picture import picture_facts

        facts = picture_facts(data)
        return cls(hashlib.sha256(data).hexdigest(), facts.reading, facts.size)


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
    def folder(self) -> str:
        """The name of the folder that it lies in, as of a path."""
        return PurePosixPath(self.key).parent.name

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


def look_at(path: Path) -> Seen:
    """What there is to see in a file.

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
def _looked_at(path: Path, *_version: int) -> Seen:
    return Seen.of(path.read_bytes())
