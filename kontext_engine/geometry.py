"""Sizes: what the caller asked for, what the model takes, and how one becomes the other.

Torch-free. Sizes are (width, height) in pixels. Nothing is stretched unasked.

The rules, for a model of pixel area A and size multiple m:

* No size asked for: the first context sets the target. It is scaled to about A pixels at its own
  aspect, to the nearest multiples of m; what could have been made so is left as it is, so that a
  chain of edits keeps its size. ``crop`` scales it to cover the target and cuts the few pixels of
  overflow; ``pad`` fits it inside, extends its edges, and cuts the *output* back to the source's
  aspect; ``stretch`` scales each side to the target.
* A size asked for: the output has exactly that size, a multiple of m. The first context is
  brought to the same size by ``fit``, so that an edit stays in register with its source. ``pad``
  keeps all of the source, and the model paints the margin: there is nothing to cut back.
  ``whole`` instead shows the model the source at its own aspect and area, and lets it recompose.
* Further contexts are references: each goes to the model's area at its own aspect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from kontext_engine.errors import GeometryError

MAX_PIXELS = 80_000_000  # of a picture that is read: far above any camera's useful detail here
MAX_ASPECT = 8.0  # the longer side over the shorter; the model saw up to 2.4
MAX_AREA_RATIO = 4  # of the target's area over the model's: beyond, pictures repeat themselves

# Of these rules. In version 1 every source was scaled to the multiples nearest to its aspect, also
# one that the model itself had made: each further edit could change its size.
GEOMETRY_VERSION = 2


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def area(self) -> int:
        """Pixels."""
        return self.width * self.height


class Fit(StrEnum):
    """How a source of another aspect is brought to a size."""

    CROP = "crop"  # cover the size, cut the overflow
    PAD = "pad"  # fit inside, extend the edges
    STRETCH = "stretch"  # each side on its own
    WHOLE = "whole"  # not at all: the source keeps its aspect, only the output has the size


@dataclass(frozen=True, slots=True)
class Placement:
    """How one picture was brought to a size: scaled to ``scaled``, then ``box`` cut or padded.

    ``box`` is (left, top, right, bottom) in the scaled picture's pixels; negative or overhanging
    values mean padding.
    """

    source: Size
    scaled: Size
    box: tuple[int, int, int, int]
    fit: Fit

    @property
    def size(self) -> Size:
        """The size the picture has when placed: the box's."""
        left, top, right, bottom = self.box
        return Size(right - left, bottom - top)

    @property
    def content(self) -> tuple[int, int, int, int]:
        """Where the source lies in the placed picture: (left, top, right, bottom)."""
        left, top = max(0, -self.box[0]), max(0, -self.box[1])
        width = min(self.scaled.width, self.size.width)
        height = min(self.scaled.height, self.size.height)
        return left, top, left + width, top + height

    @property
    def lost(self) -> float:
        """The share of the source's area that was cut off, 0 to 1."""
        left, top, right, bottom = self.content
        return 1.0 - (right - left) * (bottom - top) / self.scaled.area


@dataclass(frozen=True, slots=True)
class GeometryRecord:
    """What was done to sizes on the way: each context's placement, the model's and final size.

    ``output`` is smaller than ``target`` only where padding of the first context was cut back.
    """

    target: Size
    output: Size
    contexts: tuple[Placement, ...] = ()

    @property
    def output_box(self) -> tuple[int, int, int, int]:
        """The part of the model's picture that is handed out: (left, top, right, bottom)."""
        if self.output == self.target:
            return 0, 0, *self.target
        return self.contexts[0].content


def model_size(source: Size, area: int, multiple: int) -> Size:
    """The size in multiples that a source is brought to: its own, if that is one of the model's.

    It is if sides within half a multiple of the source's have ``area`` pixels; else the nearest
    such size to the source's aspect is meant. So ``model_size(model_size(s)) == model_size(s)``.

    Raises:
        GeometryError: the source is empty, or longer than 8:1.
    """
    check_aspect(source, "the picture")
    if not any(side % multiple for side in source):
        least = math.prod(2 * side - multiple for side in source)
        most = math.prod(2 * side + multiple for side in source)
        if (least <= 4 * area or min(source) == multiple) and 4 * area <= most:
            return source
    return _nearest(source.width / source.height, area, multiple)


def _nearest(aspect: float, area: int, multiple: int) -> Size:
    width, height = math.sqrt(area * aspect), math.sqrt(area / aspect)
    return Size(_to_multiple(width, multiple), _to_multiple(height, multiple))


def _padded_size(source: Size, area: int, multiple: int) -> Size:
    """The size to pad a source to: one that needs no scaling, where its aspect may have been made.

    The sides are whole pixels, so the aspect is known to half a pixel of the one that is not in
    multiples. Of all sizes in its reach, one holds the picture that padding to it once made.
    """

    def unscaled(size: Size) -> bool:
        return place(source, size, Fit.PAD).scaled == source

    target = model_size(source, area, multiple)
    if unscaled(target):
        return target
    width, height = source
    sizes = [Size(width, side) for side in _in_reach(width, height, area, multiple)]
    sizes += [Size(side, height) for side in _in_reach(height, width, area, multiple)]
    return min(filter(unscaled, sizes), key=lambda size: abs(size.area - area), default=target)


def _in_reach(exact: int, other: int, area: int, multiple: int) -> range:
    """Lengths of the other side that belong to ``exact`` for some aspect within half a pixel."""
    if exact % multiple:
        return range(0)
    # As ratios of the other side to this one: those that the pixels allow, and those that have
    # this side as their nearest multiple.
    lowest = max((other - 0.5) / exact, area / (exact + multiple / 2) ** 2)
    shorter = exact - multiple / 2
    highest = min((other + 0.5) / exact, area / shorter**2 if exact > multiple else math.inf)
    if lowest > highest:
        return range(0)
    least, most = (_to_multiple(math.sqrt(area * r), multiple) for r in (lowest, highest))
    return range(max(least, multiple), most + 1, multiple)


def _to_multiple(length: float, multiple: int) -> int:
    return max(multiple, math.floor(length / multiple + 0.5) * multiple)


def place(source: Size, target: Size, fit: Fit) -> Placement:
    """Bring a source to exactly ``target``, centred: by crop, pad or stretch."""
    if fit is Fit.STRETCH:
        return Placement(source, target, (0, 0, *target), fit)
    ratios = target.width / source.width, target.height / source.height
    scale = max(ratios) if fit is Fit.CROP else min(ratios)
    scaled = Size(
        *(_scaled(length, scale, limit) for length, limit in zip(source, target, strict=True))
    )
    # Floor division also centres padding, where the difference is negative.
    left = (scaled.width - target.width) // 2
    top = (scaled.height - target.height) // 2
    return Placement(source, scaled, (left, top, left + target.width, top + target.height), fit)


def _scaled(length: int, scale: float, limit: int) -> int:
    scaled = max(1, round(length * scale))
    # The side that decides the scale must meet the target exactly, whatever the rounding.
    return limit if abs(length * scale - limit) < 1e-6 * limit else scaled


def plan_geometry(
    contexts: Sequence[Size],
    requested: Size | None,
    fit: Fit,
    *,
    area: int,
    multiple: int,
    default: Size,
    version: int = GEOMETRY_VERSION,
) -> GeometryRecord:
    """Decide the target's and every context's size (the rules above).

    Args:
        contexts: the context pictures' sizes, the edited picture first.
        requested: the size asked for, or ``None`` to follow the first context.
        fit: how the first context meets a target of another aspect.
        area: the model's pixel area.
        multiple: what both sides of every picture must divide by.
        default: the target when there is neither a size nor a context.
        version: of the rules: this one, or 1 to know what they were.

    Raises:
        GeometryError: a requested size that the model cannot make, or an extreme aspect.
    """

    def followed(source: Size, fit: Fit) -> Size:
        if version == 1:
            return _nearest(source.width / source.height, area, multiple)
        own = _padded_size if fit is Fit.PAD else model_size
        return own(source, area, multiple)

    for number, source in enumerate(contexts, start=1):
        check_aspect(source, f"context picture {number}")
    if requested is not None:
        check_target(requested, area, multiple)
        target = Size(*requested)
    else:
        target = followed(contexts[0], fit) if contexts else default
    placements = tuple(
        place(source, target, fit)
        if index == 0 and fit is not Fit.WHOLE
        else place(source, followed(source, Fit.CROP), Fit.CROP)
        for index, source in enumerate(contexts)
    )
    output = target
    if requested is None and fit is Fit.PAD and placements:
        output = placements[0].scaled
    return GeometryRecord(target, output, placements)


def check_aspect(source: Size, what: str) -> None:
    """Refuse an empty picture, or one longer than 8:1.

    Raises:
        GeometryError: with ``what`` as the message's subject.
    """
    if min(source) < 1:
        raise GeometryError(f"{what} is {source}: both sides must be at least 1 pixel")
    if max(source) > MAX_ASPECT * min(source):
        raise GeometryError(
            f"{what} is {source}: sides differ by more than {MAX_ASPECT:g} to 1, which the model "
            "cannot place; crop it first"
        )


def check_target(size: Size, area: int, multiple: int) -> None:
    """Refuse a target that the model cannot make, naming the nearest one that it can.

    Raises:
        GeometryError: not multiples of ``multiple``, longer than 8:1, or over 4 times ``area``.
    """
    size = Size(*size)
    if min(size) < 1:
        raise GeometryError(f"size {size}: both sides must be positive")
    check_aspect(size, "the size asked for")
    nearest = Size(*(_to_multiple(length, multiple) for length in size))
    if size != nearest:
        raise GeometryError(
            f"size {size}: both sides must be multiples of {multiple}; the nearest is {nearest}"
        )
    if size.area > MAX_AREA_RATIO * area:
        raise GeometryError(
            f"size {size}: {size.area} pixels are more than {MAX_AREA_RATIO} times the {area} "
            f"that this model was trained at; ask for {model_size(size, area, multiple)} "
            "and enlarge the picture afterwards"
        )
