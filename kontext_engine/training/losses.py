"""What training holds a picture to besides its pixels, and how a batch's tokens are weighed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SETTLED = 0.1  # mean squared difference of latents at which a token counts as half changed
LEAST = 0.06  # of a picture's tokens: a smaller part is not weighed up any further
OCTAVES = (1.0, 0.5)  # weights of the finest octaves of a Laplacian pyramid, finest first


def detail_loss(error: Tensor) -> Tensor:
    """Mean magnitude of what an error (b, c, h, w) has in its finest octaves.

    Of a sharp edge drawn softly most of the error lies here, and little of the pixels' loss. The
    pyramid is linear, so the octaves of the error are the error of the octaves.
    """
    loss = error.new_zeros(())
    for weight in OCTAVES:
        coarse = functional.avg_pool2d(error, 2)
        fine = error - functional.interpolate(coarse, scale_factor=2, mode="bilinear")
        loss = loss + weight * fine.abs().mean()
        error = coarse
    return loss


def kl_loss(mean: Tensor, variance: Tensor, log_variance: Tensor) -> Tensor:
    """Mean divergence of the posterior from a standard normal distribution."""
    return 0.5 * (mean**2 + variance - 1 - log_variance).mean()


def change_weights(target: Tensor, context: Tensor | None, share: float) -> Tensor:
    """Weights (b, tokens) of mean 1 that give what an edit changes ``share`` of its loss, and the
    rest to what stays.

    Counted evenly, a local edit is a tenth of its own loss, and copying is learned long before the
    instruction; of a new background the subject, which alone has to be kept, is the small part.
    Neither part counts as less than ``LEAST`` of the picture. ``target`` and ``context``: packed
    latents (b, tokens, c) of unit variance and one size; no context weighs all alike.
    """
    if context is None or context.shape != target.shape:
        return torch.ones(target.shape[:2], device=target.device)
    apart = (target - context).pow(2).mean(dim=2)
    changed = apart / (apart + SETTLED)
    part = changed.mean(dim=1, keepdim=True)
    weights = share * changed / part.clamp(min=LEAST)
    weights = weights + (1 - share) * (1 - changed) / (1 - part).clamp(min=LEAST)
    return weights / weights.mean(dim=1, keepdim=True)
