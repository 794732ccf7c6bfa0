"""What instructions do to pixels: recolouring a subject, weather and light over a whole picture.

Pure functions over float32 pixels in 0..1. Each has one result for one input and seed, so that
an instruction has one ground truth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kontext_engine.training.brushes import RGB, Rng
from kontext_engine.training.scenes import Pixels

Floats: TypeAlias = NDArray[np.floating[Any]]  # float32 or wider, on the way to Pixels

TINTS: dict[str, RGB] = {
    "red": (0.86, 0.12, 0.14), "orange": (0.98, 0.52, 0.08), "yellow": (0.98, 0.84, 0.16),
    "green": (0.16, 0.66, 0.26), "blue": (0.14, 0.36, 0.90), "purple": (0.52, 0.22, 0.80),
    "pink": (0.98, 0.48, 0.72), "white": (0.95, 0.95, 0.96), "black": (0.16, 0.16, 0.18),
    "gold": (0.85, 0.65, 0.24),
}  # fmt: skip

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def luminance(pixels: Pixels) -> Pixels:
    """Rec. 601 luma, (h, w, 1)."""
    luma: Pixels = (pixels @ LUMA)[..., None]
    return luma


def tint(pixels: Pixels, colour: RGB) -> Pixels:
    """The picture in shades of one colour: its shading stays, its hue goes."""
    shade = luminance(pixels)
    low, high = shade.min(), shade.max()
    shade = (shade - low) / max(high - low, 0.2)
    body = np.asarray(colour, dtype=np.float32)
    dark, light = body * 0.35, body + (1.0 - body) * 0.55
    below = dark + (body - dark) * np.clip(shade * 2, 0, 1)
    tinted: Pixels = (below + (light - body) * np.clip(shade * 2 - 1, 0, 1)).astype(np.float32)
    return tinted


def _soft_dots(shape: tuple[int, int], rng: Rng, count: int, radius: float) -> Pixels:
    height, width = shape
    layer = np.zeros(shape, np.float32)
    reach = int(radius * 3) + 1
    for _ in range(count):
        cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        r = radius * rng.uniform(0.7, 1.3)
        x0, x1 = max(0, int(cx) - reach), min(width, int(cx) + reach + 1)
        y0, y1 = max(0, int(cy) - reach), min(height, int(cy) + reach + 1)
        yy, xx = np.mgrid[y0:y1, x0:x1]
        dot = np.exp(-(((xx - cx) ** 2 + (yy - cy) ** 2) / (2 * (r * 0.6) ** 2)))
        layer[y0:y1, x0:x1] = np.maximum(layer[y0:y1, x0:x1], dot)
    return layer[..., None]


def _night(p: Pixels, _: Rng) -> Floats:
    return p * np.array([0.26, 0.32, 0.58], np.float32) + np.array([0.0, 0.01, 0.05], np.float32)


def _snowfall(p: Pixels, rng: Rng) -> Floats:
    height = p.shape[0]
    cold = p * 0.72 + 0.28 * np.array([0.86, 0.91, 0.98], np.float32)
    ground = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    cold = cold + (0.97 - cold) * np.clip((ground - 0.80) / 0.12, 0, 1) * 0.85
    flakes = _soft_dots(p.shape[:2], rng, 46, p.shape[1] / 62)
    snowy: Floats = cold + (1.0 - cold) * flakes
    return snowy


def _rain(p: Pixels, rng: Rng) -> Floats:
    height, width = p.shape[:2]
    grey = luminance(p)
    wet = (0.5 * p + 0.5 * grey) * np.array([0.62, 0.68, 0.78], np.float32)
    yy, xx = np.mgrid[0:height, 0:width]
    streaks = np.zeros((height, width), np.float32)
    for _ in range(26):
        x0, y0, length = rng.uniform(0, width * 1.2), rng.uniform(-0.1, 0.9) * height, height * 0.16
        along = (yy - y0) / length
        off = np.abs(xx - (x0 - (yy - y0) * 0.28))
        streaks = np.maximum(
            streaks, np.where((along > 0) & (along < 1), np.exp(-(off**2) / 0.9), 0)
        )
    water = np.array([0.85, 0.9, 0.98], np.float32)
    rainy: Floats = wet + (water - wet) * streaks[..., None] * 0.6
    return rainy


def _fog(p: Pixels, _: Rng) -> Floats:
    depth = np.linspace(0.78, 0.42, p.shape[0], dtype=np.float32)[:, None, None]
    return p + (np.array([0.84, 0.86, 0.88], np.float32) - p) * depth


def _golden(p: Pixels, _: Rng) -> Floats:
    return p * np.array([1.02, 0.74, 0.44], np.float32) + np.array([0.08, 0.03, 0.0], np.float32)


def _monochrome(p: Pixels, _: Rng) -> Floats:
    return np.repeat(luminance(p), 3, axis=2)


def _sepia(p: Pixels, _: Rng) -> Floats:
    return luminance(p) * np.array([1.02, 0.84, 0.62], np.float32) + 0.04


def _neon(p: Pixels, _: Rng) -> Floats:
    side = np.linspace(0, 1, p.shape[1], dtype=np.float32)[None, :, None]
    light = (
        np.array([1.0, 0.25, 0.75], np.float32) * (1 - side)
        + np.array([0.15, 0.75, 1.0], np.float32) * side
    )
    return (0.25 * p + 0.75 * luminance(p)) * light * 1.1


WEATHER: dict[str, Callable[[Pixels, Rng], Floats]] = {
    "night": _night, "snow": _snowfall, "rain": _rain, "fog": _fog, "golden": _golden,
    "monochrome": _monochrome, "sepia": _sepia, "neon": _neon,
}  # fmt: skip


def weather(name: str, pixels: Pixels, seed: int) -> Pixels:
    """``pixels`` under a weather or light of ``WEATHER``; float32 (h, w, 3) in 0..1.

    Raises:
        KeyError: no such weather.
    """
    rng = np.random.default_rng([seed, *name.encode()])
    return np.clip(WEATHER[name](pixels, rng), 0.0, 1.0).astype(np.float32)
