"""Training views: one subject in a random scene, place, tint and light, composed in batches.

The same ingredients as the studio's pictures (scenes, cut-outs, tints, weathers, occluders, things
beside the subject), put together at 32 px without its exactness and many times as fast. Some
views are blurred and made noisy: the net is to judge a model's pictures, not only renders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from kontext_engine.evaluation.identity.net import EDGE, WIDTH
from kontext_engine.training.cutouts import OCCLUDERS, THINGS, Cutout, pixels
from kontext_engine.training.effects import TINTS, WEATHER, luminance, tint, weather
from kontext_engine.training.scenes import SCENES, render_scene

FIRST_SEED = 30_000_000  # scene instances of its own: neither training's nor the bench's
_SOURCE = 32  # pixels: the longer side of the cut-outs that views are made from
_LAYOUTS = 16  # instances kept of each scene

TINTED, WEATHERED, BESIDE, COVERED, BLURRED = 0.35, 0.35, 0.35, 0.12, 0.5  # shares of the views


@dataclass(frozen=True, slots=True)
class Views:
    """``count`` pictures (n, 3, 32, 32) in -1..1, the subject's and the scene's index of each."""

    pixels: Tensor
    subject: Tensor
    scene: Tensor


class ViewMaker:
    """Makes views of ``subjects`` (lists of cut-outs that show the same subject)."""

    def __init__(self, subjects: Sequence[Sequence[Cutout]]) -> None:
        flat = [c for group in subjects for c in group]
        self._cutouts = np.stack([_squared(c) for c in flat])
        starts = np.cumsum([0, *(len(group) for group in subjects)])
        self._rows = [range(a, b) for a, b in pairwise(starts)]
        place = {c.name: k for k, c in enumerate(flat)}
        self._things = [place[n] for n in THINGS if n in place]
        self._occluders = [place[n] for n in OCCLUDERS if n in place]
        self.scenes = tuple(SCENES)
        rendered = [
            render_scene(name, FIRST_SEED + k, (EDGE, EDGE))
            for name in self.scenes
            for k in range(_LAYOUTS)
        ]
        self._scenes = torch.from_numpy(np.stack(rendered)).permute(0, 3, 1, 2).contiguous()

    def portraits(self) -> Tensor:
        """How each subject looks by itself: unit vectors (subjects, 64).

        The principal components of shape (alpha), shading and colour on a 8x8 grid, half
        whitened. As the prototypes to start from they give the net something to aim at that
        means the same for subjects it has never seen; unrelated ones it hardly learns in minutes.
        """
        first = self._cutouts[[rows[0] for rows in self._rows]].astype(np.float32) / 255.0
        cells = first.reshape(len(first), 8, _SOURCE // 8, 8, _SOURCE // 8, 4)
        weight = cells[..., 3:].mean((2, 4))
        colour = (cells[..., :3] * cells[..., 3:]).mean((2, 4))
        luma = luminance(colour)
        low, high = luma.min((1, 2, 3), keepdims=True), luma.max((1, 2, 3), keepdims=True)
        shading = luma / np.maximum(high - low, 0.2)
        seen = np.concatenate([weight, shading, colour - luma], axis=3).reshape(len(first), -1)
        left, spread, _ = np.linalg.svd(seen - seen.mean(0), full_matrices=False)
        codes = torch.from_numpy(left[:, :WIDTH] * np.sqrt(spread[:WIDTH]))
        missing = WIDTH - codes.shape[1]  # fewer subjects than components
        return functional.normalize(functional.pad(codes, (0, missing)), dim=1)

    def draw(self, count: int, rng: np.random.Generator) -> Views:
        """A batch; a pure function of ``rng``'s state."""
        subject = rng.integers(len(self._rows), size=count)
        scene = rng.integers(len(self.scenes), size=count)
        layout = rng.integers(_LAYOUTS, size=count)
        rows = [self._rows[s][int(rng.integers(len(self._rows[s])))] for s in subject]
        canvas = self._scenes[torch.from_numpy(scene * _LAYOUTS + layout)].clone()
        edge = EDGE * rng.uniform(0.46, 0.78, count)
        centre = EDGE * (0.5 + rng.uniform(-0.12, 0.12, count))
        foot = EDGE * rng.uniform(0.82, 0.97, count)
        canvas = _shadowed(canvas, centre, foot, edge)
        canvas = _over(canvas, self._layers(rows, rng), edge, centre, foot)
        covered = rng.random(count) < COVERED
        size = np.where(covered, edge * rng.uniform(0.35, 0.55, count), 0.5)
        canvas = _over(
            canvas, self._props(self._occluders, count, rng), size,
            centre + edge * rng.uniform(-0.1, 0.1, count),
            foot - edge * rng.uniform(0.25, 0.5, count) + size / 2,
        )  # fmt: skip
        beside = rng.random(count) < BESIDE
        size = np.where(beside, EDGE * rng.uniform(0.2, 0.3, count), 0.5)
        left = rng.random(count) < 0.5
        canvas = _over(
            canvas, self._props(self._things, count, rng), size,
            EDGE * np.where(left, 0.165, 0.835), foot + EDGE * 0.02,
        )  # fmt: skip
        lit = self._weathered(canvas, rng)
        return Views(_worn(lit, rng) * 2 - 1, torch.from_numpy(subject), torch.from_numpy(scene))

    def _layers(self, rows: Sequence[int], rng: np.random.Generator) -> Tensor:
        """Premultiplied cut-outs (b, 4, 32, 32), some of them tinted."""
        straight = self._cutouts[list(rows)].astype(np.float32) / 255.0
        colours = list(TINTS.values())
        for k in np.flatnonzero(rng.random(len(rows)) < TINTED):
            colour = colours[int(rng.integers(len(colours)))]
            straight[k, ..., :3] = tint(straight[k, ..., :3], colour)
        straight[..., :3] *= straight[..., 3:]
        return torch.from_numpy(straight).permute(0, 3, 1, 2).contiguous()

    def _props(self, rows: Sequence[int], count: int, rng: np.random.Generator) -> Tensor:
        chosen = [rows[int(k)] for k in rng.integers(len(rows), size=count)]
        straight = self._cutouts[chosen].astype(np.float32) / 255.0
        straight[..., :3] *= straight[..., 3:]
        return torch.from_numpy(straight).permute(0, 3, 1, 2).contiguous()

    def _weathered(self, canvas: Tensor, rng: np.random.Generator) -> Tensor:
        names = list(WEATHER)
        for k in np.flatnonzero(rng.random(len(canvas)) < WEATHERED):
            name, seed = names[int(rng.integers(len(names)))], int(rng.integers(1 << 30))
            picture = canvas[int(k)].permute(1, 2, 0).numpy()
            canvas[int(k)] = torch.from_numpy(weather(name, picture, seed)).permute(2, 0, 1)
        return canvas


def _squared(cutout: Cutout) -> NDArray[np.uint8]:
    """A cut-out on a 32-pixel square, standing on the middle of its lower edge."""
    rgba = pixels(cutout, _SOURCE)
    height, width = rgba.shape[:2]
    square = np.zeros((_SOURCE, _SOURCE, 4), np.uint8)
    left = (_SOURCE - width) // 2
    square[_SOURCE - height :, left : left + width] = rgba
    return square


def _column(values: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))[:, None, None]


def _over(
    canvas: Tensor,
    layers: Tensor,
    edge: NDArray[np.float64],
    centre: NDArray[np.float64],
    foot: NDArray[np.float64],
) -> Tensor:
    """Layers over canvases, each scaled to ``edge`` pixels with its foot at (centre, foot)."""
    half_in, half_out = _SOURCE / 2, EDGE / 2
    shrink = torch.from_numpy((edge / _SOURCE).astype(np.float32))
    cx = torch.from_numpy(centre.astype(np.float32))
    cy = torch.from_numpy(foot.astype(np.float32))
    theta = torch.zeros(len(canvas), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = half_out / (half_in * shrink)
    theta[:, 0, 2] = (half_out - cx) / (half_in * shrink)
    theta[:, 1, 2] = (half_out - cy) / (half_in * shrink) + 1
    grid = functional.affine_grid(theta, [len(canvas), 4, EDGE, EDGE], align_corners=False)
    warped = functional.grid_sample(layers, grid, align_corners=False)
    return canvas * (1 - warped[:, 3:]) + warped[:, :3]


def _shadowed(
    canvas: Tensor,
    centre: NDArray[np.float64],
    foot: NDArray[np.float64],
    edge: NDArray[np.float64],
) -> Tensor:
    ys, xs = torch.meshgrid(torch.arange(EDGE), torch.arange(EDGE), indexing="ij")
    rx = _column(edge) * 0.36
    fall = torch.exp(
        -(((xs - _column(centre)) / rx) ** 2) - ((ys - _column(foot)) / (rx * 0.2)) ** 2
    )
    return canvas * (1 - 0.45 * fall[:, None])


def _worn(canvas: Tensor, rng: np.random.Generator) -> Tensor:
    """Some views softened and made noisy, as decoded pictures are."""
    count = len(canvas)
    amount = _column(np.where(rng.random(count) < BLURRED, rng.uniform(0, 1, count), 0.0))[:, None]
    soft = functional.avg_pool2d(functional.pad(canvas, (1, 1, 1, 1), mode="replicate"), 3, 1)
    noise = torch.from_numpy(rng.standard_normal(canvas.shape, dtype=np.float32))
    worn: Tensor = (canvas + (soft - canvas) * amount + noise * amount * 0.03).clamp(0, 1)
    return worn
