"""Verdicts: how something ended, create-only in the store; what has one has ended.

``verdicts/<name>.<order>``: a chunk's is how its steps ended (``ChunkEnds``), a parent's how its
run did. Whoever comes second finds the first one's words, and goes on with those.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flows.store.base import StoreError
from flows.store.objects import Objects, checked

VERDICTS = "verdicts/"


def give(objects: Objects, name: str, order: int, words: bytes) -> bool:
    """Write a verdict unless there is one; whether there was none.

    Raises:
        StoreError: the store fails.
    """
    return objects.create(_name(name, order), words)


def verdict(objects: Objects, name: str, order: int) -> bytes | None:
    """The verdict, or ``None``.

    Raises:
        StoreError: the store fails.
    """
    held = objects.get(_name(name, order))
    return None if held is None else held.data


def words_of(data: bytes, name: str) -> Mapping[str, Any]:
    """A parent's verdict as it was written.

    Raises:
        StoreError: it is none.
    """
    try:
        words = json.loads(data)
    except ValueError:
        words = None
    if not isinstance(words, dict):
        raise StoreError(f"{VERDICTS}{name}: cannot be read; remove it and run again")
    return words


def _name(name: str, order: int) -> str:
    return checked(f"{VERDICTS}{name}.{order}")
