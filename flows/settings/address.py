"""What a person wrote for the place of a store: a folder, or ``s3://bucket/prefix``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SCHEME = "s3://"
_BUCKET = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_MAX_PREFIX = 100  # bytes: what is left of S3's 1,024 beside the longest name of an object


@dataclass(frozen=True, slots=True)
class S3Address:
    """A prefix of a bucket; empty: all of it."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


def is_s3(where: str | Path) -> bool:
    """Whether this means S3 rather than a folder."""
    return isinstance(where, str) and where.startswith(SCHEME)


def understood(where: str | Path) -> S3Address | Path:
    """What a person wrote, understood.

    Raises:
        ValueError: another scheme, credentials in it, or not the name of a bucket or prefix.
    """
    text = str(where)
    if not is_s3(where):
        if "://" in text or text.startswith("s3:"):
            raise ValueError(
                f"'{text.partition(':')[0]}:…' is no place for pictures; expected a folder or "
                "s3://bucket/prefix"
            )
        return Path(where)
    bucket, _, prefix = text.removeprefix(SCHEME).partition("/")
    if set(text) & set("@?#") or ":" in bucket:
        raise ValueError(
            f"'{SCHEME}…' holds more than a bucket and a prefix; credentials belong into the "
            "environment, a profile or a role"
        )
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(
            f"'{bucket[:70]}' cannot be a bucket; expected s3://bucket/prefix with 3 to 63 "
            "letters, digits, '.' and '-'"
        )
    prefix = prefix.strip("/")
    plain = prefix.isprintable() and "\\" not in prefix and len(prefix.encode()) <= _MAX_PREFIX
    if prefix and (not plain or {"", ".", ".."} & set(prefix.split("/"))):
        raise ValueError(
            f"'{prefix[:70]}' cannot be a prefix; expected at most {_MAX_PREFIX} bytes of plain "
            "parts between slashes, none of them '.' or '..'"
        )
    return S3Address(bucket, prefix)
