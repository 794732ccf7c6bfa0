"""Whether what an edit keeps is as sharp as it was, and what a difference looks like. Numpy only.

PSNR forgives softness: a blurred copy scores well. So the fine part of the luma is compared by
itself, where nothing was to change; and the whole picture by its edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kontext_engine.evaluation.score import LUMA, Mask, Picture, change_mask, mean

Plane = NDArray[np.float64]

_LEAST = 64  # pixels: fewer tell nothing of detail
_FLAT = 0.05  # levels: truth with less fine structure has nothing that could be kept
_CONTRAST = 170.0  # of GMSD, for levels of 0..255


@dataclass(frozen=True, slots=True)
class Sharpness:
    """One picture against the truth.

    ``correlation`` (-1..1) and ``energy`` (root mean square, levels) are of the fine part where
    nothing was to change, None where there is no such part or no detail in it; ``deviation`` is
    of the whole picture, see ``gradient_deviation``.
    """

    correlation: float | None
    energy: float | None
    deviation: float


@dataclass(frozen=True, slots=True)
class Sides:
    """An edit's output, its truth through the autoencoder, the copied source, and the truth."""

    output: Sharpness
    ceiling: Sharpness
    copy: Sharpness
    truth: Sharpness


def compared(output: Picture, passed: Picture, source: Picture, truth: Picture) -> Sides:
    """All of an edit's pictures against its truth, where the truth is as the source was."""
    kept = ~change_mask(source, truth[None])
    return Sides(*(sharpness(one, truth, kept) for one in (output, passed, source, truth)))


def fine(picture: Picture) -> Plane:
    """The luma (h, w) less its mean over 3 x 3 pixels, weighted 1-2-1: above a fifth of a cycle."""
    luma = picture.astype(np.float64) @ LUMA
    soft: Plane = luma
    for axis in (0, 1):
        width = [(1, 1) if k == axis else (0, 0) for k in (0, 1)]
        padded = np.pad(soft, width, mode="edge")
        before, here, after = (
            np.take(padded, range(k, k + luma.shape[axis]), axis=axis) for k in range(3)
        )
        soft = (before + 2 * here + after) / 4
    rest: Plane = luma - soft
    return rest


def sharpness(picture: Picture, truth: Picture, kept: Mask) -> Sharpness:
    """How much of the truth's detail a picture has where ``kept`` (h, w); how its edges differ."""
    deviation = gradient_deviation(picture, truth)
    inner = _inner(kept)
    if inner.sum() < _LEAST:
        return Sharpness(None, None, deviation)
    mine, theirs = fine(picture)[inner], fine(truth)[inner]
    strength = sqrt(float((theirs**2).mean()))
    if strength < _FLAT:
        return Sharpness(None, None, deviation)
    energy = sqrt(float((mine**2).mean()))
    together = float((mine * theirs).mean())
    return Sharpness(together / (energy * strength) if energy else 0.0, energy, deviation)


def gradient_deviation(picture: Picture, truth: Picture) -> float:
    """Gradient magnitude similarity deviation (Xue et al. 2014, arXiv 1308.3052): 0 for the same.

    Luma at half the size; edges by Prewitt's filter. It follows people's judgement of blur, noise
    and blocks more closely than PSNR or SSIM do.
    """
    mine, theirs = (_edges(one) for one in (picture, truth))
    likeness = (2 * mine * theirs + _CONTRAST) / (mine**2 + theirs**2 + _CONTRAST)
    return float(likeness.std())


def _edges(picture: Picture) -> Plane:
    luma = picture.astype(np.float64) @ LUMA
    height, width = (edge // 2 * 2 for edge in luma.shape)
    half = luma[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    rows = half[:-2] + half[1:-1] + half[2:]
    columns = half[:, :-2] + half[:, 1:-1] + half[:, 2:]
    across = (rows[:, 2:] - rows[:, :-2]) / 3
    down = (columns[2:] - columns[:-2]) / 3
    magnitude: Plane = np.hypot(across, down)
    return magnitude


def _inner(kept: Mask) -> Mask:
    """Without the pixels whose 3 x 3 reach what changes, or the border."""
    inner = np.zeros_like(kept)
    height, width = kept.shape
    inner[1:-1, 1:-1] = np.all(
        [kept[y : y + height - 2, x : x + width - 2] for y in range(3) for x in range(3)], axis=0
    )
    return inner


@dataclass(frozen=True, slots=True)
class Detail:
    """Means over edits: correlation and energy of the kept part, and the edges' deviation.

    ``count`` edits have a kept part with detail. Energies in levels: of the outputs, of the truth
    through the autoencoder, of the truth. Correlations and deviations: output, autoencoder, and for
    deviations the copied source.
    """

    count: int
    correlation: tuple[float | None, ...]
    energy: tuple[float | None, ...]
    deviation: tuple[float | None, ...]

    @property
    def of_autoencoder(self) -> float | None:
        """The outputs' energy as a share of the autoencoder's own."""
        return _ratio(self.energy[0], self.energy[1])

    @property
    def of_truth(self) -> float | None:
        """The outputs' energy as a share of the truth's."""
        return _ratio(self.energy[0], self.energy[2])

    def as_json(self) -> dict[str, Any]:
        """For the report's JSON."""
        three = ("output", "autoencoder", "truth")
        return {
            "count": self.count,
            "correlation": dict(zip(three, self.correlation, strict=False)),
            "energy": dict(zip(three, self.energy, strict=True)),
            "energy_of_autoencoder": self.of_autoencoder,
            "energy_of_truth": self.of_truth,
            "gradient_deviation": dict(
                zip(("output", "autoencoder", "copy"), self.deviation, strict=True)
            ),
        }


def detail(edits: Sequence[Sides]) -> Detail:
    """Sum up every edit's sides."""
    told = [sides for sides in edits if sides.truth.energy is not None]

    def means(name: str, found: Sequence[Sides], *sides: str) -> tuple[float | None, ...]:
        rows = [[getattr(getattr(one, side), name) or 0.0 for one in found] for side in sides]
        return tuple(map(mean, rows))

    return Detail(
        len(told),
        means("correlation", told, "output", "ceiling"),
        means("energy", told, "output", "ceiling", "truth"),
        means("deviation", edits, "output", "ceiling", "copy"),
    )


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None
