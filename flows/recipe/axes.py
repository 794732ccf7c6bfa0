"""The axes' vocabulary: an input of several files, or an entry of ``matrix``, and its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flows.recipe.node import Loc
from flows.sources.place import Place


@dataclass(frozen=True, slots=True)
class Value:
    """One value: ``name`` is what labels call it, ``text`` what ``{axis}`` stands for.

    ``attributes`` are its variables, ``name`` among them; ``path`` is where an input's picture is,
    ``loc`` the place in the recipe that says so.
    """

    name: str
    text: str
    attributes: Mapping[str, str]
    path: Place | None = None
    loc: Loc = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Axis:
    """A name and its values in order. ``shown``: labels and variant ids mention it."""

    name: str
    values: tuple[Value, ...]
    shown: bool
