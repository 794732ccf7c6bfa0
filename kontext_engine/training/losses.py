"""What the autoencoder's training holds a picture to, besides its pixels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

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
