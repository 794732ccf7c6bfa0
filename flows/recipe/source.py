"""YAML text into a tree of nodes that know their line and column.

What is read is YAML 1.2's core schema: only ``true`` and ``false`` are booleans, so ``no``, ``on``
and ``off`` stay text, and no number is read in base 60 and no date as a date. It is built on
PyYAML's event parser alone, which constructs nothing: tags have no effect but to be refused.
Aliases and merge keys (``<<``) are allowed within limits that stop alias bombs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flows.problems import Mark, Problem
from flows.recipe.errors import RecipeError
from flows.recipe.naming import is_text, legible
from flows.recipe.node import Field, Node, Source, mark_at, resolve_scalar

_DEVICES = Path("/dev")
MAX_BYTES = 256 * 1024
MAX_DEPTH = 24
MAX_NODES = 20_000

_CORE = "tag:yaml.org,2002:"
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_KINDS = {yaml.MappingStartEvent: "map", yaml.SequenceStartEvent: "seq"}
_WHOLE = "put quotes around the whole text, as in '{product} on a beach'"
_REMEDIES = (
    ("mapping values are not allowed", "quote text that contains ': ', or mend the indentation"),
    ("cannot start any token", "indent with spaces, not tabs, and quote text with @, ` or %"),
    ("could not find expected ':'", "write each entry as 'key: value'"),
    ("expected <block end>, but found '<scalar>'", f"{_WHOLE}, or indent the entries alike"),
    ("but got '<scalar>'", f"{_WHOLE}, or put commas between entries"),
    ("but got ':'", "quote text that contains ': ', or put commas between entries"),
    ("expected alphabetic or numeric character", "quote text that begins with '*' or '&'"),
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
    if not is_text(name):
        text = "the path is not UTF-8; expected names in UTF-8; rename the file or its folders"
        raise _fatal(legible(name), None, text)
    try:
        if path.is_dir():
            raise _fatal(name, None, "is a folder; expected a YAML file; name the file in it")
        if path.is_fifo() and _DEVICES not in path.absolute().parents:  # what a shell hands over
            raise _fatal(name, None, "is a named pipe; expected a YAML file; write it to one")
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
    root = _root(text, path)
    if root is None or root.kind == "empty":
        what = "the file is empty; expected a mapping; begin with 'version: 1'"
        raise _fatal(path, Mark(), what)
    if root.fields is None:
        what = f"the file is {root.kind}; expected a mapping; begin with 'version: 1'"
        raise _fatal(path, root.mark, what)
    return Source(path, text, root)


def parse_list(text: str, path: str) -> tuple[Node, ...]:
    """Parse YAML text that is a list, as a table is; its entries.

    Raises:
        RecipeError: as ``parse_source``.
    """
    root = _root(text, path)
    if root is None or root.kind == "empty":
        return ()
    if root.items is None:
        what = f"the table is {root.kind}; expected a list of rows; write each row as '- ...'"
        raise _fatal(path, root.mark, what)
    return root.items


def _root(text: str, path: str) -> Node | None:
    """What the text holds, if it holds something."""
    if (bad := _FORBIDDEN.search(text)) is not None:
        code = f"U+{ord(bad[0]):04X}"
        what = f"control character {code}; expected plain text; remove the character"
        raise _fatal(path, mark_at(text, bad.start()), what)
    composer = _Composer(text, path)
    try:
        composed = composer.get_node() if composer.check_node() else None
        if composer.check_node():
            event: Any = composer.peek_event()  # type: ignore[no-untyped-call]
            mark = _mark(event.start_mark)
            what = "a second YAML document begins; expected one per file; remove the '---'"
            raise _fatal(path, mark, what)
    except yaml.MarkedYAMLError as error:
        opened = composer.open[-1] if composer.open else Mark()
        raise RecipeError([_syntax_problem(error, path, opened, text)]) from None
    except yaml.YAMLError as error:
        what = f"not valid YAML ({error}); expected a YAML file; see https://yaml.org"
        raise _fatal(path, Mark(), what) from None
    root = _Tree(path, composer.problems).node(composed, 0) if composed is not None else None
    if composer.problems and root is not None and root.kind != "empty":
        raise RecipeError(composer.problems)
    return root


@dataclass(frozen=True, slots=True)
class _Alias:
    """What stands in place of a composed node that was written before."""

    node: yaml.Node
    name: str | None
    start_mark: Any


class _Composer(yaml.SafeLoader):
    """PyYAML's composer within limits; an alias stays one, so that it knows where it stands."""

    def __init__(self, text: str, path: str) -> None:
        super().__init__(text)
        self.path = path
        self.problems: list[Problem] = []  # that leave the structure whole
        self.open: list[Mark] = []  # where the nodes around the present place begin

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark = _mark(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]
            if event.anchor not in self.anchors:
                text = f"unknown alias '*{event.anchor}'; expected an anchor above it; "
                raise _fatal(self.path, mark, f"{text}define '&{event.anchor}' first")
            return _Alias(self.anchors[event.anchor], event.anchor, event.start_mark)
        _check_depth(len(self.open), self.path, mark)
        if event.tag not in (None, "!", _CORE + _KINDS.get(type(event), "str")):
            shown = event.tag.replace(_CORE, "!!")
            text = f"the tag '{shown}' is not allowed; expected plain YAML; remove the tag"
            self.problems.append(Problem(self.path, mark, text))
        self.anchors.pop(event.anchor, None)  # one may be used again
        self.open.append(mark)
        node = super().compose_node(parent, index)
        self.open.pop()
        if event.tag is not None and isinstance(node, yaml.ScalarNode):
            node.style = "'"  # what is called a text is one, as if it were quoted
        return node


class _Tree:
    """Composed nodes into ours, each alias in its place; mistakes go to ``problems``."""

    def __init__(self, path: str, problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems
        self.made: dict[yaml.Node, Node] = {}
        self.expanded = 0

    def node(self, composed: Any, depth: int) -> Node:
        mark = _mark(composed.start_mark)
        if isinstance(composed, _Alias):
            return self.alias(composed, mark, depth)
        self.expanded += 1
        if isinstance(composed, yaml.MappingNode):
            fields = self.fields(composed, depth + 1)
            node = _collection(mark, [entry.node for entry in fields.values()], fields=fields)
        elif isinstance(composed, yaml.SequenceNode):
            items = tuple([self.node(item, depth + 1) for item in composed.value])
            node = _collection(mark, items, items=items)
        else:
            text = composed.value
            value = resolve_scalar(text) if composed.style is None else text
            node = Node(mark, value, text, (composed.start_mark.index, composed.end_mark.index))
        self.made[composed] = node
        return node

    def alias(self, alias: _Alias, mark: Mark, depth: int) -> Node:
        node = self.made.get(alias.node)
        if node is None:
            text = f"alias '*{alias.name}' contains itself; expected a finite value; write it out"
            raise _fatal(self.path, mark, text)
        self.expanded += node.weight
        if self.expanded > MAX_NODES:
            text = (
                f"aliases expand to more than {MAX_NODES} values; expected a recipe of sane size; "
                "write fewer aliases of aliases"
            )
            raise _fatal(self.path, mark, text)
        _check_depth(depth + node.height, self.path, mark)
        return node

    def fields(self, composed: yaml.MappingNode, depth: int) -> dict[str, Field]:
        fields: dict[str, Field] = {}
        merged: list[Node] = []
        for name, value in composed.value:
            key, node = self.node(name, depth), self.node(value, depth)
            text = ""
            if key.text == "<<" and getattr(name, "style", "alias") is None:
                nodes = [node] if node.items is None else node.items
                if any(item.fields is None for item in nodes):
                    text = "'<<' merges mappings only; expected an alias of a mapping; "
                    text += "write '<<: *name'"
                merged += nodes
            elif not key.text:  # nor has a mapping or a list one
                text = f"a key is {key.kind}; expected text; write a plain name before the colon"
            elif key.text in fields:
                text = (
                    f"duplicate key '{key.text}'; it is already on line "
                    f"{fields[key.text].key.line}; remove or rename one of them"
                )
            else:
                fields[key.text] = Field(key.mark, node)
            if text:
                self.problems.append(Problem(self.path, key.mark, text))
        for source in merged:
            for inherited, entry in (source.fields or {}).items():
                fields.setdefault(inherited, entry)
        return fields


def _check_depth(depth: int, path: str, mark: Mark) -> None:
    if depth > MAX_DEPTH:
        text = f"nested more than {MAX_DEPTH} levels; expected a flat recipe; unnest it"
        raise _fatal(path, mark, text)


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


def _cut_off(written: str, opened: Mark) -> int | None:
    """The first line from ``opened`` on whose comment closes something."""
    lines = written.splitlines()[opened.line - 1 :]
    closing = (at for at, line in enumerate(lines) if re.search(r"\s#.*[]}\"']", line))
    return next((opened.line + at for at in closing), None)


def _syntax_problem(error: yaml.MarkedYAMLError, path: str, opened: Mark, written: str) -> Problem:
    what = (error.problem or "syntax error").split(";")[0]
    if "stream end" in what or "end of stream" in what:
        begins = _mark(error.context_mark)  # of a quote or a bracket, or the file's own end
        mark = begins if begins < _mark(error.problem_mark) else opened
        remedy = "close it"
        if (cut := _cut_off(written, mark)) is not None:
            remedy = f"its end in line {cut} stands behind '#', as a comment: quote that text"
        text = f"not valid YAML; what opens here is not closed before the file ends; {remedy}"
        return Problem(path, mark, text)
    remedies = (remedy for part, remedy in _REMEDIES if part in what)
    remedy = next(remedies, "check quotes, brackets and indentation here")
    return Problem(path, _mark(error.problem_mark), f"not valid YAML; {what}; {remedy}")


def _collection(mark: Mark, parts: Sequence[Node], **what: Any) -> Node:
    weight = 1 + sum(part.weight for part in parts)
    height = 1 + max((part.height for part in parts), default=0)
    return Node(mark, weight=weight, height=height, **what)


def _mark(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1) if mark is not None else Mark()


def _fatal(path: str, mark: Mark | None, text: str) -> RecipeError:
    return RecipeError([Problem(path, mark, text)])
