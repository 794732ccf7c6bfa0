"""A recipe with what it builds on: the folder's defaults, the files it extends, homes of anchors.

``extends: house/style.yaml`` lays the recipe over that file, mapping by mapping: what both say, the
recipe decides; a list or a text replaces the whole. ``[recipe]`` in the nearest ``kontext.toml``
above the recipe lies under all of it. Keys that begin with ``x-`` are read by nobody. Every value
keeps the file and the line that it is from.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flows.problems import Mark, Problem, unknown
from flows.recipe.errors import RecipeError
from flows.recipe.fields import IDENTIFIER_PATTERN
from flows.recipe.node import Field, Node, Source, resolve_scalar, short
from flows.recipe.reach import Fetch, absolute, unusable
from flows.recipe.region import KINDS
from flows.recipe.source import read_source
from flows.settings import Settings
from flows.settings.toml_file import RECIPE, TomlFile, toml_above

MAX_BASES = 8
ENDINGS = (".yaml", ".yml")
_OF_A_FOLDER = ("model", "defaults", "variables")
_OWN = ("extends", "name", "description")  # of a file, and not of what extends it


def compose(
    source: Source, path: Path, settings: Settings, fetch: Fetch | None = None
) -> tuple[Source, tuple[Path, ...]]:
    """The whole tree, and the files beside the recipe that it is from; ``fetch`` brings them where
    the recipe is from elsewhere.

    Raises:
        RecipeError: a file that cannot be used; each with its place.
    """
    texts: dict[str, str] = {}
    files: list[Path] = []
    root = _extended(source, path.parent, path, settings, texts, files, fetch)
    if (file := toml_above(path.parent, trusted=True)) is not None and RECIPE in file.data:
        texts[file.shown] = ""
        files.append(file.path)
        root = merged(_of_folder(file), root)
    plain = {name: entry for name, entry in (root.fields or {}).items() if name[:2] != "x-"}
    return replace(source, root=replace(root, fields=plain), texts=texts), tuple(files)


def merged(base: Node, over: Node) -> Node:
    """``over`` laid over ``base``, mapping by mapping."""
    if base.fields is None or over.fields is None:
        return over
    fields = dict(base.fields)
    for name, entry in over.fields.items():
        below = fields.get(name)
        node = entry.node if below is None else merged(below.node, entry.node)
        fields[name] = Field(entry.key, node)
    return replace(over, fields=fields)


def _extended(
    source: Source,
    folder: Path,
    path: Path,
    settings: Settings,
    texts: dict[str, str],
    files: list[Path],
    fetch: Fetch | None,
) -> Node:
    """The tree of ``source``, read from ``path``, over its bases; ``folder`` is the recipe's."""
    root, entry = source.root, (source.root.fields or {}).get("extends")
    rest = {name: one for name, one in (root.fields or {}).items() if name != "extends"}
    if entry is None:
        return root
    text = entry.node.text
    base = absolute(path.parent, text)
    wrong = None
    if entry.node.kind != f"the text '{short(text)}'":
        wrong = f"'extends' is {entry.node.kind}; expected a file; write 'extends: style.yaml'"
    elif base in files or base == absolute(Path(), str(path)):
        wrong = f"'{text}' extends this file in turn; expected a file of its own; end the circle"
    elif len(files) >= MAX_BASES:
        wrong = f"more than {MAX_BASES} files extend each other; expected fewer; join some"
    else:
        wrong = unusable(text, base, ("a recipe", ENDINGS), folder, settings, fetch)
    if wrong is not None:
        raise RecipeError([source.problem(("extends",), wrong)])
    shown = os.path.normpath(path.parent / text)
    files.append(base)
    read = read_source(base, shown)
    texts[shown] = read.text
    found = replace(read, root=_from(read.root, shown))
    below = _extended(found, folder, Path(shown), settings, texts, files, fetch)
    kept = {name: one for name, one in (below.fields or {}).items() if name not in _OWN}
    moved = _moved(
        replace(below, fields=kept), os.path.relpath(base.parent, absolute(path.parent, "."))
    )
    return merged(moved, replace(root, fields=rest))


def _from(node: Node, file: str) -> Node:
    """The tree, all of it from ``file``."""
    fields, items = node.fields, node.items
    if fields is not None:
        fields = {name: Field(e.key, _from(e.node, file)) for name, e in fields.items()}
    if items is not None:
        items = tuple([_from(item, file) for item in items])
    return replace(node, fields=fields, items=items, file=file)


def _moved(root: Node, way: str) -> Node:
    """A base's paths as the recipe that extends it writes them: ``way`` leads to its folder."""
    if way == ".":
        return root
    fields = dict(root.fields or {})
    for section in ("inputs", "matrix"):
        if section in fields:
            entry = fields[section]
            moved = {
                name: Field(one.key, _moved_entry(one.node, way, files=section == "inputs"))
                for name, one in (entry.node.fields or {}).items()
            }
            if entry.node.fields is not None:
                fields[section] = Field(entry.key, replace(entry.node, fields=moved))
    if "steps" in fields:
        fields["steps"] = _each(fields["steps"], lambda step: _moved_masks(step, way))
    return replace(root, fields=fields)


def _each(entry: Field, change: Callable[[Node], Node], *names: str) -> Field:
    """The entry of a mapping with those in it changed, all or the ones with these names."""
    found = entry.node.fields
    if found is None:
        return entry
    fields = {
        name: Field(one.key, change(one.node)) if name in names or not names else one
        for name, one in found.items()
    }
    return Field(entry.key, replace(entry.node, fields=fields))


def _moved_masks(step: Node, way: str) -> Node:
    def moved(node: Node) -> Node:
        # What can be a name is one: a step's or an input's.
        return node if re.match(IDENTIFIER_PATTERN, node.text) else _moved_text(node, way)

    def region(node: Node) -> Node:
        return (
            moved(node)
            if node.fields is None
            else _each(Field(node.mark, node), moved, "mask").node
        )

    def cutout(node: Node) -> Node:
        if node.fields is None:
            return _moved_text(node, way)
        return _each(Field(node.mark, node), lambda one: _moved_text(one, way), "model").node

    step = _each(Field(step.mark, step), cutout, "cutout").node
    return _each(Field(step.mark, step), region, *KINDS).node


def _moved_entry(node: Node, way: str, *, files: bool) -> Node:
    if node.items is not None:
        return replace(node, items=tuple([_moved_entry(n, way, files=files) for n in node.items]))
    if node.fields is not None:
        tabled = "table" in node.fields
        return replace(
            node,
            fields={
                name: Field(one.key, _moved_text(one.node, way))
                # In a table's mapping a file without a slash is a column.
                if name == "table" or (name == "file" and (not tabled or "/" in one.node.text))
                else one
                for name, one in node.fields.items()
            },
        )
    return _moved_text(node, way) if files else node


def _moved_text(node: Node, way: str) -> Node:
    text = node.text
    if not text or "://" in text or text[:1] in "/{":
        return node
    return replace(node, text=f"{way}/{text}", value=f"{way}/{text}")


def _of_folder(file: TomlFile) -> Node:
    """``[recipe]`` of a ``kontext.toml`` as a tree.

    Raises:
        RecipeError: it has something else than a model, defaults and variables.
    """
    table = file.data[RECIPE]
    problems = list(_strange(file, table))
    if problems:
        raise RecipeError(problems)
    return _tree(file, table, (RECIPE,))


def _strange(file: TomlFile, table: Any) -> Iterator[Problem]:
    names = table if isinstance(table, Mapping) else {}
    for name in names:
        if name not in _OF_A_FOLDER:
            text = unknown("key", name, f"[{RECIPE}]", _OF_A_FOLDER)
            yield Problem(file.shown, file.place((RECIPE, name)).name, text)
    if not isinstance(table, Mapping):
        text = f"'{RECIPE}' is no table; expected [{RECIPE}] with {', '.join(_OF_A_FOLDER)}"
        yield Problem(file.shown, file.place((RECIPE,)).value, text)


def _tree(file: TomlFile, value: Any, names: tuple[str, ...]) -> Node:
    mark = file.place(names).value
    if isinstance(value, Mapping):
        fields = {
            name: Field(file.place((*names, name)).name, _tree(file, one, (*names, name)))
            for name, one in value.items()
        }
        return Node(mark, fields=fields, file=file.shown)
    if isinstance(value, list):
        items = tuple([_tree(file, one, names) for one in value])
        return Node(mark, items=items, file=file.shown)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    plain = value if isinstance(value, (str, int, float, bool)) else resolve_scalar(text)
    return Node(mark or Mark(), plain, text, (0, 1), file=file.shown)
