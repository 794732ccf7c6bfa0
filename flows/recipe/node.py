"""A recipe's YAML as a tree whose every value knows its line and column."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flows.problems import Mark, Problem

Scalar = str | int | float | bool | None
Loc = tuple[str | int, ...]

_COMMENT = re.compile(r"[ \t]+(#\S.*)")
_NULL = re.compile(r"(null|Null|NULL|~|)\Z")
_BOOL = re.compile(r"(true|True|TRUE|false|False|FALSE)\Z")
_INT = re.compile(r"[-+]?[0-9]{1,40}\Z")
_BASED = re.compile(r"0o[0-7]{1,40}\Z|0x[0-9a-fA-F]{1,40}\Z")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?\Z|[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z"
)


@dataclass(frozen=True, slots=True)
class Node:
    """One YAML value: a scalar, a mapping (``fields``) or a list (``items``).

    ``text`` is a scalar's text as meant, ``value`` the same by the core schema; ``span`` its
    character range in the file. ``weight`` counts values with aliases expanded, ``height`` levels.
    ``origin`` names a command-line option for what was set there rather than in the file; ``file``
    the file, where it is not the recipe itself: one that it extends, a table.
    """

    mark: Mark
    value: Scalar = None
    text: str = ""
    span: tuple[int, int] = (0, 0)
    fields: Mapping[str, Field] | None = None
    items: tuple[Node, ...] | None = None
    weight: int = 1
    height: int = 0
    origin: str | None = None
    file: str | None = None

    @property
    def kind(self) -> str:
        """What a person would call it."""
        if self.fields is not None:
            return "a mapping"
        if self.items is not None:
            return "a list"
        if self.value is None:
            return "empty"
        if isinstance(self.value, bool):
            return str(self.value).lower()
        if isinstance(self.value, str):
            return f"the text '{short(self.value)}'"
        return f"the number {short(self.text)}"


@dataclass(frozen=True, slots=True)
class Field:
    """One entry of a mapping: where its key stands, and its value."""

    key: Mark
    node: Node


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed file: its name as the user gave it, its text and its tree.

    ``texts`` are those of other files that parts of the tree are from, by their names.
    """

    path: str
    text: str
    root: Node
    texts: Mapping[str, str] = field(default_factory=dict)

    def node(self, loc: Loc) -> Node | None:
        """The node at exactly this place, or ``None``."""
        return child(self.root, loc)

    def problem(self, loc: Loc, text: str, *, key: bool = False, find: str = "") -> Problem:
        """A problem at the value (or ``key``) at ``loc``; parts that are not there are skipped.

        ``find`` narrows the place to where this piece of text begins inside the scalar.
        """
        node, mark = self.root, self.root.mark
        for part in loc:
            child = _child(node, part)
            if child is None:
                continue
            entry = node.fields.get(str(part)) if node.fields is not None else None
            empty = child.span[0] == child.span[1] and child.fields is None and child.items is None
            node, mark = child, child.mark
            if entry is not None and (empty or (key and part == loc[-1])):
                mark = entry.key
        if node.origin is not None:
            return Problem(node.origin, None, text, loc)
        written = self.written(node)
        if find and (at := written.find(find, *node.span)) >= 0:
            mark = mark_at(written, at)
        return Problem(node.file or self.path, mark, text, loc)

    def comment_at(self, loc: Loc) -> str | None:
        """What follows an empty value in its line and looks meant, as ``#f4f2ee`` does."""
        node = self.node(loc)
        found = node and _COMMENT.match(self.written(node), node.span[0])
        return found[1].rstrip() if found else None

    def written(self, node: Node) -> str:
        """The text of the file that a node of the tree is from."""
        return self.text if node.file is None else self.texts.get(node.file, "")

    def with_value(self, loc: Loc, text: str, origin: str) -> Source:
        """A copy with a plain scalar set at ``loc``, made by a command-line option."""
        value = resolve_scalar(text)
        leaf = Node(Mark(), value, text, (0, 1), origin=origin)
        return replace(self, root=_set(self.root, loc, leaf))


def to_plain(node: Node, text_keys: frozenset[str] = frozenset(), *, as_text: bool = False) -> Any:
    """The tree as dicts, lists and scalars; under ``text_keys`` every scalar stays its text."""
    if node.fields is not None:
        return {
            key: to_plain(entry.node, as_text=as_text or key in text_keys)
            for key, entry in node.fields.items()
        }
    if node.items is not None:
        return [to_plain(item, as_text=as_text) for item in node.items]
    return node.text if as_text and node.value is not None else node.value


def replaced(node: Node, loc: Loc, leaf: Node) -> Node:
    """The tree with another node at ``loc``, whose parents are there."""
    if not loc:
        return leaf
    if node.items is not None:
        at = int(loc[0])
        return replace(
            node,
            items=(
                *node.items[:at],
                replaced(node.items[at], loc[1:], leaf),
                *node.items[at + 1 :],
            ),
        )
    fields = dict(node.fields or {})
    entry = fields[str(loc[0])]
    fields[str(loc[0])] = Field(entry.key, replaced(entry.node, loc[1:], leaf))
    return replace(node, fields=fields)


def resolve_scalar(text: str) -> Scalar:
    """A plain scalar by the core schema of YAML 1.2 (section 10.3.2 of its specification)."""
    if _NULL.match(text):
        return None
    if _BOOL.match(text):
        return text.lower() == "true"
    if _INT.match(text):
        return int(text)
    if _BASED.match(text):
        return int(text, 0)
    if _FLOAT.match(text):
        return float(text.replace(".inf", "inf").replace(".nan", "nan").lower().lstrip("+"))
    return text


def child(node: Node, loc: Loc) -> Node | None:
    """The node at exactly this place below it, or ``None``."""
    found: Node | None = node
    for part in loc:
        found = _child(found, part) if found is not None else None
    return found


def _child(node: Node, part: str | int) -> Node | None:
    if node.fields is not None and isinstance(part, str):
        entry = node.fields.get(part)
        return entry.node if entry is not None else None
    if node.items is not None and isinstance(part, int) and 0 <= part < len(node.items):
        return node.items[part]
    return None


def _set(node: Node, loc: Loc, leaf: Node) -> Node:
    if not loc:
        return leaf
    name = str(loc[0])
    fields = dict(node.fields or {})
    entry = fields.get(name, Field(leaf.mark, Node(leaf.mark, fields={}, origin=leaf.origin)))
    fields[name] = Field(entry.key, _set(entry.node, loc[1:], leaf))
    return replace(node, fields=fields, value=None, items=None)


def mark_at(text: str, index: int | None) -> Mark:
    """The place of a character index; of the end for ``None``."""
    before = text[:index]
    return Mark(before.count("\n") + 1, len(before) - before.rfind("\n"))


def short(text: str, limit: int = 40) -> str:
    """A text for a message, cut when it is long."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
