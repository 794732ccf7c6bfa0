"""Pictures to latents and back, through a diffusers AutoencoderKL.

The VAE's own mean is taken (no sampling), so a picture has one latent; latents are shifted and
scaled as the configuration says (0.1159 and 0.3611 for Flux's VAE).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor


def to_tensor(pictures: Sequence[Image.Image]) -> Tensor:
    """RGB pictures of one size as (b, 3, height, width) in -1..1, float32 on the CPU."""
    pixels = np.stack([np.asarray(picture, dtype=np.float32) for picture in pictures])
    return torch.from_numpy(pixels / 255.0).permute(0, 3, 1, 2) * 2.0 - 1.0


def from_levels(levels: NDArray[np.uint8], device: torch.device | None = None) -> Tensor:
    """Pictures as arrays (b, height, width, 3) as (b, 3, height, width) in -1..1, float32.

    Of ``to_tensor``'s values up to the last bit; training and its nets were made with these.
    """
    return torch.from_numpy(levels).permute(0, 3, 1, 2).to(device).float() / 127.5 - 1.0


def to_pictures(pixels: Tensor) -> list[Image.Image]:
    """(b, 3, height, width) in -1..1 as RGB pictures; values outside are clipped, then rounded."""
    unit = (pixels.float() * 0.5 + 0.5).clamp(0.0, 1.0)
    levels = (unit.permute(0, 2, 3, 1).cpu().numpy() * 255.0).round().astype(np.uint8)
    return [Image.fromarray(level) for level in levels]


class Codec:
    """A VAE with its latent statistics; lives on the VAE's device, in the VAE's precision."""

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        self._shift = float(vae.config.shift_factor or 0.0)
        self._factor = float(vae.config.scaling_factor)
        self.channels = int(vae.config.latent_channels)
        self.scale = int(2 ** (len(vae.config.block_out_channels) - 1))

    @torch.inference_mode()
    def encode(self, pixels: Tensor) -> Tensor:
        """(b, 3, height, width) in -1..1 to latents (b, c, height / scale, width / scale)."""
        moved = pixels.to(self._vae.device, self._vae.dtype)
        mean = self._vae.encode(moved).latent_dist.mode()
        latents: Tensor = (mean - self._shift) * self._factor
        return latents

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents (b, c, h, w) to pixels (b, 3, h * scale, w * scale), about -1..1."""
        moved = latents.to(self._vae.device, self._vae.dtype)
        pixels: Tensor = self._vae.decode(moved / self._factor + self._shift, return_dict=False)[0]
        return pixels
