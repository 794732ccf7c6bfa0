"""What must stay of a picture, stays: masks, feathers, the crop that is edited, the paste-back.

Torch-free. Whoever changes these rules raises the version that keys hold of them. Pictures are
arrays (height, width, channels) of 8 bits; the source has its alpha. A pixel's *share* is how much
of it the model makes, 0 to 255: 0 is kept, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kontext_engine.errors import PictureError
from kontext_engine.geometry import MAX_ASPECT, Fit, Size, place
from kontext_engine.picture import place_picture

Bytes = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels

_MARGIN = 2  # of a crop's side is a margin: a fourth of the changed part's on each side
_SAME, _OTHER = (0, 96, 64), (255, 0, 0)  # kept pixels in a difference picture
_WORTH = 2  # a crop is edited by itself if the picture has at least so many times its area


@dataclass(frozen=True, slots=True)
class Counts:
    """Pixels of a source: kept as they are, kept mixed (partly transparent), at a soft edge."""

    kept: int
    mixed: int
    edge: int


@dataclass(frozen=True, slots=True)
class Protection:
    """A source (height, width, 4), and the model's share of each of its pixels.

    ``opaque``: the result has no alpha; else it has the source's.
    """

    source: Bytes
    share: Bytes
    opaque: bool
    counts: Counts


def protect(source: Image.Image, white: Bytes, *, keeps: bool, feather: int) -> Protection:
    """What a mask (height, width) leaves to the model.

    White (255) is what to keep, or, unless it ``keeps``, what to change. The feather, in pixels,
    and grey lie on the changed side. Where it keeps, what is transparent in the source is not kept,
    and what is so in part keeps its own colour over the new ground.

    Raises:
        PictureError: the mask is empty or full, or the feather wider than what may change.
    """
    whole = np.asarray(source.convert("RGBA"))
    share = shares(white, keeps=keeps, feather=feather)
    kept = (white if keeps else 255 - white) == 255
    alpha = whole[..., 3]
    mixed = np.zeros_like(kept)
    if keeps:
        mixed = kept & (alpha > 0) & (alpha < 255)
        kept &= alpha == 255
        shown = (np.uint32(255) - share) * alpha
        share = (255 - (shown + 127) // 255).astype(np.uint8)
    edge = int(((share > 0) & (share < 255) & ~mixed).sum())
    counts = Counts(int(kept.sum()), int(mixed.sum()), edge)
    return Protection(whole, share, keeps, counts)


def shares(white: Bytes, *, keeps: bool, feather: int) -> Bytes:
    """The model's share of each pixel (height, width) by a mask alone, as ``protect`` begins.

    Raises:
        PictureError: the mask is empty or full, or the feather wider than what may change.
    """
    stays = white if keeps else np.subtract(255, white, dtype=np.uint8)
    kept = stays == 255
    if not kept.any():
        raise PictureError(_EMPTY if keeps else _FULL)
    if kept.all():
        raise PictureError(_FULL if keeps else _EMPTY)
    share = 255 - stays
    if not feather:
        return share
    soft = np.minimum(share, 255 - _ramp(kept, feather))
    if soft.max() < share.max():
        raise PictureError(
            f"a feather of {feather} pixels is wider than what may change; expected less; make it "
            "smaller"
        )
    return soft


_EMPTY = "the mask is empty; expected some of it white"
_FULL = "the mask is full; expected some of it black"


def mask_levels(mask: Image.Image, size: Size, fit: Fit | None) -> Bytes:
    """A mask's white, brought to the source's size by ``fit``.

    A mask is a grey picture, or one of a single colour whose alpha is meant.

    Raises:
        PictureError: of another size without a fit, or coloured.
    """
    if mask.size != size:
        if fit is None:
            raise PictureError(
                f"the mask is {Size(*mask.size)} and the picture {size}; expected the same size; "
                "scale the mask, or say by 'fit' how it is brought there"
            )
        mask = place_picture(mask, place(Size(*mask.size), size, fit))
    pixels = np.asarray(mask.convert("RGBA"))
    colours, alpha = pixels[..., :3], pixels[..., 3]
    if (alpha < 255).any():
        flat = colours[alpha > 0]
        if len(flat) and (flat != flat[0]).any():
            raise PictureError("the mask has colours and transparency; expected one of them")
        return np.ascontiguousarray(alpha)
    if (colours != colours[..., :1]).any():
        raise PictureError("the mask is coloured; expected white, black and grey")
    return np.ascontiguousarray(colours[..., 0])


def box_levels(box: Box, size: Size) -> Bytes:
    """A box as a mask: white inside.

    Raises:
        PictureError: it is empty, or reaches outside the picture.
    """
    left, top, right, bottom = box
    if not (0 <= left < right <= size.width and 0 <= top < bottom <= size.height):
        raise PictureError(f"the box {list(box)} is empty or reaches outside the picture ({size})")
    white = np.zeros((size.height, size.width), np.uint8)
    white[top:bottom, left:right] = 255
    return white


def crop_box(share: Bytes, area: int) -> Box:
    """The part that the model looks at: all, or what changes with a margin, if that is small.

    ``area`` is the model's, in pixels: what it takes whole anyway is not cropped.
    """
    height, width = share.shape
    rows, columns = (np.flatnonzero(share.any(axis=axis)) for axis in (1, 0))
    least = (columns[0], columns[-1] + 1), (rows[0], rows[-1] + 1)
    (left, right), (top, bottom) = (
        _widened(int(begin), int(end), side, other)
        for (begin, end), side, other in zip(
            least, (width, height), (_length(least[1]), _length(least[0])), strict=True
        )
    )
    if width * height <= area or _WORTH * (right - left) * (bottom - top) > width * height:
        return 0, 0, width, height
    return left, top, right, bottom


def _length(ends: tuple[int, int]) -> int:
    return int(ends[1] - ends[0])


def _widened(begin: int, end: int, side: int, other: int) -> tuple[int, int]:
    """A stretch with its margins, no thinner against the other than the model can place."""
    wanted = max(end - begin + (end - begin) // _MARGIN, -(-other * _MARGIN // int(MAX_ASPECT)), 16)
    more = max(0, wanted - (end - begin))
    begin, end = begin - more // 2, end + more - more // 2
    begin, end = begin - max(0, end - side), end - min(0, begin)
    return max(0, begin), min(side, end)


def on_white(picture: Image.Image) -> Image.Image:
    """A picture without its transparency; one that has none is returned as it is."""
    if picture.mode != "RGBA":
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    canvas = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    return Image.alpha_composite(canvas, picture).convert("RGB")


def paste(protection: Protection, made: Image.Image, box: Box) -> Image.Image:
    """The source with what the model made of ``box`` in its shares: RGB, or RGBA with its alpha."""
    left, top, right, bottom = box
    size = Size(right - left, bottom - top)
    if made.size != size:
        made = made.resize(size, Image.Resampling.LANCZOS)
    result = protection.source.copy()
    inside = np.s_[top:bottom, left:right]
    share = protection.share[inside][..., None].astype(np.uint32)
    old = result[inside][..., :3]
    # Of share 0 that is the old value, of share 255 the new one, to the last bit.
    result[inside][..., :3] = (old * (255 - share) + np.asarray(made) * share + 127) // 255
    if protection.opaque or (result[..., 3] == 255).all():
        return Image.fromarray(np.ascontiguousarray(result[..., :3]))
    return Image.fromarray(result)


def differing(protection: Protection, stored: Image.Image) -> int:
    """How many kept pixels of a picture are not the source's, in any of four channels."""
    found = np.asarray(stored.convert("RGBA"))
    if found.shape != protection.source.shape:
        return protection.counts.kept
    kept = protection.share == 0
    return int((found[kept] != protection.source[kept]).any(axis=-1).sum())


def difference(protection: Protection, stored: Image.Image) -> Image.Image:
    """What became of each pixel of the source in a picture of its size, to look at.

    Kept and the same is green, kept and another red; else the brighter, the more it has changed.
    """
    found = np.asarray(stored.convert("RGBA")).astype(np.int16)
    apart = np.abs(found - protection.source)
    kept = protection.share == 0
    shown = np.repeat(apart[..., :3].max(axis=-1, keepdims=True), 3, axis=-1).astype(np.uint8)
    shown[kept] = _SAME
    shown[kept & apart.any(axis=-1)] = _OTHER
    return Image.fromarray(shown)


def _ramp(kept: NDArray[np.bool_], feather: int) -> Bytes:
    """255 where kept, falling to 0 over so many pixels beside it."""
    reach = -(-feather // 2)
    near = _summed(kept, reach) > 0
    window = (2 * reach + 1) ** 2
    levels: Bytes = (_summed(near, reach) * 255 // window).astype(np.uint8)
    return levels


def _summed(flags: NDArray[np.bool_], reach: int) -> NDArray[np.int64]:
    """How many are set within ``reach`` of each pixel, in a square; the edge goes on outside."""
    padded = np.pad(flags, reach, mode="edge").astype(np.int64)
    table = np.pad(padded.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    side = 2 * reach + 1
    sums = table[side:, side:] - table[:-side, side:]
    within: NDArray[np.int64] = sums - (table[side:, :-side] - table[:-side, :-side])
    return within
