"""One value of an axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Value:
    """``name`` is what labels call it, ``text`` what ``{axis}`` stands for.

    ``attributes`` are its variables, ``name`` among them; ``path`` is an input's file.
    """

    name: str
    text: str
    attributes: Mapping[str, str]
    path: Path | None = None
