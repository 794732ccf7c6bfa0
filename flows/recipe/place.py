"""Where an input picture is: a file of this machine, or an object in S3."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from flows.settings import Settings


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
