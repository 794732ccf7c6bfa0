"""Training of the miniature's autoencoder: x8, 16 latent channels (the shape of FLUX's VAE, [B]).

Loss: L1 and squared error on pixels in -1..1, with a small KL term that keeps latents bounded.
Every random number derives from (seed, step), so a resumed run equals an undisturbed one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from kontext_engine.codec import from_levels
from kontext_engine.training import checkpoint
from kontext_engine.training.average import moving_average
from kontext_engine.training.interrupt import whole_steps
from kontext_engine.training.schedule import learning_rate
from kontext_engine.training.studio import Studio

KL_WEIGHT = 1e-4
SQUARED_WEIGHT = 8.0
RING = 60  # families kept for crops: 1,680 pictures
REFRESH = 4  # steps between new families


@dataclass(frozen=True, slots=True)
class AutoencoderRun:
    """One training run: where its checkpoints live, how long, how fast."""

    folder: Path
    steps: int = 9000
    batch: int = 8
    crop: int = 64
    peak: float = 7e-4
    warmup: int = 200
    seed: int = 0
    save_every: int = 500
    decoder_only: bool = False  # keep the latents: refine the decoder under a trained transformer


def new_autoencoder() -> AutoencoderKL:
    """The miniature's architecture, untrained: x8, 16 channels, 3.15 M parameters, no attention."""
    return AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=16,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(24, 48, 96, 128), layers_per_block=1, norm_num_groups=8,
        mid_block_add_attention=False, use_quant_conv=False, use_post_quant_conv=False,
        sample_size=128, scaling_factor=1.0, shift_factor=0.0, force_upcast=False,
    )  # fmt: skip


class CropSource:
    """Random crops of studio pictures; what it holds at a step is a function of the step."""

    def __init__(self, studio: Studio, seed: int, size: tuple[int, int] = (128, 128)) -> None:
        self._studio, self._seed, self._size = studio, seed, size
        self._ring: dict[int, NDArray[np.uint8]] = {}

    def batch(self, step: int, count: int, crop: int) -> Tensor:
        """float32 (count, 3, crop, crop) in -1..1."""
        newest = RING + step // REFRESH
        for index in range(newest - RING, newest):
            if index not in self._ring:
                self._ring[index] = self._studio.family(self._seed + index, self._size).pictures
        for index in [i for i in self._ring if i < newest - RING]:
            del self._ring[index]
        rng = np.random.default_rng([self._seed, step, 7])
        crops = []
        for _ in range(count):
            family = self._ring[int(rng.integers(newest - RING, newest))]
            picture = family[int(rng.integers(len(family)))]
            y, x = (int(rng.integers(0, edge - crop + 1)) for edge in picture.shape[:2])
            piece = picture[y : y + crop, x : x + crop]
            crops.append(piece[:, ::-1] if rng.random() < 0.5 else piece)
        return from_levels(np.stack(crops))


def psnr(model: AutoencoderKL, pixels: Tensor) -> float:
    """Mean PSNR in dB over pictures (n, 3, h, w) in -1..1, coded by the distribution's mode."""
    with torch.inference_mode():
        decoded = model.decode(model.encode(pixels).latent_dist.mode()).sample.clamp(-1, 1)
    error = (decoded - pixels).pow(2).mean(dim=(1, 2, 3))
    return float((10 * torch.log10(4.0 / error.clamp_min(1e-12))).mean())


def train_autoencoder(
    run: AutoencoderRun,
    studio: Studio,
    held_out: Tensor,
    device: torch.device | None = None,
    init: Path | None = None,
    report: Callable[[int, float, float | None], None] | None = None,
) -> AutoencoderKL:
    """Train, resuming from ``run.folder`` where it holds a checkpoint; returns the EMA weights.

    ``held_out`` (n, 3, h, w) in -1..1 is only measured. ``report(step, loss, dB or None)`` is
    called every 50 steps, with the held-out PSNR at every checkpoint.

    Raises:
        FloatingPointError: the loss is no longer finite.
        KeyboardInterrupt: after Ctrl-C, when the step is done and saved.
    """
    device = device or torch.device("cpu")
    progress = _Progress(run, _begin(run, init), device)
    source = CropSource(studio, run.seed)
    with whole_steps() as stopped:
        while progress.done < run.steps:
            loss = progress.step(source.batch(progress.done, run.batch, run.crop))
            done = progress.done
            if done % run.save_every == 0 or done == run.steps:
                progress.save()
                measured = psnr(progress.ema.module.eval(), held_out.to(device))
                if report:
                    report(done, loss, measured)
            elif done % 50 == 0 and report:
                report(done, loss, None)
            if stopped():
                progress.save()
                raise KeyboardInterrupt
    return progress.ema.module.eval()


def _begin(run: AutoencoderRun, init: Path | None) -> AutoencoderKL:
    if init is not None:
        return AutoencoderKL.from_pretrained(init)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        return new_autoencoder()


class _Progress:
    """The weights, their average and the optimizer, after ``done`` steps."""

    def __init__(self, run: AutoencoderRun, model: AutoencoderKL, device: torch.device) -> None:
        self.run, self.device, self.done = run, device, 0
        model.encoder.requires_grad_(not run.decoder_only)
        self.model = model.to(device, memory_format=torch.channels_last).train()
        self.ema = moving_average(self.model, 0.999)
        self.learned = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.learned, lr=run.peak, betas=(0.9, 0.99), weight_decay=1e-4
        )
        if (state := checkpoint.load_newest(run.folder)) is not None:
            self.model.load_state_dict(state["model"])
            self.ema.load_state_dict(state["ema"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.done = state["step"]

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(), "step": self.done, "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }  # fmt: skip
        checkpoint.save(self.run.folder, self.done, state)

    def step(self, pixels: Tensor) -> float:
        """One optimizer step on crops (b, 3, h, w) in -1..1; returns their loss."""
        run = self.run
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(
                self.done, peak=run.peak, warmup=run.warmup, total=run.steps
            )
        pixels = pixels.to(self.device, memory_format=torch.channels_last)
        loss = _loss(self.model, pixels, self.done, run)
        if not math.isfinite(loss.item()):
            raise FloatingPointError(
                f"{run.folder}: the loss is {loss.item()} at step {self.done}; "
                "lower --peak and resume from the last checkpoint"
            )
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.learned, 1.0)
        self.optimizer.step()
        self.ema.update_parameters(self.model)
        self.done += 1
        return loss.item()


def _loss(model: AutoencoderKL, pixels: Tensor, step: int, run: AutoencoderRun) -> Tensor:
    noise = torch.Generator().manual_seed(run.seed * 1_000_003 + step)
    with torch.autocast(pixels.device.type, torch.bfloat16):
        posterior = model.encode(pixels).latent_dist
        spread = torch.randn(posterior.mean.shape, generator=noise).to(pixels.device)
        decoded = model.decode(posterior.mean + posterior.std * spread).sample.float()
    mean, variance, log_variance = (
        posterior.mean.float(), posterior.var.float(), posterior.logvar.float()
    )  # fmt: skip
    kl = 0.5 * (mean**2 + variance - 1 - log_variance).mean()
    loss: Tensor = (
        functional.l1_loss(decoded, pixels)
        + SQUARED_WEIGHT * functional.mse_loss(decoded, pixels)
        + KL_WEIGHT * kl
    )
    return loss
