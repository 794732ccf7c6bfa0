"""Training of the miniature's autoencoder: x8, 16 latent channels (the shape of FLUX's VAE, [B]).

Loss: L1 and squared error on pixels in -1..1, the error of the finest octaves once more, and a
small KL term that keeps latents bounded. A run of the decoder alone may have a critic as well.
With a *teacher* the latents are the teacher's: the encoder learns to find them, the decoder to draw
from them, so that a transformer that knows them finds its way with another autoencoder.
Every random number derives from (seed, step), so a resumed run equals an undisturbed one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from kontext_engine.mixed import mixed
from kontext_engine.training import checkpoint
from kontext_engine.training.average import moving_average
from kontext_engine.training.critic import Judge
from kontext_engine.training.crops import CropSource, Drawn
from kontext_engine.training.errors import TrainingError
from kontext_engine.training.inherit import load_autoencoder
from kontext_engine.training.interrupt import whole_steps
from kontext_engine.training.losses import detail_loss, kl_loss
from kontext_engine.training.optimizers import Optimizers
from kontext_engine.training.reconstruction import Reconstruction, measure
from kontext_engine.training.schedule import learning_rate
from kontext_engine.training.shards import autoencoder_digest
from kontext_engine.training.studio import Studio

WIDTHS = (16, 32, 64, 128)
KL_WEIGHT = 1e-4
SQUARED_WEIGHT = 8.0
SPREAD_WEIGHT = 1e-3  # of the log-variances' error under a teacher; all else uses the modes
CHANGED = 0.1  # weight of a pixel that an edit changes, of what a model has drawn


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
    decay_from: float = 0.6  # the share of the steps after which the rate falls
    weight_decay: float = 0.01
    widths: tuple[int, ...] = WIDTHS  # of the levels, from the pixels' to the latents'
    detail: float = 1.0  # weight of the finest octaves' error
    decoder_only: bool = False  # keep the latents: refine the decoder under a trained transformer
    begun_from: str = ""  # what it starts from, for a run to be known again; "": nothing
    critic: float = 0.0  # with decoder_only: weight of the critic's wish, 0 for none


def new_autoencoder(widths: tuple[int, ...] = WIDTHS) -> AutoencoderKL:
    """The miniature's architecture, untrained: x8, 16 channels, 2.6 M parameters, no attention.

    3.6 GFLOP to encode and decode 128 x 128 pixels. Most of a level's work is its two upsampled
    convolutions, so each halving of the edge may double the channels at the same cost.
    """
    return AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=16,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=widths, layers_per_block=1, norm_num_groups=8,
        mid_block_add_attention=False, use_quant_conv=False, use_post_quant_conv=False,
        sample_size=128, scaling_factor=1.0, shift_factor=0.0, force_upcast=False,
    )  # fmt: skip


def train_autoencoder(
    run: AutoencoderRun,
    studio: Studio,
    held_out: Tensor,
    device: torch.device | None = None,
    init: Path | None = None,
    report: Callable[[int, float, Reconstruction | None], None] | None = None,
    teacher: AutoencoderKL | None = None,
    drawn: Drawn | None = None,
) -> AutoencoderKL:
    """Train, resuming from ``run.folder`` where it holds a checkpoint; returns the EMA weights.

    ``held_out`` (n, 3, h, w) in -1..1 is only measured. ``teacher``: whose latents are to be kept;
    they are scaled as its own. ``drawn``: half of a step's crops are a model's, for a decoder to
    draw as their truth where that is kept. ``report(step, loss, figures or None)`` is
    called every 50 steps, with the held-out figures at every checkpoint.

    Raises:
        TrainingError: the checkpoint there is damaged, of another model or of a run begun from
            another, or the teacher's latents have another shape.
        FloatingPointError: the loss is no longer finite.
        KeyboardInterrupt: after Ctrl-C, when the step is done and saved.
    """
    device = device or torch.device("cpu")
    progress = _Progress(run, _begin(run, init), device, teacher)
    source = CropSource(studio, run.seed)
    with whole_steps() as stopped:
        while progress.done < run.steps:
            step, count = progress.done, run.batch // 2
            if drawn is None:
                loss = progress.step(source.batch(step, run.batch, run.crop))
            else:
                pixels = source.batch(step, run.batch - count, run.crop)
                loss = progress.step(pixels, drawn.batch(step, count, run.crop, run.seed))
            done = progress.done
            if done % run.save_every == 0 or done == run.steps:
                progress.save()
                measured = measure(progress.ema.module.eval(), held_out.to(device))
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
        return load_autoencoder(init)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        return new_autoencoder(run.widths)


class _Progress:
    """The weights, their average, the optimizer and the critic, after ``done`` steps."""

    def __init__(
        self,
        run: AutoencoderRun,
        model: AutoencoderKL,
        device: torch.device,
        teacher: AutoencoderKL | None,
    ) -> None:
        self.run, self.device, self.done = run, device, 0
        self.teacher = teacher
        if teacher is not None:
            if _shape(teacher) != _shape(model):
                raise TrainingError(
                    f"--latents: {_shape(teacher)}; expected {_shape(model)}: name another model"
                )
            teacher.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
            kept = {name: teacher.config[name] for name in ("shift_factor", "scaling_factor")}
            model.register_to_config(**kept)
        model.encoder.requires_grad_(not run.decoder_only)
        self.model = model.to(device, memory_format=torch.channels_last).train()
        self.ema = moving_average(self.model, 0.999)
        self.learned = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = Optimizers(self.model, run.peak, run.weight_decay)
        self.critic = (
            Judge(run.critic, run.peak, run.seed, device)
            if run.decoder_only and run.critic
            else None
        )
        self.latents = autoencoder_digest(teacher) if teacher is not None else ""
        if (state := checkpoint.load_newest(run.folder)) is not None:
            self._go_on(state)

    def _go_on(self, state: dict[str, Any]) -> None:
        if state.get("latents", "") != self.latents:
            raise TrainingError(
                f"{self.run.folder}: the run there keeps to other latents than --latents names "
                "now; name the same model, or move that folder away to begin anew"
            )
        if state.get("begun_from", "") != self.run.begun_from:
            raise TrainingError(
                f"{self.run.folder}: the run there began from another autoencoder than this one "
                "would; name the same, or move that folder away to begin anew"
            )
        try:
            self.model.load_state_dict(state["model"])
            self.ema.load_state_dict(state["ema"])
        except (KeyError, RuntimeError) as error:
            raise TrainingError(
                f"{self.run.folder}: the checkpoint there is of another model; give the --widths "
                "it was begun with, or move that folder away"
            ) from error
        self.optimizer.load_state_dict(state["optimizer"])
        if self.critic and "critic" in state:
            self.critic.load_state_dict(state["critic"])
        self.done = state["step"]

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(), "step": self.done, "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(), "latents": self.latents,
            "begun_from": self.run.begun_from,
        }  # fmt: skip
        if self.critic:
            state["critic"] = self.critic.state_dict()
        checkpoint.save(self.run.folder, self.done, state)

    def step(self, pixels: Tensor, drawn: tuple[Tensor, Tensor, Tensor] | None = None) -> float:
        """One optimizer step on crops (b, 3, h, w) in -1..1, and on ``Drawn.batch``; returns the
        loss on their pixels."""
        run = self.run
        rate = learning_rate(
            self.done, peak=run.peak, warmup=run.warmup, total=run.steps, decay_from=run.decay_from
        )
        pixels = pixels.to(self.device, memory_format=torch.channels_last)
        loss, decoded = _loss(self.model, self.teacher, pixels, self.done, run)
        if drawn is not None:
            latents, truths, kept = (part.to(self.device) for part in drawn)
            loss = loss + _drawn_loss(self.model, latents, truths, kept, run)
        told = loss.item()
        if not math.isfinite(told):
            raise FloatingPointError(
                f"{run.folder}: the loss is {told} at step {self.done}; "
                "lower --peak and resume from the last checkpoint"
            )
        if self.critic:
            loss = loss + self.critic.wish(loss, decoded, self.model.decoder.conv_out.weight)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.learned, 1.0)
        self.optimizer.step(rate)
        if self.critic:
            self.critic.step(pixels, decoded.detach(), rate)
        self.ema.update_parameters(self.model)
        self.done += 1
        return told


def _drawn_loss(
    model: AutoencoderKL, latents: Tensor, truths: Tensor, kept: Tensor, run: AutoencoderRun
) -> Tensor:
    """The loss on what a model has drawn. Where an edit changes something there are many truths, of
    which the mean is soft: there it hardly counts."""
    with mixed(latents.device):
        decoded = model.decode(latents).sample.float()
    error = (decoded - truths) * torch.where(kept, 1.0, CHANGED)
    return _picture_loss(error, run)


def _picture_loss(error: Tensor, run: AutoencoderRun) -> Tensor:
    """Of an error (b, 3, h, w) on pixels: L1, squared, and the finest octaves once more."""
    loss: Tensor = error.abs().mean() + SQUARED_WEIGHT * error.pow(2).mean()
    return loss + run.detail * detail_loss(error)


def _shape(model: AutoencoderKL) -> str:
    """What a latent of it is."""
    edge = 2 ** (len(model.config["block_out_channels"]) - 1)
    return f"latents of {model.config['latent_channels']} channels for {edge} x {edge} pixels"


def _loss(
    model: AutoencoderKL,
    teacher: AutoencoderKL | None,
    pixels: Tensor,
    step: int,
    run: AutoencoderRun,
) -> tuple[Tensor, Tensor]:
    """The loss on crops, and the crops decoded from a sample of their distribution.

    The teacher's distribution, where there is one: then the model's own only has to be near it.
    """
    noise = torch.Generator().manual_seed(run.seed * 1_000_003 + step)
    with mixed(pixels.device):
        own = posterior = model.encode(pixels).latent_dist
        if teacher is not None:
            with torch.no_grad():
                posterior = teacher.encode(pixels).latent_dist
        spread = torch.randn(posterior.mean.shape, generator=noise).to(pixels.device)
        decoded = model.decode(posterior.mean + posterior.std * spread).sample.float()
    loss = _picture_loss(decoded - pixels, run)
    if teacher is None:
        parts = (own.mean.float(), own.var.float(), own.logvar.float())
        return loss + KL_WEIGHT * kl_loss(*parts), decoded
    apart = (own.mean.float() - posterior.mean.float()) * teacher.config["scaling_factor"]
    return loss + apart.pow(2).mean() + SPREAD_WEIGHT * functional.mse_loss(
        own.logvar.float(), posterior.logvar.float()
    ), decoded
