"""The bench's arithmetic on pictures: masks, errors, who is nearest, artefact energy. Numpy only.

Pictures are uint8 (h, w, 3); errors are in levels of 255. Nothing here touches a picture: a
model's output is scored as it came.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, log10, sqrt

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]

THRESHOLD = 8  # levels: a channel that differs by more is a change
BEST_PSNR = 60.0  # dB: stands for "no difference", so that a mean exists
_LEAST_OUTSIDE = 0.01  # of the picture: less kept area tells nothing about preservation
LUMA = np.array([0.299, 0.587, 0.114])  # Rec. 601
_HIGH = 0.25  # cycles a pixel: half of what a picture can hold


def change_mask(source: Picture, others: NDArray[np.uint8], threshold: int = THRESHOLD) -> Mask:
    """Where any of ``others`` (n, h, w, 3) differs from the source, (h, w)."""
    apart = np.abs(others.astype(np.int16) - source.astype(np.int16)) > threshold
    return np.asarray(apart.any(axis=(0, 3)))


def mean_squared_error(
    picture: Picture, others: NDArray[np.uint8], mask: Mask
) -> NDArray[np.float64]:
    """RGB mean squared error inside the mask against each of ``others`` (n, h, w, 3): (n,)."""
    apart = others[:, mask].astype(np.float64) - picture[mask].astype(np.float64)
    errors: NDArray[np.float64] = (apart**2).mean(axis=(1, 2))
    return errors


def nearest(output: Picture, candidates: NDArray[np.uint8], mask: Mask) -> int:
    """The candidate that the output resembles most inside the mask.

    On a tie the last one, so that the truth, which comes first, has to be strictly nearer.
    """
    errors = mean_squared_error(output, candidates, mask)
    return len(errors) - 1 - int(np.argmin(errors[::-1]))


def psnr(picture: Picture, truth: Picture, mask: Mask) -> float:
    """Peak signal-to-noise ratio inside the mask in dB, at most ``BEST_PSNR``."""
    error = float(mean_squared_error(picture, truth[None], mask)[0])
    return min(BEST_PSNR, 10 * log10(255**2 / error)) if error > 0 else BEST_PSNR


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Against the truth in dB: ``edit`` inside the change, ``keep`` outside (None: no outside)."""

    edit: float
    keep: float | None


def fidelity(picture: Picture, source: Picture, truth: Picture) -> Fidelity:
    """How exact an answer is where the truth differs from the source, and elsewhere."""
    changed = change_mask(source, truth[None])
    kept = ~changed
    outside = psnr(picture, truth, kept) if kept.mean() >= _LEAST_OUTSIDE else None
    return Fidelity(psnr(picture, truth, changed), outside)


def artefact_energy(picture: Picture) -> float:
    """Root mean square, in levels, of what lies above 0.25 cycles a pixel in the luma.

    A Hann window keeps the borders out. Sharp edges count too, so it means something beside the
    same figure of the ground truth.
    """
    luma = picture.astype(np.float64) @ LUMA
    height, width = luma.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    level = (luma * window).sum() / window.sum()
    spectrum = np.fft.fft2((luma - level) * window)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    power = (np.abs(spectrum[frequency > _HIGH]) ** 2).sum() / (height * width)
    return sqrt(power / (window**2).sum())


@dataclass(frozen=True, slots=True)
class Share:
    """``right`` of ``count`` with its 95 % interval (Wilson's score interval), all 0..1."""

    right: int
    count: int

    @property
    def value(self) -> float:
        """The share; 0 of nothing."""
        return self.right / self.count if self.count else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson 1927: solves |p - share| = z sqrt(p (1 - p) / n) for p, z = 1.96."""
        if not self.count:
            return 0.0, 1.0
        z, n, p = 1.959964, self.count, self.value
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)

    def as_json(self) -> dict[str, float | int]:
        """For the report's JSON."""
        low, high = self.interval
        return {
            "value": self.value, "low": low, "high": high,
            "right": self.right, "count": self.count,
        }  # fmt: skip


def share(hits: list[bool]) -> Share:
    """How many of these are true."""
    return Share(sum(hits), len(hits))


def mean(values: list[float]) -> float | None:
    """The mean of what is finite; ``None`` of nothing."""
    kept = [v for v in values if isfinite(v)]
    return sum(kept) / len(kept) if kept else None


def median(values: list[float]) -> float | None:
    """The median; ``None`` of nothing."""
    return float(np.median(values)) if values else None
