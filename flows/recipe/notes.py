"""What a recipe says without effect, or says otherwise than it seems: noted, never silent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from flows.problems import Problem, did_you_mean
from flows.recipe.axes import Axis
from flows.recipe.effects import setting
from flows.recipe.graph import StepNode
from flows.recipe.node import Loc, Node
from flows.recipe.recipe import setting_loc
from flows.recipe.review import Review

_BRACES = re.compile(r"\{\{|\}\}|\{\s*([A-Za-z][\w-]*)(?:\.[A-Za-z][\w-]*)?\s*\}")
_DOUBLED = re.compile(r"\{\{\s*([A-Za-z][\w-]*)(?:\.[A-Za-z][\w-]*)?\s*\}\}")
_DOLLAR = re.compile(r"\$\{\s*([A-Za-z][\w-]*)(?:\.[A-Za-z][\w-]*)?\s*\}")


def note_silent(review: Review, axes: Mapping[str, Axis], nodes: Mapping[str, StepNode]) -> None:
    """Note settings, variables and braces that do not do what their author may think."""
    written = list(_scalars(review.recipe.written.root, ()))
    _note_unused(review, written)
    _note_braces(review, axes, written)
    _note_cells(review)
    _note_settings(review, nodes)
    _note_empty(review)


def _scalars(node: Node, loc: Loc) -> Iterator[tuple[Loc, Node]]:
    if node.fields is not None:
        for name, entry in node.fields.items():
            yield from _scalars(entry.node, (*loc, name))
    elif node.items is not None:
        for index, item in enumerate(node.items):
            yield from _scalars(item, (*loc, index))
    elif node.text:
        yield loc, node


def _note_unused(review: Review, written: list[tuple[Loc, Node]]) -> None:
    """Variables and parameters that no text holds."""
    document = review.recipe.document
    used = {found[1] for _, node in written for found in _BRACES.finditer(node.text) if found[1]}
    for section, names in (
        ("variables", document.variables),
        ("parameters", document.parameters),
    ):
        for name in names:
            if name not in used:
                what = section.removesuffix("s")
                _note(review, (section, name), f"nothing uses the {what} '{name}'", key=True)


def _note_braces(review: Review, axes: Mapping[str, Axis], written: list[tuple[Loc, Node]]) -> None:
    known = {*axes, *review.recipe.variables}
    for loc, node in written:
        if loc[0] not in ("variables", "parameters", "inputs", "matrix", "steps", "outputs"):
            continue
        for found in _DOLLAR.finditer(node.text):
            if found[1] in known:
                text = f"the '$' of '{found[0]}' stays in the text; write {found[0][1:]} without it"
                _note(review, loc, text)
        for found in _DOUBLED.finditer(node.text):
            if found[1] in known:
                plain = found[0][1:-1]
                text = f"'{found[0]}' stays as {plain}, in braces; write {plain} to fill it in"
                _note(review, loc, text)
        if _stays(loc):
            for found in _BRACES.finditer(node.text):
                if found[1] and found[1] not in review.recipe.variables:
                    hint = did_you_mean(found[1], review.recipe.variables)
                    why = hint or "only variables are filled in here"
                    _note(review, loc, f"'{found[0]}' stays as it is: {why}")


def _note_cells(review: Review) -> None:
    """Braces in a table's cells around the name of a variable: one line for each."""
    recipe, found = review.recipe, dict[tuple[str, str], list[Node]]()
    for section in ("inputs", "matrix"):
        written = recipe.written.node((section,))
        for axis, entry in ((written.fields if written is not None else None) or {}).items():
            if "table" not in (entry.node.fields or {}):
                continue
            for _, node in _scalars(recipe.source.node((section, axis)) or entry.node, ()):
                if "{" not in node.text:  # as nearly all of thousands
                    continue
                named = {match[1] for match in _BRACES.finditer(node.text)}
                for name in sorted(named & recipe.variables.keys()):
                    found.setdefault((str(node.file), name), []).append(node)
    for (table, name), nodes in found.items():
        more = f", here and in {len(nodes) - 1} more" if len(nodes) > 1 else ""
        text = f"'{{{name}}}' stays as it is{more}: cells of a table are not filled in; "
        text += "write it where the column is used"
        review.warnings.append(str(Problem(table, nodes[0].mark, text)))


def _stays(loc: Loc) -> bool:
    """Whether braces in the text at ``loc`` are filled in by variables alone."""
    if loc[0] == "matrix" and len(loc) > 2 and isinstance(loc[2], str):
        return False  # of a table: its columns are filled in, and told if they are not there
    if loc[0] == "inputs" and len(loc) > 2 and loc[2] in ("file", "name"):
        return False
    return loc[0] in ("variables", "matrix", "inputs")


def _note_settings(review: Review, nodes: Mapping[str, StepNode]) -> None:
    """Settings that no picture feels."""
    recipe = review.recipe
    edits = any(node.spec.op == "edit" for node in nodes.values())
    for node in nodes.values():
        if node.spec.op == "generate" and (node.spec.fit is not None or not edits) and (
            setting(recipe, node.id, "fit") is not None
        ):  # fmt: skip
            text = "'fit' has no effect where nothing is edited"
            _note(review, setting_loc(recipe, node.id, "fit"), text, key=True)
        cfg = setting(recipe, node.id, "true_cfg")
        if node.spec.negative_prompt is not None and node.negative is None and cfg is not None:
            text = f"'negative_prompt' has no effect with 'true_cfg: {cfg:g}'; write one above 1"
            _note(review, ("steps", node.id, "negative_prompt"), text, key=True)
    for field in type(recipe.document.defaults).model_fields:
        own = [
            getattr(node.spec, field) is not None
            for node in nodes.values()
            if field != "fit" or node.spec.op == "edit"
        ]
        if getattr(recipe.document.defaults, field) is not None and own and all(own):
            text = f"every step has its own '{field}', so this has no effect"
            _note(review, ("defaults", field), text, key=True)


def _note_empty(review: Review) -> None:
    node = review.recipe.source.node(("matrix",))
    for name, entry in ((node.fields if node is not None else None) or {}).items():
        for index, item in enumerate(entry.node.items or ()):
            value = (item.fields or {}).get("value")
            if value is not None and value.node.value == "":
                text = f"'value' is empty, so {{{name}}} stands for the name"
                review.note(("matrix", name, index, "value"), text)


def _note(review: Review, loc: Loc, text: str, *, key: bool = False) -> None:
    line = str(review.recipe.written.problem(loc, text, key=key))
    if line not in review.warnings:
        review.warnings.append(line)
