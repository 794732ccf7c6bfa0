"""What is left of a recipe without what is wrong with it, so that all else is told at once.

Left out is what holds a mistake (a step, an output, an input, an axis, a variable, a setting), and
all that may hang on it: what that says further may follow from the mistake alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from flows.problems import Mark, nearest
from flows.recipe.node import Field, Loc, Node, Source, child, replaced
from flows.recipe.schema import RecipeFile

_NAMED = ("inputs", "matrix", "variables", "parameters", "steps")  # by their names elsewhere
_CHOICES = ("exclude", "include")
# Defaults without which no step is wrong, and what nothing hangs on.
_FREE = frozenset({"seed", "steps", "guidance", "size", "fit", "negative_prompt"})
_ALONE = frozenset({"name", "description"})
# Sections that decide about all of a recipe without being named in it.
_OVER_ALL = frozenset({"version", "extends", "model", "zip", "defaults"})
_PLACEHOLDER = re.compile(r"\{\s*([A-Za-z][\w-]*)(?:\.[^{}]*)?\}")
_VERSION = Node(Mark(), 1, "1", (0, 1))


def rest_of(source: Source, wrong: Sequence[Loc]) -> Source | None:
    """The tree without what holds these places, and what may hang on it; ``None`` where all may, or
    where none of it is there.
    """
    rest = _Rest(source.root)
    if not all(map(rest.leave, wrong)) or not rest.settle():
        return None
    return replace(source, root=rest.root) if rest.root != source.root else None


class _Rest:
    """The tree, and the names that nobody is sure of any longer, of whatever kind."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.unsure: set[str] = set()
        self.outputs: set[int] = set()  # that are wrong themselves

    def leave(self, loc: Loc) -> bool:
        """Leave out what holds this place; whether anything is certain without it."""
        section, part, at = (*loc, None, None, None)[:3]
        before = len(self.unsure)
        if section == "matrix" and part in _CHOICES:
            for index, entry in enumerate(self.items("matrix", str(part))):
                self.unsure |= set(entry.fields or {}) if at in (None, index) else set()
            return len(self.unsure) > before
        if section == "zip":
            group = child(self.root, loc[:2])
            self.unsure |= set(_texts(group)) if group is not None else set()
            return len(self.unsure) > before
        if section in _NAMED and isinstance(part, str):
            self.unsure.add(part)
        elif section == "outputs" and isinstance(part, int):
            self.outputs.add(part)
        elif (section == "defaults" and part in _FREE) or section in _ALONE:
            self.put(loc[:2], None)
        elif section == "version" and child(self.root, loc) is None:
            fields = {**(self.root.fields or {}), "version": Field(Mark(), _VERSION)}
            self.root = replace(self.root, fields=fields)
        elif part is None and self.unknown(str(section)):
            meant = child(self.root, loc)  # for a section that declares these names, perhaps
            self.unsure |= set((meant.fields if meant is not None else None) or ())
            self.put(loc, None)
        else:
            return False
        return True

    def unknown(self, section: str) -> bool:
        """Whether it is no section, and none that it may be meant for decides about all."""
        known = RecipeFile.model_fields
        return section not in known and nearest(section, known) not in _OVER_ALL

    def settle(self) -> bool:
        """Leave out what says an unsure name, until nothing does; whether a step is left."""
        before = -1
        while before < len(self.unsure):
            before = len(self.unsure)
            for section in _NAMED:
                for name, entry in self.fields(section):
                    if name not in _CHOICES and self.hangs(entry.node, step=section == "steps"):
                        self.unsure.add(name)
            for item in (*self.items("matrix", "exclude"), *self.items("matrix", "include")):
                if self.hangs(item):  # it says which go together
                    self.unsure |= set(item.fields or {})
        for section in _NAMED:
            self.keep((section,), lambda name, _: name not in self.unsure)
        for choice in _CHOICES:
            self.keep(("matrix", choice), lambda _, entry: not self.hangs(entry))
        self.keep_zips()
        wrong = self.outputs
        self.keep(("outputs",), lambda at, output: at not in wrong and not self.hangs(output))
        hanging = {name for name, entry in self.fields("defaults") if self.hangs(entry.node)}
        self.keep(("defaults",), lambda name, _: name not in hanging)
        model = child(self.root, ("model",))
        sure = hanging <= _FREE and (model is None or not self.hangs(model))
        return sure and any(self.fields("steps"))

    def hangs(self, node: Node, *, step: bool = False) -> bool:
        """Whether it says a name that nobody is sure of; a step whose picture is named only when
        filled in may say any.
        """
        image = (node.fields or {}).get("image") if step and self.unsure else None
        if image is not None and any("{" in text for text in _texts(image.node)):
            return True
        return not self.unsure.isdisjoint(node.fields or ()) or any(
            text.partition(".")[0] in self.unsure
            or not self.unsure.isdisjoint(_PLACEHOLDER.findall(text))
            for text in _texts(node)
        )

    def fields(self, section: str) -> Iterator[tuple[str, Field]]:
        node = child(self.root, (section,))
        yield from ((node.fields if node is not None else None) or {}).items()

    def items(self, *loc: str) -> Iterator[Node]:
        node = child(self.root, loc)
        yield from (node.items if node is not None else None) or ()

    def keep(self, loc: Loc, kept: Callable[[str | int, Node], bool]) -> None:
        """Of a mapping or a list what is kept, by name or number; nothing where nothing is."""
        node = child(self.root, loc)
        if node is None:
            return
        fields, items = node.fields or {}, node.items or ()
        some = {name: entry for name, entry in fields.items() if kept(name, entry.node)}
        left = tuple([item for at, item in enumerate(items) if kept(at, item)])
        if len(some) + len(left) < len(fields) + len(items):
            new = replace(node, fields=some) if fields else replace(node, items=left)
            self.put(loc, new if some or left else None)

    def keep_zips(self) -> None:
        """Groups of two axes and more that are sure."""
        node = child(self.root, ("zip",))
        nested = node is not None and any(item.items is not None for item in node.items or ())
        locs: list[Loc] = [("zip", at) for at in range(len(node.items or ()))] if node else []
        for loc in reversed(locs) if nested else [("zip",)]:
            before = len((child(self.root, loc) or Node(Mark())).items or ())
            self.keep(loc, lambda _, name: name.text not in self.unsure)
            left = child(self.root, loc)
            if left is not None and len(left.items or ()) == 1 < before:
                self.put(loc, None)

    def put(self, loc: Loc, node: Node | None) -> None:
        """Another node at this place, or none."""
        if node is not None:
            self.root = replaced(self.root, loc, node)
        elif loc:
            last = loc[-1]
            self.keep(loc[:-1], lambda name, _: name != last)


def _texts(node: Node) -> Iterator[str]:
    for entry in (node.fields or {}).values():
        yield from _texts(entry.node)
    for item in node.items or ():
        yield from _texts(item)
    if node.text:
        yield node.text
