"""Where a store is: a folder, or ``s3://bucket/prefix``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.store.base import AddressError
from flows.store.folder import LocalObjects
from flows.store.keyed import KeyedStore
from flows.store.lanes import LANES
from flows.store.local import LocalStore
from flows.store.objects import Objects, checked

if TYPE_CHECKING:
    from flows.settings import Settings
    from flows.store.cells import Cells

SCHEME = "s3://"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
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


def parse_address(where: str | Path) -> S3Address | Path:
    """What a person wrote, understood.

    Raises:
        AddressError: another scheme, credentials in it, or not the name of a bucket or prefix.
    """
    text = str(where)
    if not is_s3(where):
        if "://" in text or text.startswith("s3:"):
            scheme = text.partition(":")[0]
            raise AddressError(
                f"'{scheme}:…' is no place for pictures; expected a folder or s3://bucket/prefix"
            )
        return Path(where)
    bucket, _, prefix = text.removeprefix(SCHEME).partition("/")
    if set(text) & set("@?#") or ":" in bucket:
        raise AddressError(
            f"'{SCHEME}…' holds more than a bucket and a prefix; credentials belong into the "
            "environment, a profile or a role"
        )
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise AddressError(
            f"'{bucket[:70]}' cannot be a bucket; expected s3://bucket/prefix with 3 to 63 "
            "letters, digits, '.' and '-'"
        )
    prefix = prefix.strip("/")
    try:
        fits = not prefix or len(checked(prefix).encode()) <= _MAX_PREFIX
    except ValueError:
        fits = False
    if not fits:
        raise AddressError(
            f"'{prefix[:70]}' cannot be a prefix; expected at most {_MAX_PREFIX} bytes of plain "
            "parts between slashes, none of them '.' or '..'"
        )
    return S3Address(bucket, prefix)


def open_objects(where: str | Path, settings: Settings | None = None) -> Objects:
    """The home at an address; nothing is read or written yet.

    ``settings`` tell how an S3 server is spoken to; without them, those of this process.

    Raises:
        AddressError: it is none.
        SettingsError: this process's settings are wrong.
    """
    address = parse_address(where)
    if isinstance(address, Path):
        return LocalObjects(address)
    from flows.settings import load_settings
    from flows.store.s3 import S3Objects

    return S3Objects(address.bucket, address.prefix, (settings or load_settings()).s3)


def open_store(where: str | Path, settings: Settings | None = None) -> KeyedStore:
    """The store at an address; see ``open_objects``."""
    address = parse_address(where)
    if isinstance(address, Path):
        return LocalStore(address)
    return KeyedStore(open_objects(where, settings), lanes=LANES)


def open_cells(where: str | Path, settings: Settings | None = None) -> Cells:
    """Small objects there that are changed by compare-and-swap; see ``open_objects``."""
    address = parse_address(where)
    if isinstance(address, Path):
        from flows.store.folder_cells import FolderCells

        return FolderCells(address)
    from flows.settings import load_settings
    from flows.store.s3_cells import S3Cells

    return S3Cells(address.bucket, address.prefix, (settings or load_settings()).s3)
