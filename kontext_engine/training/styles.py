"""Styles: other renderings of a subject, and what a style does to a whole picture.

``flat`` and ``ink`` are drawings of the same subjects by the same people (Fluent Emoji flat and
high contrast); the others are filters over the finished picture. Each has one result for one
picture, so that a style has one ground truth. A picture without a style is the 3D render.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from kontext_engine.training.effects import luminance
from kontext_engine.training.scenes import Pixels

_HALO = 5  # pixels across: ink stands on a white rim, so that it is seen on a dark set


def _image(canvas: Pixels) -> Image.Image:
    return Image.fromarray((np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8))


def _pixels(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB"), dtype=np.float32) / 255.0


def _edges(canvas: Pixels) -> Pixels:
    """How strong an edge of the luma is, (h, w, 1), 0..1."""
    luma = luminance(_pixels(_image(canvas).filter(ImageFilter.GaussianBlur(0.8))))[..., 0]
    down, across = np.gradient(luma)
    strength: Pixels = np.clip(5 * np.hypot(down, across), 0, 1).astype(np.float32)[..., None]
    return strength


def _sketch(canvas: Pixels) -> Pixels:
    """Pencil on paper: the lines are dark, the shading is left as a light grey."""
    paper: Pixels = 0.97 - 0.75 * _edges(canvas) - 0.18 * (1 - luminance(canvas))
    return np.repeat(paper, 3, axis=2)


def _mosaic(canvas: Pixels) -> Pixels:
    """Squares of 8 pixels, each of its mean colour."""
    image = _image(canvas)
    small = image.resize((image.width // 8, image.height // 8), Image.Resampling.BOX)
    return _pixels(small.resize(image.size, Image.Resampling.NEAREST))


def _poster(canvas: Pixels) -> Pixels:
    """Three strong levels of each channel."""
    calm = _pixels(_image(canvas).filter(ImageFilter.MedianFilter(5)))
    levels: Pixels = (np.round(calm * 2) / 2).astype(np.float32)
    return levels


def _watercolour(canvas: Pixels) -> Pixels:
    """Pale washes that run together, darker at their rims."""
    wash = _pixels(
        _image(canvas).filter(ImageFilter.MedianFilter(7)).filter(ImageFilter.GaussianBlur(1.2))
    )
    pale: Pixels = (0.30 + 0.70 * wash) * (1 - 0.35 * _edges(wash))
    return pale


def _blueprint(canvas: Pixels) -> Pixels:
    """White lines on blue paper."""
    paper = np.array([0.10, 0.25, 0.62], np.float32)
    drawn: Pixels = paper + (0.96 - paper) * _edges(canvas)
    return drawn


def _halftone(canvas: Pixels) -> Pixels:
    """Black dots on cream, every 8 pixels, the larger the darker."""
    height, width = canvas.shape[:2]
    yy, xx = np.mgrid[0:height, 0:width]
    away = np.hypot(yy % 8 - 3.5, xx % 8 - 3.5)[..., None]
    dark = 1 - luminance(_mosaic(canvas))
    ink = np.clip(5.2 * np.sqrt(dark) - away + 0.5, 0, 1)
    cream, black = np.array([0.98, 0.95, 0.86]), np.array([0.10, 0.09, 0.10])
    dotted: Pixels = (cream + (black - cream) * ink).astype(np.float32)
    return dotted


def _as_it_is(canvas: Pixels) -> Pixels:
    return canvas


# Every style, and what it does to the finished picture (h, w, 3), 0..1.
STYLES: dict[str, Callable[[Pixels], Pixels]] = {
    "flat": _as_it_is, "ink": _as_it_is, "sketch": _sketch, "mosaic": _mosaic, "poster": _poster,
    "watercolour": _watercolour, "blueprint": _blueprint, "halftone": _halftone,
}  # fmt: skip


def rimmed(drawing: Pixels) -> Pixels:
    """An ink drawing (h, w, 4) on a white rim of two pixels."""
    alpha = Image.fromarray((drawing[..., 3] * 255).astype(np.uint8))
    rim = np.asarray(alpha.filter(ImageFilter.MaxFilter(_HALO)), dtype=np.float32) / 255.0
    own = drawing[..., 3:]
    colour = drawing[..., :3] * own + (1 - own)
    return np.dstack([colour, np.maximum(rim, own[..., 0])]).astype(np.float32)
