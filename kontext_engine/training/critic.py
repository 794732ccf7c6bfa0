"""A small patch critic that holds a decoder to drawing as sharply as the truth is.

Pixel losses ask for the mean of all pictures that a latent may stand for, and a mean is soft. The
critic tells patches of true pictures from decoded ones (hinge loss); the decoder is asked for
patches that it takes for true. Its weight follows the pixels' gradient at the decoder's last
layer, so that it neither drowns nor is drowned (arXiv 2012.09841, section 3.1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

CHANNELS = (32, 64, 96)
MOST = 10.0  # of the weight that the gradients ask for


class PatchCritic(nn.Module):
    """Pixels (b, 3, h, w) in -1..1 to verdicts (b, 1, h / 4, w / 4), each on about 22 x 22 pixels.

    Positive verdicts say true. Spectral norms keep its slope, and so the decoder's gradient,
    bounded without a penalty of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        first, second, third = CHANNELS
        self.layers = nn.Sequential(
            parametrizations.spectral_norm(nn.Conv2d(3, first, 4, 2, 1)),
            nn.LeakyReLU(0.2),
            parametrizations.spectral_norm(nn.Conv2d(first, second, 4, 2, 1)),
            nn.LeakyReLU(0.2),
            parametrizations.spectral_norm(nn.Conv2d(second, third, 3, 1, 1)),
            nn.LeakyReLU(0.2),
            parametrizations.spectral_norm(nn.Conv2d(third, 1, 1)),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Verdicts on overlapping patches."""
        verdicts: Tensor = self.layers(pixels)
        return verdicts


def critic_loss(on_true: Tensor, on_made: Tensor, weights: Tensor | float = 1.0) -> Tensor:
    """Hinge: what is told apart by more than a margin of 1 on both sides costs nothing."""
    return 0.5 * (weights * (functional.relu(1 - on_true) + functional.relu(1 + on_made))).mean()


def balance(pixel_loss: Tensor, wish: Tensor, last_layer: Tensor) -> Tensor:
    """The factor that makes the wish's gradient at ``last_layer`` as long as the pixels'."""
    ours, theirs = (
        torch.autograd.grad(loss, last_layer, retain_graph=True)[0].norm()
        for loss in (pixel_loss, wish)
    )
    factor: Tensor = ours / (theirs + 1e-6)
    return factor.clamp(max=MOST).detach()
