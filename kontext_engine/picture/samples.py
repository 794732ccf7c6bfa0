"""Samples of more than 8 bits: at their full depth, and brought to 8."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint16]
Decode = Callable[[str], Image.Image]  # the upright picture, its samples laid out as named

# Where the file's samples are read by their high bytes, these layouts read the low ones.
_NATIVE = "L" if sys.byteorder == "little" else "B"
_OTHER = {"L": "B", "B": "L", "N": "B" if _NATIVE == "L" else "L"}


def to_eight(values: NDArray[Any], bits: int) -> Bytes:
    """Whole samples of so many bits, scaled to 8 and rounded."""
    top = (1 << bits) - 1
    wide = values.astype(np.uint64)
    return ((wide * 255 + top // 2) // top).astype(np.uint8)


def deep_samples(decode: Decode, raw: str) -> tuple[Words, Words | None]:
    """16-bit colours (height, width, channels), of one channel for grey, and the alpha.

    Pillow keeps the high byte of each sample; read as of the other byte order, it keeps the low.
    """
    if raw.startswith("LA;16"):  # two samples of two bytes: laid out like four of one
        four = np.asarray(decode("RGBA"))
        both = _joined(four[..., 0::2], four[..., 1::2])
        return both[..., :1], both[..., 1]
    layout, _, order = raw.partition(";16")
    plain = {"RGBa": "RGBA"}.get(layout, layout)  # Pillow would divide by half of an alpha
    high = np.asarray(decode(f"{plain};16{order}"))
    both = _joined(high, np.asarray(decode(f"{plain};16{_OTHER[order]}")))
    if plain != "RGBA":
        return both, None
    colours, alpha = both[..., :3], both[..., 3]
    if layout == "RGBa":
        whole = np.maximum(alpha, 1)[..., None].astype(np.uint32)
        parted = (colours.astype(np.uint32) * 65535 + whole // 2) // whole
        colours = np.minimum(parted, 65535).astype(np.uint16)
    return colours, alpha


def _joined(high: Bytes, low: Bytes) -> Words:
    joined: Words = (high.astype(np.uint16) << np.uint16(8)) | low
    return joined


def grey_samples(image: Image.Image, bits: int, white_is_zero: bool) -> Words:
    """A decoded grey picture's samples, 0 black: of 12 or 16 bits, and of 32 the upper 16."""
    values = np.asarray(image)
    if bits == 32:  # Pillow hands unsigned ones out as signed
        samples = (values.view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    else:
        samples = np.clip(values, 0, (1 << bits) - 1).astype(np.uint16)
    return np.uint16((1 << min(bits, 16)) - 1) - samples if white_is_zero else samples


def grey_levels(samples: Words, bits: int, table: Bytes | None) -> Bytes:
    """Grey samples in 8 bits: (height, width), or (height, width, 3) by a profile's ``table``."""
    every = np.arange(1 << bits)
    if table is None:
        return to_eight(every, bits)[samples]
    place = every * (255 / every[-1])
    columns = [np.interp(place, np.arange(256), column) for column in table.T]
    levels: Bytes = np.rint(np.stack(columns, axis=-1)).astype(np.uint8)
    return levels[samples]


def upright(image: Image.Image) -> Image.Image:
    """A decoded picture as its EXIF orientation says."""
    return ImageOps.exif_transpose(image)
