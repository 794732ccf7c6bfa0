"""The brushes that scenes are drawn with: gradients, hills, clouds, houses, colours that vary.

Every brush takes its random numbers from the generator it is given, in a fixed order: what a
scene looks like depends on that order, and the training data on it.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Rng: TypeAlias = np.random.Generator
RGB: TypeAlias = tuple[float, float, float]  # 0..1
Ink: TypeAlias = tuple[int, int, int]  # 0..255
Extent: TypeAlias = tuple[int, int]  # (width, height) in pixels


def gradient(size: Extent, stops: list[tuple[float, RGB]]) -> Image.Image:
    """A vertical gradient through ``stops``, each (height in 0..1 from the top, colour)."""
    width, height = size
    at = np.linspace(0, 1, height)
    xs = [s for s, _ in stops]
    column = np.stack([np.interp(at, xs, [c[k] for _, c in stops]) for k in range(3)], axis=-1)
    rows = np.broadcast_to((column * 255).astype(np.uint8)[:, None], (height, width, 3))
    return Image.fromarray(np.ascontiguousarray(rows))


def ink(colour: RGB, rng: Rng, spread: float = 0.05) -> Ink:
    """``colour`` moved by at most ``spread`` in each channel, for drawing."""
    r, g, b = (int(255 * min(1.0, max(0.0, c + rng.uniform(-spread, spread)))) for c in colour)
    return r, g, b


def vary(colour: RGB, rng: Rng, spread: float = 0.05) -> RGB:
    """``colour`` moved by at most ``spread`` in each channel, within 0..1."""
    r, g, b = (min(1.0, max(0.0, c + rng.uniform(-spread, spread))) for c in colour)
    return r, g, b


def shade(colour: RGB, factor: float) -> RGB:
    """``colour`` made darker or lighter, at most white."""
    r, g, b = (min(1.0, c * factor) for c in colour)
    return r, g, b


def hills(
    draw: ImageDraw.ImageDraw,
    size: Extent,
    base: float,
    rise: float,
    colour: Ink,
    rng: Rng,
) -> None:
    """Fill everything below a wavy line at ``base``, waves ``rise`` high (shares of the height)."""
    width, height = size
    x = np.linspace(0, 1, 33)
    phase, waves = rng.uniform(0, 6.28, 2), rng.uniform(0.6, 1.6, 2)
    y = base - rise * (
        0.6 * np.sin(6.28 * waves[0] * x + phase[0])
        + 0.4 * np.sin(6.28 * 2 * waves[1] * x + phase[1])
    )
    points = [(float(a * width), float(b * height)) for a, b in zip(x, y, strict=True)]
    draw.polygon([(0, height), *points, (width, height)], fill=colour)


def clouds(picture: Image.Image, rng: Rng, count: int) -> Image.Image:
    """Paste soft white clouds into the upper third of ``picture`` and return it."""
    width, height = picture.size
    layer = Image.new("L", picture.size, 0)
    draw = ImageDraw.Draw(layer)
    for _ in range(count):
        cx, cy = rng.uniform(0, width), rng.uniform(0.05, 0.3) * height
        for _ in range(3):
            dx, r = rng.uniform(-0.1, 0.1) * width, rng.uniform(0.03, 0.07) * width
            draw.ellipse((cx + dx - 1.6 * r, cy - r, cx + dx + 1.6 * r, cy + r), fill=220)
    soft = layer.filter(ImageFilter.GaussianBlur(width / 90))
    picture.paste((255, 255, 255), (0, 0), soft)
    return picture


def buildings(
    draw: ImageDraw.ImageDraw,
    size: Extent,
    rng: Rng,
    ground: float,
    walls: list[RGB],
    window: Ink,
    lit: float,
) -> None:
    """A row of houses from the left edge to the right one, standing on ``ground`` (0..1)."""
    width, height = size
    x = 0.0
    while x < width:
        w, top = rng.uniform(0.14, 0.24) * width, rng.uniform(0.06, 0.36) * height
        draw.rectangle(
            (x, top, x + w, ground * height), fill=ink(walls[int(rng.integers(len(walls)))], rng)
        )
        cell = w / 3.4
        for row in np.arange(top + cell * 0.6, ground * height - cell, cell * 1.15):
            for column in range(3):
                if rng.random() < lit:
                    left = x + cell * (0.35 + column)
                    draw.rectangle((left, row, left + cell * 0.55, row + cell * 0.65), fill=window)
        x += w
