"""Opening what is at an address: a folder, or a prefix of a bucket.

Reading an address takes none of what opens it: a check of a recipe opens nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from flows.settings.address import S3Address, understood
from flows.store.base import AddressError

if TYPE_CHECKING:
    from flows.settings import S3Settings, Settings
    from flows.store.cells import Cells
    from flows.store.keyed import KeyedStore
    from flows.store.objects import Objects


def parse_address(where: str | Path) -> S3Address | Path:
    """What a person wrote, understood.

    Raises:
        AddressError: another scheme, credentials in it, or not the name of a bucket or prefix.
    """
    try:
        return understood(where)
    except ValueError as error:
        raise AddressError(str(error)) from None


def open_objects(where: str | Path, settings: Settings | None = None) -> Objects:
    """The home at an address; nothing is read or written yet.

    ``settings`` tell how an S3 server is spoken to; without them, those of this process.

    Raises:
        AddressError: it is none.
        SettingsError: this process's settings are wrong.
    """
    address = parse_address(where)
    if isinstance(address, Path):
        from flows.store.folder import LocalObjects

        return LocalObjects(address, files_url=_files_url(address, settings))
    from flows.store.s3 import S3Objects

    return S3Objects(address.bucket, address.prefix, _s3(settings))


def open_store(where: str | Path, settings: Settings | None = None) -> KeyedStore:
    """The store at an address; see ``open_objects``."""
    address = parse_address(where)
    if isinstance(address, Path):
        from flows.store.local import LocalStore

        return LocalStore(address, _files_url(address, settings))
    from flows.store.keyed import KeyedStore
    from flows.store.lanes import LANES

    return KeyedStore(open_objects(where, settings), lanes=LANES)


def open_cells(where: str | Path, settings: Settings | None = None) -> Cells:
    """Small objects there that are changed by compare-and-swap; see ``open_objects``."""
    address = parse_address(where)
    if isinstance(address, Path):
        from flows.store.folder_cells import FolderCells

        return FolderCells(address)
    from flows.store.s3_cells import S3Cells

    return S3Cells(address.bucket, address.prefix, _s3(settings))


def _files_url(folder: Path, settings: Settings | None) -> str | None:
    """Where a file server shows it, if it is the folder that the settings speak of."""
    if settings is None or settings.files_url is None:
        return None
    same = os.path.abspath(folder) == os.path.abspath(settings.store)  # noqa: PTH100
    return settings.files_url if same else None


def _s3(settings: Settings | None) -> S3Settings:
    if settings is not None:
        return settings.s3
    from flows.settings.load import load_settings

    return load_settings().s3
