"""YAML text into a tree of nodes that know their line and column.

What is read is YAML 1.2's core schema: only ``true`` and ``false`` are booleans, so ``no``, ``on``
and ``off`` stay text, and no number is read in base 60 and no date as a date. It is built on
PyYAML's event parser alone, which constructs nothing: tags have no effect but to be refused.
Aliases and merge keys (``<<``) are allowed within limits that stop alias bombs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from flows.recipe.errors import Mark, Problem, RecipeError
from flows.recipe.node import Field, Node, Source, mark_at, resolve_scalar

MAX_BYTES = 256 * 1024
MAX_DEPTH = 24
MAX_NODES = 20_000

_CORE = "tag:yaml.org,2002:"
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_EMPTY = "the file is empty; expected a mapping; begin with 'version: 1'"
_REMEDIES = (
    ("mapping values are not allowed", "quote text that contains ': ', or mend the indentation"),
    ("cannot start any token", "indent with spaces, not tabs, and quote text with @, ` or %"),
    ("could not find expected ':'", "write each entry as 'key: value'"),
    ("expected <block end>", "indent the entries of one block alike"),
    ("undefined alias", "define it first with '&name'"),
    ("but got", "close every bracket and brace and put commas between entries"),
    ("but found", "close every bracket and brace and put commas between entries"),
)


def read_source(path: Path, shown: str | None = None) -> Source:
    """Read a YAML file as text that may be trusted to be text.

    Raises:
        RecipeError: the file is missing, empty, too large, binary, not UTF-8 or not YAML.
    """
    name = shown or str(path)
    try:
        if path.is_dir():
            raise _fatal(name, None, "is a folder; expected a YAML file; name the file in it")
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        text = "no such file; expected a recipe; check the name and the current folder"
        raise _fatal(name, None, text) from None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        text = f"cannot be read ({reason}); expected a readable file; check its permissions"
        raise _fatal(name, None, text) from None
    return parse_source(_decode(data, name), name)


def parse_source(text: str, path: str) -> Source:
    """Parse YAML text into a tree; ``path`` is what messages call the file.

    Raises:
        RecipeError: not YAML, a duplicate key, a tag, an alias bomb, more than one document.
    """
    if (bad := _FORBIDDEN.search(text)) is not None:
        code = f"U+{ord(bad[0]):04X}"
        what = f"control character {code}; expected plain text; remove the character"
        raise _fatal(path, mark_at(text, bad.start()), what)
    builder = _Builder(text, path)
    try:
        root = builder.document()
    except yaml.MarkedYAMLError as error:
        opened = builder.open[-1] if builder.open else Mark()
        raise RecipeError([_syntax_problem(error, path, opened)]) from None
    except yaml.YAMLError as error:
        what = f"not valid YAML ({error}); expected a YAML file; see https://yaml.org"
        raise _fatal(path, Mark(), what) from None
    if builder.problems:
        raise RecipeError(builder.problems)
    return Source(path, text, root)


class _Builder:
    """Events in, nodes out; mistakes that leave the structure whole are collected."""

    def __init__(self, text: str, path: str) -> None:
        self.events = yaml.parse(text, yaml.SafeLoader)
        self.path = path
        self.anchors: dict[str, Node | None] = {}
        self.problems: list[Problem] = []
        self.open: list[Mark] = []  # where the collections around the present place begin
        self.expanded = 0

    def document(self) -> Node:
        next(self.events)  # stream start
        if isinstance(next(self.events), yaml.StreamEndEvent):
            raise _fatal(self.path, Mark(), _EMPTY)
        root = self.node(next(self.events), 0)
        next(self.events)  # document end
        if not isinstance(after := next(self.events), yaml.StreamEndEvent):
            mark = _mark(after.start_mark)
            text = "a second YAML document begins; expected one per file; remove the '---'"
            raise _fatal(self.path, mark, text)
        if root.value is None and root.kind == "empty":
            raise _fatal(self.path, Mark(), _EMPTY)
        if root.fields is None:
            text = f"the file is {root.kind}; expected a mapping; begin with 'version: 1'"
            raise _fatal(self.path, root.mark, text)
        return root

    def node(self, event: Any, depth: int) -> Node:
        mark = _mark(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(str(event.anchor), mark, depth)
        self.check_depth(depth, mark)
        self.expanded += 1
        anchor, tag = event.anchor, event.tag
        if anchor is not None:
            self.anchors[anchor] = None
        if isinstance(event, yaml.MappingStartEvent):
            self.check_tag(tag, ("map",), mark)
            self.open.append(mark)
            node = self.mapping(mark, depth)
            self.open.pop()
        elif isinstance(event, yaml.SequenceStartEvent):
            self.check_tag(tag, ("seq",), mark)
            self.open.append(mark)
            node = self.sequence(mark, depth)
            self.open.pop()
        else:
            self.check_tag(tag, ("str",), mark)
            plain = event.style is None and tag is None
            value = resolve_scalar(event.value) if plain else event.value
            span = (event.start_mark.index, event.end_mark.index)
            node = Node(mark, value, event.value, plain, span)
        if anchor is not None:
            self.anchors[anchor] = node
        return node

    def alias(self, name: str, mark: Mark, depth: int) -> Node:
        if name not in self.anchors:
            text = f"unknown alias '*{name}'; expected an anchor above it; define '&{name}' first"
            raise _fatal(self.path, mark, text)
        node = self.anchors[name]
        if node is None:
            text = f"alias '*{name}' contains itself; expected a finite value; write it out"
            raise _fatal(self.path, mark, text)
        self.expanded += node.weight
        if self.expanded > MAX_NODES:
            text = (
                f"aliases expand to more than {MAX_NODES} values; expected a recipe of sane size; "
                "write fewer aliases of aliases"
            )
            raise _fatal(self.path, mark, text)
        self.check_depth(depth + node.height, mark)
        return node

    def mapping(self, mark: Mark, depth: int) -> Node:
        fields: dict[str, Field] = {}
        merged: list[Node] = []
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.node(event, depth + 1)
            node = self.node(next(self.events), depth + 1)
            if key.text == "<<" and key.plain:
                merged += self.merge_sources(node, key.mark)
            elif key.fields is not None or key.items is not None or not key.text:
                text = f"a key is {key.kind}; expected text; write a plain name before the colon"
                self.problems.append(Problem(self.path, key.mark, text))
            elif key.text in fields:
                first = fields[key.text].key
                text = (
                    f"duplicate key '{key.text}'; it is already on line {first.line}; "
                    "remove or rename one of them"
                )
                self.problems.append(Problem(self.path, key.mark, text))
            else:
                fields[key.text] = Field(key.mark, node)
        for source in merged:
            for name, entry in (source.fields or {}).items():
                fields.setdefault(name, entry)
        nodes = [entry.node for entry in fields.values()]
        return Node(mark, fields=fields, weight=_weight(nodes), height=_height(nodes))

    def merge_sources(self, node: Node, mark: Mark) -> list[Node]:
        nodes = [node] if node.items is None else list(node.items)
        if any(item.fields is None for item in nodes):
            text = "'<<' merges mappings only; expected an alias of a mapping; write '<<: *name'"
            self.problems.append(Problem(self.path, mark, text))
            return []
        return nodes

    def sequence(self, mark: Mark, depth: int) -> Node:
        items: list[Node] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self.node(event, depth + 1))
        return Node(mark, items=tuple(items), weight=_weight(items), height=_height(items))

    def check_depth(self, depth: int, mark: Mark) -> None:
        if depth > MAX_DEPTH:
            text = f"nested more than {MAX_DEPTH} levels; expected a flat recipe; unnest it"
            raise _fatal(self.path, mark, text)

    def check_tag(self, tag: str | None, allowed: Sequence[str], mark: Mark) -> None:
        if tag is not None and tag != "!" and tag not in {_CORE + name for name in allowed}:
            shown = tag.replace(_CORE, "!!")
            text = f"the tag '{shown}' is not allowed; expected plain YAML; remove the tag"
            self.problems.append(Problem(self.path, mark, text))


def _decode(data: bytes, name: str) -> str:
    """UTF-8 text, with or without a byte order mark."""
    if len(data) > MAX_BYTES:
        text = f"larger than {MAX_BYTES // 1024} KiB; expected a recipe; split it"
        raise _fatal(name, None, text)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _fatal(name, Mark(), "the file is UTF-16; expected UTF-8; save it again as UTF-8")
    if (at := data.find(b"\x00")) >= 0:
        mark = mark_at(data[:at].decode("utf-8", "replace"), None)
        raise _fatal(name, mark, "the file is binary; expected a YAML text; name the recipe itself")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        mark = mark_at(data[: error.start].decode("utf-8", "replace"), None)
        raise _fatal(name, mark, "not UTF-8 text; expected UTF-8; save it again as UTF-8") from None


def _syntax_problem(error: yaml.MarkedYAMLError, path: str, opened: Mark) -> Problem:
    what = (error.problem or "syntax error").split(";")[0]
    if "stream end" in what or "end of stream" in what:
        begins = _mark(error.context_mark)  # of a quote or a bracket, or the file's own end
        mark = begins if begins < _mark(error.problem_mark) else opened
        text = "not valid YAML; what opens here is not closed before the file ends; close it"
        return Problem(path, mark, text)
    remedies = (remedy for part, remedy in _REMEDIES if part in what)
    remedy = next(remedies, "check quotes, brackets and indentation here")
    return Problem(path, _mark(error.problem_mark), f"not valid YAML; {what}; {remedy}")


def _weight(nodes: Sequence[Node]) -> int:
    return 1 + sum(node.weight for node in nodes)


def _height(nodes: Sequence[Node]) -> int:
    return 1 + max((node.height for node in nodes), default=0)


def _mark(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1) if mark is not None else Mark()


def _fatal(path: str, mark: Mark | None, text: str) -> RecipeError:
    return RecipeError([Problem(path, mark, text)])
