"""Procedural scenes behind a subject: smooth, cheap, a pure function of (name, seed, size).

Instances of one scene vary in colour and layout but keep what makes it that scene, so that the
word has one meaning. Hardly any fine texture: it would cap the autoencoder, not teach editing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from kontext_engine.training.brushes import (
    RGB,
    Extent,
    Rng,
    buildings,
    clouds,
    gradient,
    hills,
    ink,
    shade,
    vary,
)

Pixels: TypeAlias = NDArray[np.float32]  # (h, w, 3), 0..1
Scene: TypeAlias = Callable[[Extent, Rng], Image.Image]

SUPERSAMPLE = 2

PLAIN: dict[str, RGB] = {
    "white": (0.95, 0.95, 0.95), "gray": (0.55, 0.56, 0.58), "black": (0.09, 0.09, 0.10),
    "red": (0.80, 0.18, 0.18), "orange": (0.94, 0.54, 0.16), "yellow": (0.95, 0.82, 0.28),
    "green": (0.28, 0.64, 0.34), "blue": (0.22, 0.42, 0.82), "purple": (0.52, 0.30, 0.74),
    "pink": (0.95, 0.60, 0.74),
}  # fmt: skip


def _plain(colour: RGB) -> Scene:
    def draw(size: Extent, rng: Rng) -> Image.Image:
        c = vary(colour, rng, 0.03)
        wall, floor = shade(c, 0.92), shade(c, 1.06)
        seam = rng.uniform(0.6, 0.72)
        return gradient(size, [(0, wall), (seam, c), (seam + 0.08, floor), (1, c)])

    return draw


def _beach(size: Extent, rng: Rng) -> Image.Image:
    width, height = size
    sea, sand = rng.uniform(0.40, 0.48), rng.uniform(0.60, 0.66)
    picture = gradient(size, [(0, (0.35, 0.66, 0.95)), (sea, (0.75, 0.90, 0.98)), (1, (1, 1, 1))])
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, sea * height, width, height), fill=ink((0.10, 0.52, 0.72), rng))
    draw.rectangle((0, (sea + sand) / 2 * height, width, height), fill=ink((0.2, 0.68, 0.76), rng))
    hills(draw, size, sand, 0.012, (245, 245, 240), rng)
    hills(draw, size, sand + 0.025, 0.012, ink((0.93, 0.82, 0.60), rng), rng)
    return clouds(picture, rng, 2)


def _snow(size: Extent, rng: Rng) -> Image.Image:
    width, height = size
    picture = gradient(size, [(0, (0.62, 0.74, 0.88)), (0.55, (0.86, 0.91, 0.97)), (1, (1, 1, 1))])
    draw = ImageDraw.Draw(picture)
    hills(draw, size, 0.48, 0.07, (206, 218, 234), rng)
    for _ in range(int(rng.integers(4, 8))):
        x, h = rng.uniform(0, width), rng.uniform(0.14, 0.26) * height
        y = rng.uniform(0.54, 0.62) * height
        for k in range(3):
            top, spread = y - h + k * h * 0.27, h * (0.16 + 0.1 * k)
            draw.polygon(
                [(x, top), (x - spread, top + h * 0.42), (x + spread, top + h * 0.42)],
                fill=(70, 112, 104),
            )
    hills(draw, size, 0.62, 0.03, (240, 245, 252), rng)
    return picture


def _street(size: Extent, rng: Rng, night: bool) -> Image.Image:
    width, height = size
    ground = rng.uniform(0.60, 0.66)
    if night:
        picture = gradient(size, [(0, (0.03, 0.05, 0.16)), (1, (0.12, 0.14, 0.30))])
        walls: list[RGB] = [(0.08, 0.09, 0.18), (0.12, 0.11, 0.22), (0.06, 0.10, 0.20)]
        window, lit, road = (250, 208, 110), 0.6, (0.13, 0.14, 0.20)
    else:
        picture = gradient(size, [(0, (0.52, 0.74, 0.95)), (1, (0.90, 0.95, 1.0))])
        walls = [(0.80, 0.52, 0.42), (0.86, 0.76, 0.60), (0.62, 0.66, 0.72)]
        window, lit, road = (120, 160, 196), 0.9, (0.42, 0.43, 0.46)
    draw = ImageDraw.Draw(picture)
    buildings(draw, size, rng, ground, walls, window, lit)
    draw.rectangle((0, ground * height, width, height), fill=ink(road, rng, 0.02))
    pavement = (70, 72, 92) if night else (176, 176, 178)
    draw.rectangle((0, ground * height, width, (ground + 0.05) * height), fill=pavement)
    for k in range(5):
        x = (k + 0.3) * width / 4.6
        draw.rectangle(
            (x, 0.88 * height, x + 0.1 * width, 0.905 * height),
            fill=(196, 186, 120) if night else (236, 234, 220),
        )
    return picture


def _forest(size: Extent, rng: Rng) -> Image.Image:
    width, height = size
    picture = gradient(
        size, [(0, (0.16, 0.36, 0.20)), (0.6, (0.46, 0.64, 0.34)), (1, (0.2, 0.4, 0.2))]
    )
    draw = ImageDraw.Draw(picture)
    for k in range(int(rng.integers(6, 9))):
        x, w = rng.uniform(0, width), rng.uniform(0.03, 0.07) * width
        light = 0.8 + 0.05 * k
        draw.rectangle(
            (x - w / 2, 0, x + w / 2, 0.72 * height),
            fill=ink((0.30 * light, 0.22 * light, 0.15 * light), rng, 0.02),
        )
    for _ in range(9):
        x, r = rng.uniform(0, width), rng.uniform(0.09, 0.16) * width
        draw.ellipse((x - r, -r, x + r, r * 1.1), fill=ink((0.16, 0.42, 0.18), rng))
    hills(draw, size, 0.68, 0.02, ink((0.24, 0.46, 0.20), rng), rng)
    return picture


def _marble(size: Extent, rng: Rng) -> Image.Image:
    width, height = size
    edge = rng.uniform(0.58, 0.66)
    wall = vary((0.86, 0.84, 0.82), rng, 0.04)
    picture = gradient(size, [(0, wall), (1, (0.97, 0.97, 0.98))])
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, edge * height, width, height), fill=(240, 240, 243))
    for _ in range(6):
        x = rng.uniform(-0.2, 1.1) * width
        line = [(x, edge * height)]
        for _ in range(4):
            x += rng.uniform(-0.02, 0.16) * width
            line.append((x, line[-1][1] + (1 - edge) * height / 4))
        draw.line(line, fill=(178, 180, 190), width=max(2, width // 90), joint="curve")
    picture = picture.filter(ImageFilter.GaussianBlur(width / 180))
    ImageDraw.Draw(picture).rectangle(
        (0, edge * height, width, (edge + 0.015) * height), fill=(205, 205, 210)
    )
    return picture


def _sunset(size: Extent, rng: Rng) -> Image.Image:
    width, height = size
    picture = gradient(
        size,
        [
            (0, (0.28, 0.16, 0.42)),
            (0.35, (0.82, 0.34, 0.36)),
            (0.62, (0.99, 0.70, 0.32)),
            (1, (0.99, 0.8, 0.5)),
        ],
    )
    draw = ImageDraw.Draw(picture)
    x, y, r = rng.uniform(0.15, 0.85) * width, rng.uniform(0.44, 0.54) * height, 0.09 * width
    draw.ellipse((x - r, y - r, x + r, y + r), fill=(255, 236, 170))
    hills(draw, size, 0.62, 0.04, ink((0.34, 0.16, 0.26), rng, 0.03), rng)
    hills(draw, size, 0.72, 0.03, ink((0.20, 0.10, 0.18), rng, 0.03), rng)
    return picture


def _desert(size: Extent, rng: Rng) -> Image.Image:
    picture = gradient(size, [(0, (0.30, 0.58, 0.90)), (0.55, (0.92, 0.90, 0.82)), (1, (1, 1, 1))])
    draw = ImageDraw.Draw(picture)
    hills(draw, size, 0.50, 0.06, ink((0.88, 0.62, 0.36), rng), rng)
    hills(draw, size, 0.60, 0.05, ink((0.94, 0.71, 0.42), rng), rng)
    hills(draw, size, 0.72, 0.03, ink((0.97, 0.78, 0.50), rng), rng)
    return picture


def _wood(size: Extent, rng: Rng) -> Image.Image:
    width, height = size
    edge = rng.uniform(0.56, 0.64)
    wall = vary((0.92, 0.86, 0.74), rng)
    picture = gradient(size, [(0, wall), (1, shade(wall, 0.9))])
    draw = ImageDraw.Draw(picture)
    for k in range(4):
        top = edge + (1 - edge) * (k / 4) ** 1.3
        draw.rectangle((0, top * height, width, height), fill=ink((0.58, 0.37, 0.21), rng, 0.04))
        draw.rectangle((0, top * height, width, (top + 0.012) * height), fill=(92, 56, 32))
    return picture


def _underwater(size: Extent, rng: Rng) -> Image.Image:
    width, height = size
    picture = gradient(
        size, [(0, (0.30, 0.80, 0.90)), (0.6, (0.06, 0.45, 0.70)), (1, (0.03, 0.22, 0.45))]
    )
    rays = Image.new("L", size, 0)
    draw = ImageDraw.Draw(rays)
    for _ in range(4):
        x, w = rng.uniform(-0.1, 1) * width, rng.uniform(0.04, 0.1) * width
        draw.polygon(
            [(x, 0), (x + w, 0), (x + 2.4 * w, 0.8 * height), (x + w * 0.4, 0.8 * height)], fill=60
        )
    picture.paste((255, 255, 255), (0, 0), rays.filter(ImageFilter.GaussianBlur(width / 40)))
    draw = ImageDraw.Draw(picture)
    for _ in range(10):
        x, y = rng.uniform(0, width), rng.uniform(0, 0.8) * height
        r = rng.uniform(0.008, 0.022) * width
        draw.ellipse(
            (x - r, y - r, x + r, y + r), outline=(220, 245, 255), width=max(1, width // 128)
        )
    hills(draw, size, 0.86, 0.03, ink((0.62, 0.66, 0.50), rng), rng)
    return picture


def _space(size: Extent, rng: Rng) -> Image.Image:
    width, height = size
    picture = gradient(size, [(0, (0.02, 0.02, 0.07)), (1, (0.10, 0.05, 0.20))])
    draw = ImageDraw.Draw(picture)
    for _ in range(45):
        x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.003, 0.009) * width
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(255, 255, 245))
    x, y = rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.3) * height
    r = rng.uniform(0.08, 0.14) * width
    draw.ellipse((x - r, y - r, x + r, y + r), fill=ink((0.85, 0.50, 0.32), rng, 0.1))
    hills(draw, size, 0.82, 0.03, (122, 122, 134), rng)
    return picture


def _meadow(size: Extent, rng: Rng) -> Image.Image:
    width, height = size
    picture = gradient(size, [(0, (0.40, 0.70, 0.96)), (0.6, (0.85, 0.94, 0.99)), (1, (1, 1, 1))])
    picture = clouds(picture, rng, 3)
    draw = ImageDraw.Draw(picture)
    hills(draw, size, 0.55, 0.05, ink((0.50, 0.75, 0.36), rng), rng)
    hills(draw, size, 0.66, 0.03, ink((0.38, 0.68, 0.26), rng), rng)
    for _ in range(14):
        x, y, r = rng.uniform(0, width), rng.uniform(0.75, 0.98) * height, 0.013 * width
        draw.ellipse(
            (x - r, y - r, x + r, y + r),
            fill=[(250, 220, 70), (245, 245, 245), (235, 100, 130)][int(rng.integers(3))],
        )
    return picture


def _kitchen(size: Extent, rng: Rng) -> Image.Image:
    width, height = size
    edge = rng.uniform(0.58, 0.66)
    tile = vary((0.70, 0.84, 0.84), rng, 0.06)
    picture = gradient(size, [(0, tile), (1, tile)])
    draw = ImageDraw.Draw(picture)
    step = width / 6
    for x in np.arange(0, width, step):
        draw.line((x, 0, x, edge * height), fill=(236, 242, 242), width=max(2, width // 80))
    for y in np.arange(0, edge * height, step):
        draw.line((0, y, width, y), fill=(236, 242, 242), width=max(2, width // 80))
    draw.rectangle((0, edge * height, width, height), fill=ink((0.80, 0.66, 0.48), rng))
    draw.rectangle((0, edge * height, width, (edge + 0.03) * height), fill=(236, 226, 208))
    return picture


SCENES: dict[str, Scene] = {
    "beach": _beach, "snow": _snow, "night street": lambda s, r: _street(s, r, night=True),
    "street": lambda s, r: _street(s, r, night=False), "forest": _forest, "marble": _marble,
    "sunset": _sunset, "desert": _desert, "wood": _wood, "underwater": _underwater,
    "space": _space, "meadow": _meadow, "kitchen": _kitchen,
    **{f"plain {name}": _plain(colour) for name, colour in PLAIN.items()},
}  # fmt: skip


def render_scene(name: str, seed: int, size: Extent) -> Pixels:
    """A scene's instance as float32 (h, w, 3) in 0..1; ``size`` is (width, height) in pixels.

    Raises:
        KeyError: no such scene; the known ones are ``SCENES``.
    """
    rng = np.random.default_rng([seed, *name.encode()])
    big = SCENES[name]((size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE), rng)
    return np.asarray(big.reduce(SUPERSAMPLE), dtype=np.float32) / 255.0
