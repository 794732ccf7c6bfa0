"""A recipe with all that it builds on as one YAML text, each line with where it is from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from flows.recipe.node import Node, Source, resolve_scalar

_PLAIN = re.compile(r"[A-Za-z0-9_./][\w ./,%+-]*\Z")
_QUOTED = ("prompt", "negative_prompt")  # where a comment may be the rest of the text, and is told
_AT = 64  # the column where origins stand, where lines are shorter


def resolved(source: Source) -> str:
    """The text; ``kontext check`` finds in it what it finds in the recipe."""
    lines = list(_lines(source, source.root, 0, ""))
    return "".join(f"{line.ljust(_AT)}  # {origin}\n" for line, origin in lines)


def _lines(source: Source, node: Node, depth: int, lead: str) -> Iterator[tuple[str, str]]:
    """Each line and its origin; ``lead`` is what stands before the first one."""
    pad = "  " * depth
    for name, entry in (node.fields or {}).items():
        head = f"{lead or pad}{_scalar(name)}:"
        yield from _entry(source, entry.node, depth, head, quoted=name in _QUOTED)
        lead = ""
    for item in node.items or ():
        if item.fields:
            yield from _lines(source, item, depth + 1, f"{lead or pad}- ")
        else:
            yield from _entry(source, item, depth, f"{lead or pad}-")
        lead = ""


def _entry(
    source: Source, node: Node, depth: int, head: str, *, quoted: bool = False
) -> Iterator[tuple[str, str]]:
    if not node.fields and not node.items:
        empty = "{}" if node.fields is not None else "[]" if node.items is not None else None
        yield f"{head} {empty or _value(node, quoted)}".rstrip(), _origin(source, node)
        return
    yield head, _origin(source, node)
    yield from _lines(source, node, depth + 1, "")


def _origin(source: Source, node: Node) -> str:
    return node.origin or f"{node.file or source.path}:{node.mark.line}"


def _value(node: Node, quoted: bool) -> str:
    if quoted and isinstance(node.value, str):
        return json.dumps(node.value, ensure_ascii=False)
    if isinstance(node.value, str):
        return _scalar(node.value)
    return node.text  # a number, a boolean, or nothing, as it was written


def _scalar(text: str) -> str:
    """Plain where it would be read as the same text; else in quotes, as JSON and YAML write it."""
    plain = _PLAIN.match(text) and text == text.strip() and isinstance(resolve_scalar(text), str)
    return text if plain else json.dumps(text, ensure_ascii=False)
