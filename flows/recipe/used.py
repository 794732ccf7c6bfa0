"""Which variables the values of axes hold: what was set reaches every picture through them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from flows.recipe.node import Node
from flows.recipe.recipe import Recipe

_HELD = re.compile(r"\{\s*([A-Za-z][\w-]*)\s*\}")


def variables_of_axes(recipe: Recipe) -> Mapping[str, frozenset[str]]:
    """For each variable the axes whose values hold it; ``""`` is all of them.

    A list parameter that is an axis by itself is not counted: its texts are the values' names.
    """
    found: dict[str, set[str]] = {}
    for section in ("inputs", "matrix"):
        node = recipe.written.node((section,))
        for axis, entry in ((node.fields if node is not None else None) or {}).items():
            shared = axis in ("exclude", "include")
            if entry.node.fields is None and entry.node.items is None and section == "matrix":
                continue
            for name in _held(entry.node):
                found.setdefault(name, set()).add("" if shared else axis)
    return {name: frozenset(axes) for name, axes in found.items()}


def _held(node: Node) -> Iterator[str]:
    for entry in (node.fields or {}).values():
        yield from _held(entry.node)
    for item in node.items or ():
        yield from _held(item)
    for match in _HELD.finditer(node.text or ""):
        yield match[1]
