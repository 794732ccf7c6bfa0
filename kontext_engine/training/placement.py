"""A family's stage: where its subject, what covers it and the things beside it stand, and the
brushwork that puts one picture over another. Pure functions of cut-outs, seed and size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kontext_engine.training.cutouts import Cutout, pixels
from kontext_engine.training.scenes import Pixels

Layer = NDArray[np.float32]  # (h, w, 4), straight alpha, 0..1

# Where and how large a subject may be asked to be, besides as its family has it: the longer side
# as a share of the picture's shorter one, the centre as a share of the width, and whether it is
# turned the other way.
POSES: dict[str, tuple[float, float, bool]] = {
    "left": (0.36, 0.26, False),
    "right": (0.36, 0.74, False),
    "close": (1.05, 0.5, False),
    "turned": (0.62, 0.5, True),
}

BOX_RED = np.array([0.93, 0.08, 0.10], np.float32)


@dataclass(frozen=True, slots=True)
class Stage:
    """Where everything stands: fixed within a family."""

    size: tuple[int, int]
    seed: int
    actor: Layer
    box: tuple[int, int, int, int]  # the actor's: left, top, right, bottom
    middle: tuple[float, float, float]  # the first occluder's centre and longer side, pixels
    subject: Cutout

    @classmethod
    def place(cls, subject: Cutout, seed: int, size: tuple[int, int]) -> Stage:
        """Where a family's subject and its cover stand; ``size`` is (width, height) in pixels."""
        rng = np.random.default_rng([seed, 2])
        width, height = size
        actor = layer(subject, round(min(size) * rng.uniform(0.50, 0.74)))
        h, w = actor.shape[:2]
        centre = width * (0.5 + rng.uniform(-0.10, 0.10))
        foot = height * rng.uniform(0.84, 0.95)
        left, top = round(centre - w / 2), round(foot - h)
        middle = (
            left + w * (0.5 + rng.uniform(-0.08, 0.08)),
            top + h * rng.uniform(0.30, 0.46),
            max(w, h) * rng.uniform(0.40, 0.58),
        )
        return cls(size, seed, actor, (left, top, left + w, top + h), middle, subject)

    def recast(self, subject: Cutout) -> Stage:
        """The same place with another cut-out in the subject's, as large and on the same foot."""
        return self._standing(layer(subject, max(self.actor.shape[:2])), subject)

    def _standing(self, actor: Layer, subject: Cutout, centre: float | None = None) -> Stage:
        h, w = actor.shape[:2]
        left, _, right, bottom = self.box
        middle = (left + right) / 2 if centre is None else centre
        x = round(middle - w / 2)
        # Too tall for the picture, it is cut at the foot, not at the head.
        top = max(bottom - h, round(0.05 * self.size[1]))
        return replace(self, actor=actor, subject=subject, box=(x, top, x + w, top + h))

    def posed(self, pose: str | None) -> Stage:
        """The same subject in a pose."""
        if pose is None:
            return self
        share, centre, turned = POSES[pose]
        actor = layer(self.subject, round(min(self.size) * share))
        return self._standing(
            actor[:, ::-1] if turned else actor, self.subject, self.size[0] * centre
        )

    def cover(self, spot: int = 0) -> tuple[float, float, float]:
        """The centre (x, y) and the longer side of what covers the actor, pixels.

        Spot 0 lies somewhat above the middle; the others lie anywhere near, so that many
        parts of one subject are hidden in turn.
        """
        if spot == 0:
            return self.middle
        rng = np.random.default_rng([self.seed, 5, spot])
        left, top, right, bottom = self.box
        w, h = right - left, bottom - top
        return (
            left + w * (0.5 + rng.uniform(-0.14, 0.14)),
            top + h * rng.uniform(0.26, 0.56),
            max(w, h) * rng.uniform(0.38, 0.60),
        )

    def spot(self, side: str) -> tuple[int, int, int, int]:
        """The square on the floor where a thing may stand, (left, top, right, bottom)."""
        width, height = self.size
        edge = round(min(self.size) * 0.27)
        left = round(width * 0.03) if side == "left" else width - edge - round(width * 0.03)
        foot = min(height - 3, self.box[3] + round(height * 0.02))
        return left, foot - edge, left + edge, foot


@lru_cache(maxsize=4096)
def _cutout_pixels(cutout: Cutout) -> NDArray[np.uint8]:
    return pixels(cutout)


def layer(cutout: Cutout, edge: int) -> Layer:
    """A cut-out scaled so that its longer side is ``edge`` pixels: float32 (h, w, 4)."""
    raw = Image.fromarray(_cutout_pixels(cutout))
    scale = edge / max(raw.size)
    size = (max(2, round(raw.width * scale)), max(2, round(raw.height * scale)))
    # Premultiplied while resizing: straight alpha would bleed the colour of empty pixels.
    flat = np.asarray(raw.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA"))
    return flat.astype(np.float32) / 255.0


def over(canvas: Pixels, top: Layer, at: tuple[int, int]) -> Pixels:
    """``top`` over ``canvas`` with its upper left corner ``at`` (x, y); what overhangs is cut."""
    height, width = canvas.shape[:2]
    x, y = at
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(width, x + top.shape[1]), min(height, y + top.shape[0])
    if x0 >= x1 or y0 >= y1:
        return canvas
    part = top[y0 - y : y1 - y, x0 - x : x1 - x]
    out = canvas.copy()
    alpha = part[..., 3:]
    out[y0:y1, x0:x1] = out[y0:y1, x0:x1] * (1 - alpha) + part[..., :3] * alpha
    return out


def shadow(canvas: Pixels, box: tuple[int, int, int, int]) -> Pixels:
    """A soft elliptic shadow under whatever stands in ``box``, as far as it is seen.

    A narrow subject that is ``close`` has its foot, and all of its shadow, below the picture.
    """
    height, width = canvas.shape[:2]
    left, _, right, bottom = box
    cx, rx = (left + right) / 2, max(2.0, (right - left) * 0.42)
    ry = max(1.5, rx * 0.2)
    y0, y1 = (min(max(0, int(y)), height) for y in (bottom - 3 * ry, bottom + 3 * ry + 1))
    yy, xx = np.mgrid[y0:y1, 0:width]
    fall = np.exp(-(((xx - cx) / rx) ** 2 + ((yy - bottom) / ry) ** 2))
    shaded = canvas.copy()
    shaded[y0:y1] *= (1 - 0.45 * fall[..., None]).astype(np.float32)
    return shaded


def outline(canvas: Pixels, box: tuple[int, int, int, int], thickness: int = 2) -> Pixels:
    """A red rectangle, ``thickness`` pixels wide, just inside ``box``."""
    x0, y0, x1, y1 = box
    out = canvas.copy()
    for rows, columns in (
        (slice(y0, y0 + thickness), slice(x0, x1)), (slice(y1 - thickness, y1), slice(x0, x1)),
        (slice(y0, y1), slice(x0, x0 + thickness)), (slice(y0, y1), slice(x1 - thickness, x1)),
    ):  # fmt: skip
        out[rows, columns] = BOX_RED
    return out
