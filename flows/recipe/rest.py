"""What is left of a recipe without its mistakes of form, so that all others are told at once.

Only what is sound is looked at: steps without the fields that are wrong, outputs that are right.
Whatever a step that was wrong says further, or one that reads it, or the defaults that both have,
may follow from the mistake alone and is not told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from flows.problems import Mark, Problem
from flows.recipe.node import Field, Loc, Node, Source, replaced

# Defaults without which no step is wrong.
_FREE = frozenset({"seed", "steps", "guidance", "size", "fit", "negative_prompt"})
_LAST = Mark(1_000_000_000, 1)


@dataclass(frozen=True, slots=True)
class Rest:
    """The tree without what is wrong, and the places in it that say nothing reliable."""

    source: Source
    hidden: tuple[tuple[Mark, Mark], ...]

    def told(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        """Those of the rest's problems that do not follow from what was taken out."""
        for one in problems:
            mark = one.mark if one.path == self.source.path else None
            if mark is None or not any(begin <= mark < end for begin, end in self.hidden):
                yield one


def rest_of(source: Source, wrong: Sequence[Loc]) -> Rest | None:
    """The recipe without what is ``wrong``; ``None`` where too much hangs on that."""
    steps = _fields(source.root, "steps")
    taken: dict[Loc, None] = {}
    for loc in wrong:
        within, much = (loc[0], len(loc)) if loc else ("", 0)
        if within == "steps" and much > 1 and loc[2:3] != ("op",) and loc[1] in steps:
            taken[loc[:3]] = None
        elif (within == "outputs" and much > 1) or (
            within == "defaults" and much > 1 and loc[1] in _FREE
        ):
            taken[loc[:2]] = None
        else:
            return None
    unsure = _readers(steps, {str(loc[1]) for loc in taken if loc[0] == "steps"})
    if any(steps[name].node.file or steps[name].node.origin for name in unsure):
        return None
    outputs = source.node(("outputs",))
    for index, item in enumerate((outputs.items if outputs is not None else None) or ()):
        if unsure & set(_texts(item)):
            taken["outputs", index] = None
    root = source.root
    for loc in sorted(taken, key=str, reverse=True):
        if loc[0] == "defaults" or len(loc) > 2:
            root = _without(root, loc)
    for name in {loc[1] for loc in taken if loc[0] == "steps"}:
        root = _worded(root, str(name))
    gone = {loc[1] for loc in taken if loc[0] == "outputs"}
    if gone and outputs is not None:
        left = tuple(item for at, item in enumerate(outputs.items or ()) if at not in gone)
        entry = (root.fields or {})["outputs"]
        fields = {**(root.fields or {}), "outputs": Field(entry.key, replace(outputs, items=left))}
        if not left:
            del fields["outputs"]
        root = replace(root, fields=fields)
    hidden = tuple(_extents(source.root, unsure)) if unsure else ()
    return Rest(replace(source, root=root), hidden)


def _readers(steps: dict[str, Field], wrong: Collection[str]) -> set[str]:
    """The wrong steps and all that may be made from them: that name one, or name none for sure."""
    unsure, before = set(wrong), 0
    while before < len(unsure):
        before = len(unsure)
        for name, entry in steps.items():
            image = (entry.node.fields or {}).get("image")
            filled_in = image is not None and any("{" in text for text in _texts(image.node))
            if unsure and (filled_in or unsure & set(_texts(entry.node))):
                unsure.add(name)
    return unsure


def _extents(root: Node, unsure: Collection[str]) -> Iterator[tuple[Mark, Mark]]:
    """From where to where each of these steps is written, and the defaults."""
    sections, steps = root.fields or {}, _fields(root, "steps")
    marks = sorted(entry.key for entry in (*sections.values(), *steps.values()))
    begins = [steps[name].key for name in unsure]
    begins += [sections["defaults"].key] if "defaults" in sections else []
    for begin in begins:
        yield begin, next((mark for mark in marks if mark > begin), _LAST)


def _fields(root: Node, section: str) -> dict[str, Field]:
    entry = (root.fields or {}).get(section)
    return dict(entry.node.fields or {}) if entry is not None else {}


def _texts(node: Node) -> Iterator[str]:
    for entry in (node.fields or {}).values():
        yield from _texts(entry.node)
    for item in node.items or ():
        yield from _texts(item)
    if node.text:
        yield node.text


def _worded(root: Node, name: str) -> Node:
    """With some prompt in a step whose own was taken out or misspelt."""
    step = _fields(root, "steps")[name].node
    if step.fields is None or "prompt" in step.fields:
        return root
    words = Field(step.mark, Node(step.mark, "-", "-"))
    return replaced(root, ("steps", name), replace(step, fields={**step.fields, "prompt": words}))


def _without(node: Node, loc: Loc) -> Node:
    """The tree without the field at ``loc``, whether or not it was there."""
    fields = dict(node.fields or {})
    entry = fields.get(str(loc[0]))
    if entry is None:
        return node
    if len(loc) == 1:
        del fields[str(loc[0])]
    else:
        fields[str(loc[0])] = Field(entry.key, _without(entry.node, loc[1:]))
    return replace(node, fields=fields)
