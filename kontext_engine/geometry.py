"""Sizes: what the caller asked for, what the model takes, and how one becomes the other.

Torch-free. Sizes are (width, height) in pixels. Nothing is stretched unasked.

The rules, for a model of pixel area A and size multiple m:

* No size asked for: the first context sets the target. It is scaled to about A pixels at its own
  aspect, to the nearest multiples of m; one that such scaling could have made keeps its size, so
  that a picture passes through a chain as its first step left it. ``crop`` scales it to cover the
  target and cuts the few pixels of overflow; ``pad`` fits it inside, extends its edges, and cuts
  the *output* back to the source's aspect; ``stretch`` scales each side to the target.
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

MAX_ASPECT = 8.0  # the longer side over the shorter; the model saw up to 2.4
MAX_AREA_RATIO = 4  # of the target's area over the model's: beyond, pictures repeat themselves


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
    """The size of about ``area`` pixels nearest to the source's aspect, in multiples.

    A source in multiples, as near to ``area`` as rounding leaves any size, keeps its own.

    Raises:
        GeometryError: the source is empty, or longer than 8:1.
    """
    check_aspect(source, "the picture")
    if _is_made(source, area, multiple):
        return source
    return _nearest(source, area, multiple)


def _nearest(source: Size, area: int, multiple: int) -> Size:
    aspect = source.width / source.height
    width, height = math.sqrt(area * aspect), math.sqrt(area / aspect)
    return Size(_to_multiple(width, multiple), _to_multiple(height, multiple))


def _is_made(size: Size, area: int, multiple: int) -> bool:
    """Whether sides of exactly ``area`` pixels, of whatever aspect, could be rounded to this size.

    That is so where the half multiple around each side holds a pair with that product.
    """
    if size.width % multiple or size.height % multiple:
        return False
    least = math.prod(2 * side - multiple for side in size)
    most = math.prod(2 * side + multiple for side in size)
    # A side of one multiple is what any shorter one is rounded to.
    return (least <= 4 * area or min(size) == multiple) and 4 * area <= most


def _matched(source: Size, fit: Fit, area: int, multiple: int) -> Size:
    return (_padded_size if fit is Fit.PAD else model_size)(source, area, multiple)


def _padded_size(source: Size, area: int, multiple: int) -> Size:
    """The target of ``pad``: the one that leaves the source unscaled, where its aspect allows.

    A side is whole pixels, so an aspect is known to half a pixel. Without this a picture cut back
    from its padding could, by that half, fall to the next target, and back again.
    """
    size = model_size(source, area, multiple)
    for side in (0, 1):
        if source[side] % multiple == 0:
            for other in (source[1 - side] - 0.5, source[1 - side] + 0.5):
                found = _target_of(source[side], other, area, multiple)
                target = Size(*(found if side == 0 else found[::-1]))
                if target[side] == source[side] and target[1 - side] >= source[1 - side]:
                    return target
    return size


def _target_of(side: float, other: float, area: int, multiple: int) -> tuple[int, int]:
    scale = math.sqrt(area / (side * other))
    return _to_multiple(side * scale, multiple), _to_multiple(other * scale, multiple)


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
) -> GeometryRecord:
    """Decide the target's and every context's size (the rules above).

    Args:
        contexts: the context pictures' sizes, the edited picture first.
        requested: the size asked for, or ``None`` to follow the first context.
        fit: how the first context meets a target of another aspect.
        area: the model's pixel area.
        multiple: what both sides of every picture must divide by.
        default: the target when there is neither a size nor a context.

    Raises:
        GeometryError: a requested size that the model cannot make, or an extreme aspect.
    """
    for number, source in enumerate(contexts, start=1):
        check_aspect(source, f"context picture {number}")
    if requested is not None:
        check_target(requested, area, multiple)
        target = Size(*requested)
    else:
        target = _matched(contexts[0], fit, area, multiple) if contexts else default
    placements = tuple(
        place(source, target, fit)
        if index == 0 and fit is not Fit.WHOLE
        else place(source, model_size(source, area, multiple), Fit.CROP)
        for index, source in enumerate(contexts)
    )
    output = target
    if requested is None and fit is Fit.PAD and placements:
        output = placements[0].scaled
    return GeometryRecord(target, output, placements)


def geometry_version(
    contexts: Sequence[Size], requested: Size | None, fit: Fit, *, area: int, multiple: int
) -> int:
    """The version of the rules for these sizes, which a step's key holds where it is above 1.

    2 where a context is now left at its own size (or, padded, unscaled) and formerly was not.
    """
    for index, source in enumerate(contexts):
        if index == 0 and requested is None:
            size = _matched(source, fit, area, multiple)
        elif index == 0 and fit is not Fit.WHOLE:
            continue
        else:
            size = model_size(source, area, multiple)
        if size != _nearest(source, area, multiple):
            return 2
    return 1


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
