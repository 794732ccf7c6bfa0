"""A step's ``keep`` or ``region``, checked: what it names, and what it cannot be together with."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flows.recipe.node import Loc
from flows.recipe.recipe import setting_loc
from flows.recipe.region import RegionSpec
from flows.recipe.review import Review
from flows.recipe.stepspec import StepSpec
from kontext_engine.geometry import Size

_WAYS = ("mask", "box", "alpha")


def region_of(spec: StepSpec) -> tuple[str, RegionSpec] | None:
    """``keep`` or ``region``, and what it says."""
    if spec.keep is not None:
        return "keep", spec.keep
    return None if spec.region is None else ("region", spec.region)


def mask_source(review: Review, name: str, spec: StepSpec) -> tuple[str, ...]:
    """The step or input that a step's mask is, if it is one and not a file."""
    found = region_of(spec)
    document = review.recipe.document
    if found is None or found[1].mask is None:
        return ()
    mask = found[1].mask
    if mask in document.steps:
        if mask != name and document.steps[mask].op == "cutout":
            return (mask,)
        text = (
            f"the mask '{mask}' is a step of op '{document.steps[mask].op}'; expected one of op "
            "'cutout', an input or a file; name one of them"
        )
        review.wrong(("steps", name, found[0], "mask"), text)
    return (mask,) if mask in document.inputs else ()


def check_region(review: Review, name: str) -> None:
    """Whether a step may have its region; mistakes are noted."""
    recipe = review.recipe
    spec = recipe.document.steps[name]
    found = region_of(spec)
    if found is None:
        return
    kind, said = found
    loc: Loc = ("steps", name, kind)
    if spec.keep and spec.region:
        text = "'keep' and 'region' at once; expected one of them; remove one"
        review.wrong(("steps", name, "region"), text, key=True)
    if spec.op != "edit":
        text = f"'{kind}' has no effect on op '{spec.op}'; expected an edit; remove it"
        review.wrong(loc, text, key=True)
    ways = [way for way in _WAYS if getattr(said, way) is not None]
    if len(ways) != 1:
        told = " and ".join(f"'{way}'" for way in ways) if ways else "nothing that says where"
        text = f"'{kind}' has {told}; expected one of 'mask', 'box' and 'alpha: true'; write one"
        review.wrong(loc, text, key=True)
    if said.fit is not None and said.mask is None:
        review.wrong((*loc, "fit"), "'fit' is for a mask; expected 'mask' beside it; remove it")
    _check_sizes(review, name, kind)


def _check_sizes(review: Review, name: str, kind: str) -> None:
    recipe = review.recipe
    for field in ("size", "fit"):
        own = getattr(recipe.document.steps[name], field)
        value = own if own is not None else getattr(recipe.document.defaults, field)
        if value is not None and value != "match":
            text = (
                f"step '{name}' has '{kind}', so its picture has its source's size; expected no "
                f"'{field}'; remove it, or size the file under 'outputs'"
            )
            review.wrong(setting_loc(recipe, name, field), text, key=True)


def box_in_pixels(sides: Sequence[int | str], size: Size | None) -> tuple[int, int, int, int]:
    """A box's sides as pixels of a picture; of none, an empty box."""
    if size is None:
        return 0, 0, 0, 0
    left, top, right, bottom = (
        side if isinstance(side, int) else round(float(side[:-1]) / 100 * length)
        for side, length in zip(sides, (*size, *size), strict=True)
    )
    return left, top, right, bottom


def wrong_box(box: tuple[int, int, int, int], size: Size, kind: str, feather: int) -> str | None:
    """Why a box cannot be used on a picture of this size."""
    left, top, right, bottom = box
    if not (0 <= left < right <= size.width and 0 <= top < bottom <= size.height):
        return (
            f"the box {list(box)} is empty or reaches outside the picture ({size}); expected left, "
            "top, right, bottom inside it; mend it"
        )
    if box == (0, 0, *size):
        return f"the box is the whole picture ({size}); expected a part of it; make it smaller"
    if feather and _room(box, size, kind) <= feather + feather % 2:
        where = "the box" if kind == "region" else "what may change around the box"
        return (
            f"a feather of {feather} pixels is wider than {where} {list(box)}; expected less; make "
            "it smaller"
        )
    return None


def _room(box: tuple[int, int, int, int], size: Size, kind: str) -> float:
    """How far from all that is kept a pixel may lie, as a king walks."""
    left, top, right, bottom = box
    if kind == "keep":
        return max(left, top, size.width - right, size.height - bottom)
    rooms = []
    for begin, end, side in ((left, right, size.width), (top, bottom, size.height)):
        walls = (begin > 0) + (end < side)
        rooms.append(math.ceil((end - begin) / walls) if walls else math.inf)
    return min(rooms)
