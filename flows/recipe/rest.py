"""What is left of a recipe without what is wrong with it, so that all else is told at once.

Left out are the steps and outputs that hold a mistake, and all that may be made from such a step:
what they say further may follow from that mistake alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from flows.problems import Mark, Problem
from flows.recipe.node import Field, Loc, Node, Source

# Defaults without which no step is wrong.
_FREE = frozenset({"seed", "steps", "guidance", "size", "fit", "negative_prompt"})


def rest_of(source: Source, wrong: Sequence[Loc]) -> Source | None:
    """The tree without what holds these places; ``None`` where all may hang on one of them."""
    steps, outputs, root = set[str](), set[int](), source.root
    for loc in wrong:
        within, which = loc[0] if loc else "", loc[1] if len(loc) > 1 else None
        if within == "steps" and which in _fields(root, "steps"):
            steps.add(str(which))
        elif within == "outputs" and isinstance(which, int):
            outputs.add(which)
        elif within == "defaults" and which in _FREE:
            defaults = _fields(root, "defaults")
            defaults.pop(str(which), None)
            root = _with(root, "defaults", Node(Mark(), fields=defaults) if defaults else None)
        else:
            return None
    return _without(replace(source, root=root), steps, outputs)


def rest_around(source: Source, problems: Iterable[Problem]) -> Source | None:
    """The same, without what holds these problems."""
    places = list(_places(source.root))
    wrong: list[Loc] = []
    for one in problems:
        before = [place for place in places if one.mark is not None and place[0] <= one.mark]
        if one.path != source.path or not before or not before[-1][1]:
            return None
        wrong.append(before[-1][1])
    return rest_of(source, wrong)


def _places(root: Node) -> Iterator[tuple[Mark, Loc]]:
    """Where each step and each output begins, in order; other sections mean nothing."""
    found: list[tuple[Mark, Loc]] = [(entry.key, ()) for entry in (root.fields or {}).values()]
    steps = _fields(root, "steps").items()
    found += [(entry.key, ("steps", name)) for name, entry in steps if not entry.node.file]
    outputs = (root.fields or {}).get("outputs")
    items = (outputs.node.items if outputs is not None else None) or ()
    found += [(item.mark, ("outputs", at)) for at, item in enumerate(items) if not item.file]
    return iter(sorted(found))


def _without(source: Source, wrong: Collection[str], outputs: set[int]) -> Source | None:
    steps = _fields(source.root, "steps")
    unsure = _readers(steps, wrong)
    left = {name: entry for name, entry in steps.items() if name not in unsure}
    if not left:
        return None
    root, node = source.root, source.node(("outputs",))
    if len(left) < len(steps):
        root = _with(root, "steps", replace(root.fields["steps"].node, fields=left))  # type: ignore[index]
    if node is not None and node.items is not None:
        kept = tuple(
            item
            for at, item in enumerate(node.items)
            if at not in outputs and not unsure & set(_texts(item))
        )
        root = _with(root, "outputs", replace(node, items=kept) if kept else None)
    return replace(source, root=root)


def _readers(steps: dict[str, Field], wrong: Collection[str]) -> set[str]:
    """The wrong steps and all that may be made from them: that name one, or name none for sure."""
    unsure, before = set(wrong), 0
    while before < len(unsure):
        before = len(unsure)
        for name, entry in steps.items():
            image = (entry.node.fields or {}).get("image")
            filled_in = image is not None and any("{" in text for text in _texts(image.node))
            if filled_in or unsure & set(_texts(entry.node)):
                unsure.add(name)
    return unsure


def _fields(root: Node, section: str) -> dict[str, Field]:
    entry = (root.fields or {}).get(section)
    return dict(entry.node.fields or {}) if entry is not None else {}


def _with(root: Node, section: str, node: Node | None) -> Node:
    """The tree with another section, or without it."""
    fields = dict(root.fields or {})
    entry = fields.pop(section)
    return replace(root, fields={**fields, section: Field(entry.key, node)} if node else fields)


def _texts(node: Node) -> Iterator[str]:
    for entry in (node.fields or {}).values():
        yield from _texts(entry.node)
    for item in node.items or ():
        yield from _texts(item)
    if node.text:
        yield node.text
