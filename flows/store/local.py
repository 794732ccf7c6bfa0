"""The store in a folder of this machine."""

from __future__ import annotations

from pathlib import Path

from flows.store.folder import LocalObjects
from flows.store.keyed import KeyedStore


class LocalStore(KeyedStore):
    """``Store`` over ``root``; its folders are made when something is first written."""

    def __init__(self, root: Path, files_url: str | None = None) -> None:
        super().__init__(LocalObjects(root, files_url=files_url))
        self.root = root
