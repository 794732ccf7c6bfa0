"""Sizes: what the caller asked for, what the model takes, and how one becomes the other.

Torch-free. Sizes are (width, height) in pixels. Nothing is stretched unasked.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class Fit(StrEnum):
    """How a source of another aspect is brought to a size."""

    CROP = "crop"
    PAD = "pad"
    STRETCH = "stretch"


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


@dataclass(frozen=True, slots=True)
class GeometryRecord:
    """What was done to sizes on the way: each context's placement, the model's and final size."""

    target: Size
    output: Size
    contexts: tuple[Placement, ...] = ()
