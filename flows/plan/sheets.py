"""Contact sheets planned: which pictures each shows, in which order, with which words."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flows.plan.filing import credit_of, is_step
from flows.plan.fonts import SHIPPED, FontError, lacking
from flows.plan.outputs import Made, check_path, rendered, takes_of, unsafe
from flows.plan.step import PlannedOutput, PlannedSheet, SheetFormat, SourceImage, Tile
from flows.problems import unknown_name
from flows.recipe.axes import Axis, Value
from flows.recipe.graph import StepNode
from flows.recipe.handout import SheetSpec
from flows.recipe.inputs import resolve_file
from flows.recipe.matrix import Variant
from flows.recipe.node import Loc
from flows.recipe.placeholders import BUILTINS, TAKE, look_up, read_template
from flows.recipe.review import Review
from flows.recipe.template import Placeholder, Template

_FORMATS: Mapping[str, SheetFormat] = {".pdf": "pdf", ".png": "png", ".html": "html"}
MAX_TILES = 2000  # of one sheet
_TOLD = 12  # signs in a note
Axes = Mapping[str, Axis]


def plan_sheets(
    review: Review,
    axes: Axes,
    nodes: Mapping[str, StepNode],
    made: Made,
    outputs: Sequence[PlannedOutput],
) -> tuple[PlannedSheet, ...]:
    """Every contact sheet of a recipe; mistakes are noted."""
    taken = {output.path.casefold() for output in outputs}
    found: list[PlannedSheet] = []
    for index, spec in enumerate(review.recipe.document.outputs):
        if isinstance(spec, SheetSpec):
            for sheet in _sheets(review, ("outputs", index), spec, axes, nodes, made):
                if sheet.path.casefold() in taken:
                    text = (
                        f"two outputs are written to '{sheet.path}'; expected a name for each; "
                        "make the names differ"
                    )
                    review.wrong(("outputs", index, "name"), text)
                taken.add(sheet.path.casefold())
                found.append(sheet)
    return tuple(found)


def _sheets(
    review: Review,
    loc: Loc,
    spec: SheetSpec,
    axes: Axes,
    nodes: Mapping[str, StepNode],
    made: Made,
) -> Iterator[PlannedSheet]:
    """The sheets of one entry: one for each name that its own becomes."""
    if not is_step(review, (*loc, "sheet"), spec.sheet, "outputs"):
        return
    if spec.sheet not in nodes:  # one in a circle
        return
    before, node = len(review.problems), nodes[spec.sheet]
    builtins = (*BUILTINS, TAKE) if node.takes > 1 or not made else BUILTINS
    stem, kind = _split(review, loc, spec)
    name = read_template(review, (*loc, "name"), stem, axes, builtins)
    if name.parts and (wrong := unsafe(name)):
        review.wrong((*loc, "name"), wrong)
    caption = None
    if spec.caption is not None:
        caption = read_template(review, (*loc, "caption"), spec.caption, axes, builtins)
    place = _place(review, loc, spec, axes)
    font = _font(review, loc, spec, kind)
    told = credit_of(review, spec.metadata)
    if len(review.problems) > before:
        return
    groups: dict[str, dict[str, Tile]] = {}
    rows = list(takes_of(made, spec.sheet))
    for variant, take, keys in sorted(rows, key=lambda row: place(row[0])):
        path = f"{rendered(review.recipe, spec.sheet, name, variant, take)}.{kind}"
        key = keys[spec.sheet][take - 1]
        text = _caption(review, caption, node, axes, variant, take)
        groups.setdefault(path, {}).setdefault(key, Tile(key, text))
    if kind == "html" and told.certificate:
        what = f"{len(groups)} contact sheets are" if len(groups) > 1 else "the contact sheet is"
        text = f"{what} HTML, which cannot be signed (C2PA); name a .pdf or .png to have it signed"
        review.note((*loc, "name"), text)
        told = replace(told, certificate="")
    for path, tiles in groups.items():
        if wrong := check_path(path):
            review.wrong((*loc, "name"), wrong)
        if len(tiles) > MAX_TILES:
            text = (
                f"the sheet '{path}' has {len(tiles)} pictures; expected at most {MAX_TILES}; "
                "split it by a variable in its name"
            )
            review.wrong((*loc, "sheet"), text)
        yield PlannedSheet(
            path,
            kind,
            review.recipe.name,
            tuple(tiles.values()),
            spec.columns,
            spec.page or "a4-landscape",
            spec.missing,
            font,
            told,
        )
    if kind != "html":
        every = [tile.caption for tiles in groups.values() for tile in tiles.values()]
        _note_lacking(review, loc, spec, font, [review.recipe.name, *every])


def _split(review: Review, loc: Loc, spec: SheetSpec) -> tuple[str, SheetFormat]:
    """A sheet's name without its ending, and the format that this says."""
    name = spec.name or f"{spec.sheet}.pdf"
    stem, dot, ending = name.rpartition(".")
    kind = _FORMATS.get(dot + ending.lower()) if stem else None
    if kind is None:
        text = f"'{name}' is no contact sheet; expected a name that ends in .pdf, .png or .html; "
        review.wrong((*loc, "name"), f"{text}add one of these")
        return name, "pdf"
    for field in ("page",) if kind == "png" else ("page", "font") if kind == "html" else ():
        if getattr(spec, field) is not None:
            wanted = "pdf" if field == "page" else "pdf or png"
            text = f"'{field}' has no effect on {kind}; expected {wanted}; remove it"
            review.wrong((*loc, field), text, key=True)
    return stem, kind


def _place(
    review: Review, loc: Loc, spec: SheetSpec, axes: Axes
) -> Callable[[Variant], tuple[float, str]]:
    """Where a variant's picture stands; a mistake is noted."""
    if spec.order is None:
        return _anywhere
    axis, _, field = spec.order.partition(".")
    if axis not in axes:
        text = unknown_name("axis", axis, "order", axes, "matrix")
        review.wrong((*loc, "order"), text)
        return _anywhere
    values = axes[axis].values
    if not field:
        numbers = {value.name: number for number, value in enumerate(values)}
        return lambda variant: (numbers[variant.values[axis].name], "")
    without = next((value for value in values if field not in value.attributes), None)
    if without is not None:
        text = (
            f"'{axis}' has no '.{field}' for '{without.name}' in order; expected it for every "
            "value; add it"
        )
        review.wrong((*loc, "order"), text)
        return _anywhere
    texts = [value.attributes[field] for value in values]
    if all(map(_is_number, texts)):
        return lambda variant: (float(variant.values[axis].attributes[field]), "")
    return lambda variant: (0.0, variant.values[axis].attributes[field])


def _anywhere(_: Variant) -> tuple[float, str]:
    return 0.0, ""


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False


def _caption(
    review: Review,
    caption: Template | None,
    node: StepNode,
    axes: Axes,
    variant: Variant,
    take: int,
) -> str:
    values: Mapping[str, Value] = variant.values
    if caption is None:
        names = [values[axis].name for axis in node.axes if axes[axis].shown]
        return " · ".join([*names, str(take)] if node.takes > 1 else names) or node.id
    recipe = review.recipe
    builtin = {"step": node.id, "variant": variant.id, "recipe": recipe.name, TAKE: str(take)}

    def fill(item: Placeholder) -> str:
        known = item.name in values or item.name in recipe.variables
        if item.attribute is None and item.name in builtin and not known:
            return builtin[item.name]
        return look_up(recipe, item, values)

    return caption.render(fill).strip()


def _font(review: Review, loc: Loc, spec: SheetSpec, kind: SheetFormat) -> SourceImage | None:
    if spec.font is None or kind == "html":
        return None
    path = resolve_file(review, (*loc, "font"), spec.font, "a font")
    if path is None:
        return None
    try:
        lacking(path, ())
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except (FontError, OSError) as error:
        text = (
            f"'{path.name}' is no font to write with ({error}); expected a TrueType file (.ttf); "
            "name another"
        )
        review.wrong((*loc, "font"), text)
        return None
    return SourceImage(f"font of {spec.sheet}", path, digest)


def _note_lacking(
    review: Review, loc: Loc, spec: SheetSpec, font: SourceImage | None, texts: Iterable[str]
) -> None:
    """Tell of signs that would stand as boxes."""
    path = SHIPPED if font is None else font.path
    signs = lacking(path, texts) if isinstance(path, Path) else ""
    if signs:
        more = f" and {len(signs) - _TOLD} more" if len(signs) > _TOLD else ""
        text = (
            f"the font {'Noto Sans' if font is None else font.file} has no picture of "
            f"{' '.join(signs[:_TOLD])}{more}; name one that has by 'font'"
        )
        review.note((*loc, "caption" if spec.caption else "sheet"), text)
