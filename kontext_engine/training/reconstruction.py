"""How much of a picture an autoencoder gives back: error, structure, sharpness, and its work."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn.functional import conv2d
from torch.utils.flop_counter import FlopCounterMode

from kontext_engine.codec import from_levels, to_pictures
from kontext_engine.evaluation.score import artefact_energy
from kontext_engine.training.cutouts import Cutout, held_out_order
from kontext_engine.training.studio import Studio

_AT_ONCE = 16  # pictures through the model
_LUMA = (0.299, 0.587, 0.114)  # Rec. 601


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Means over pictures. Energies are those of the bench, in levels above 0.25 cycles a pixel."""

    psnr: float  # dB
    ssim: float
    energy: float
    true_energy: float

    @property
    def sharpness(self) -> float:
        """High-frequency energy as a share of the truth's; above 1 it is invented."""
        return self.energy / self.true_energy


def held_out_pictures(cutouts: list[Cutout], families: int = 12, looks: int = 8) -> Tensor:
    """(families * looks, 3, 128, 128) in -1..1: the first looks of the first held-out subjects.

    The first eight looks are bare subjects on their sets, in their colours and weathers; the first
    28 have covers and things as well.
    """
    subjects = held_out_order(cutouts)
    studio = Studio(subjects, cutouts)
    return from_levels(
        np.concatenate(
            [
                studio.family(10_000_000 + k, (128, 128), subjects[k]).pictures[:looks]
                for k in range(families)
            ]
        )
    )


def round_trip(model: AutoencoderKL, pixels: Tensor) -> Tensor:
    """Pictures (n, 3, h, w) in -1..1 coded by the distribution's mode and decoded again."""
    with torch.inference_mode():
        decoded = [
            model.decode(model.encode(some).latent_dist.mode()).sample.clamp(-1, 1)
            for some in torch.split(pixels, _AT_ONCE)
        ]
    return torch.cat(decoded)


def measure(model: AutoencoderKL, pixels: Tensor) -> Reconstruction:
    """The figures of ``model`` over pictures (n, 3, h, w) in -1..1."""
    decoded = round_trip(model, pixels)
    return Reconstruction(
        psnr(decoded, pixels), ssim(decoded, pixels), _energy(decoded), _energy(pixels)
    )


def agreement(model: AutoencoderKL, other: AutoencoderKL, pixels: Tensor) -> float:
    """The share of the variance of ``other``'s latents of pictures that ``model``'s explain."""
    device = next(model.parameters()).device
    with torch.inference_mode():
        mine, theirs = (
            torch.cat(
                [
                    one.encode(some.to(device)).latent_dist.mode()
                    for some in torch.split(pixels, _AT_ONCE)
                ]
            )
            for one in (model, other)
        )
    return 1 - float((mine - theirs).pow(2).mean() / theirs.var())


def psnr(decoded: Tensor, pixels: Tensor) -> float:
    """Mean over the pictures of their PSNR in dB."""
    error = (decoded - pixels).pow(2).mean(dim=(1, 2, 3))
    return float((10 * torch.log10(4.0 / error.clamp_min(1e-12))).mean())


def ssim(decoded: Tensor, pixels: Tensor) -> float:
    """Mean structural similarity of the luma (Wang 2004: Gaussian of 11 pixels, sigma 1.5)."""
    steps = torch.arange(11.0, device=pixels.device) - 5
    line = torch.exp(-(steps**2) / (2 * 1.5**2))
    window = (torch.outer(line, line) / line.sum() ** 2)[None, None]
    a, b = (_luma(p) for p in (decoded, pixels))
    mean_a, mean_b = conv2d(a, window), conv2d(b, window)
    var_a = conv2d(a * a, window) - mean_a**2
    var_b = conv2d(b * b, window) - mean_b**2
    cov = conv2d(a * b, window) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    likeness = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    return float((likeness / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())


def work(model: AutoencoderKL, edge: int = 128) -> tuple[float, float]:
    """(encoder, decoder) GFLOP of one square picture; a multiplication and its sum count as two."""
    pixels = torch.zeros(1, 3, edge, edge, device=next(model.parameters()).device)
    with torch.inference_mode():
        with FlopCounterMode(display=False) as encoding:
            latents = model.encode(pixels).latent_dist.mode()
        with FlopCounterMode(display=False) as decoding:
            model.decode(latents)
    return encoding.get_total_flops() / 1e9, decoding.get_total_flops() / 1e9


def _luma(pixels: Tensor) -> Tensor:
    """(n, 1, h, w) in 0..1."""
    weights = torch.tensor(_LUMA, device=pixels.device)[None, :, None, None]
    return ((pixels * 0.5 + 0.5) * weights).sum(dim=1, keepdim=True)


def _energy(pixels: Tensor) -> float:
    return float(np.mean([artefact_energy(np.asarray(p)) for p in to_pictures(pixels)]))
