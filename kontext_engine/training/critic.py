"""A small patch critic that holds a decoder to drawing as sharply as the truth is.

Pixel losses ask for the mean of all pictures that a latent may stand for, and a mean is soft. The
critic tells patches of true pictures from decoded ones (hinge loss); the decoder is asked for
patches that it takes for true. Its weight follows the pixels' gradient at the decoder's last
layer, so that it neither drowns nor is drowned (arXiv 2012.09841, section 3.1).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from kontext_engine.mixed import mixed

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


class Judge:
    """The critic with its optimizer; it learns at the decoder's rate."""

    def __init__(self, weight: float, rate: float, seed: int, device: torch.device) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = PatchCritic()
        self._weight = weight
        self._net = net.to(device).train()
        self._optimizer = torch.optim.AdamW(net.parameters(), lr=rate, betas=(0.5, 0.99))

    def wish(self, loss: Tensor, decoded: Tensor, last_layer: Tensor) -> Tensor:
        """What the critic adds to the decoder's loss."""
        self._net.requires_grad_(False)
        with mixed(decoded.device):
            wish = -self._net(decoded).float().mean()
        added: Tensor = self._weight * balance(loss, wish, last_layer) * wish
        return added

    def step(self, pixels: Tensor, decoded: Tensor, rate: float) -> None:
        """Learn to tell these apart."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._net.requires_grad_(True)
        with mixed(decoded.device):
            on_true, on_decoded = self._net(torch.cat([pixels, decoded])).float().chunk(2)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(critic_loss(on_true, on_decoded))
        self._optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """All that it goes on from, bit for bit."""
        return {"net": self._net.state_dict(), "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._net.load_state_dict(state["net"])
        self._optimizer.load_state_dict(state["optimizer"])
