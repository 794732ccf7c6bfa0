"""The first stage of training: an autoencoder, or its decoder alone."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from kontext_engine.catalogue import resolve_model
from kontext_engine.training.autoencoder import AutoencoderRun, train_autoencoder
from kontext_engine.training.crops import draw
from kontext_engine.training.errors import TrainingError
from kontext_engine.training.inherit import autoencoder_folder, load_autoencoder
from kontext_engine.training.miniature import forget_origin, read_miniature
from kontext_engine.training.reconstruction import (
    Reconstruction,
    agreement,
    held_out_pictures,
    measure,
)
from kontext_engine.training.shards import autoencoder_digest, measure_latents
from kontext_engine.training.studio import Studio
from kontext_engine.training.workshop import Say, Workshop, expect

SHOWN = 12  # held-out families that the autoencoder's PSNR is measured on
FAMILIES = 500  # training families of which a model draws edits
DRAWN_FROM = 6_000_000  # the first one's seed
SHARED = 0.9  # of the variance of a model's latents, for its edits to be decoded; a copy has 0.999
MEASURED = 24  # training families that shift and scale of the latents are measured on


def autoencoder_stage(
    shop: Workshop,
    run: AutoencoderRun,
    say: Say,
    init: Path | None = None,
    latents: Path | None = None,
    drawn_by: Path | None = None,
) -> None:
    """Train the autoencoder (or, ``run.decoder_only``, its decoder) and write ``vae/``.

    ``init`` is a model, or the folder of an autoencoder, to start from; the decoder is by default
    refined from ``vae/``, whose latents stay what they are. ``latents`` is one whose latents an
    autoencoder learns to code by and to draw from; ``drawn_by`` a model whose edits, in the latents
    of ``vae/``, a decoder learns to draw, too.

    Raises:
        FileNotFoundError: ``make data`` was not run.
        TrainingError: there is no autoencoder to start from, the device is not there, ``latents``
            names one of another shape, or ``drawn_by`` a model of other latents.
        ModelError: ``init``, ``latents`` or ``drawn_by`` is no model.
        FloatingPointError: the loss is no longer finite.
        KeyboardInterrupt: after Ctrl-C, when the step is done and saved.
    """
    every, training, _ = shop.cast()
    device = shop.torch_device()
    teacher = load_autoencoder(latents) if latents else None
    if init is not None:
        init = autoencoder_folder(init)
    elif run.decoder_only:
        init = shop.work / "vae"
        expect(init / "config.json", "autoencoder", "kontext train autoencoder")
    if init is not None:
        # What a run replaces is known by its place; a decoder's run leaves the latents as they are.
        place = "" if run.decoder_only else shop.place_of(init)
        known = place or autoencoder_digest(load_autoencoder(init))
        run = replace(run, begun_from=known)
    studio = Studio(training, every)
    pixels = held_out_pictures(every, SHOWN)
    clock = _Clock()

    def report(step: int, loss: float, measured: Reconstruction | None) -> None:
        clock.tick(step)
        if measured is not None:
            say(
                f"autoencoder step {step}/{run.steps}: loss {loss:.4f}, {clock.speed():.1f} "
                f"steps/s, held-out {_told(measured)}"
            )

    drawn = None
    if drawn_by is not None:
        miniature, vae = read_miniature(Path(resolve_model(drawn_by).source)), shop.autoencoder()
        shared = agreement(vae, load_autoencoder(drawn_by), pixels)
        if shared < SHARED:
            raise TrainingError(
                f"{drawn_by}: its latents are others than those of {shop.work / 'vae'} "
                f"({max(shared, 0.0):.0%} of their variance in common); expected a model of these"
            )
        drawn = draw(miniature, vae, studio, range(DRAWN_FROM, DRAWN_FROM + FAMILIES))
        say(f"autoencoder: {len(drawn.latents)} edits drawn by {drawn_by}")
    model = train_autoencoder(run, studio, pixels, device, init, report, teacher, drawn)
    if teacher is None and not run.decoder_only:
        sample = (studio.family(5_000_000 + k, (128, 128)).pictures for k in range(MEASURED))
        shift, scale = measure_latents(model, sample)
        model.register_to_config(shift_factor=shift, scaling_factor=scale)
    model.save_pretrained(shop.work / "vae")
    forget_origin(shop.work / "vae")
    if teacher is not None:
        say(f"autoencoder: {agreement(model, teacher, pixels):.1%} of the latents' variance kept")
    say(f"autoencoder: held-out {_told(measure(model, pixels.to(device)))}")
    say(f"autoencoder: wrote {shop.work / 'vae'}")


@dataclass
class _Clock:
    """Steps a second, of this process alone."""

    first: tuple[int, float] | None = None
    last: tuple[int, float] = (0, 0.0)

    def tick(self, step: int) -> None:
        self.last = (step, time.monotonic())
        self.first = self.first or self.last

    def speed(self) -> float:
        step, began = self.first or self.last
        return (self.last[0] - step) / max(self.last[1] - began, 1e-9)


def _told(measured: Reconstruction) -> str:
    return (
        f"PSNR {measured.psnr:.2f} dB, SSIM {measured.ssim:.4f}, high-frequency energy "
        f"{measured.energy:.2f} levels of the truth's {measured.true_energy:.2f} "
        f"({measured.sharpness:.0%})"
    )
