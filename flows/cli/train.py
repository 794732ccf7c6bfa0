"""``kontext train``: make kontext-mini from cut-outs, stage by stage, on CPU or CUDA."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli import told
from kontext_engine.numerics import Device

# In order; each resumes where it was stopped.
Stage = Literal["autoencoder", "decoder", "corpus", "transformer", "distill"]


def train(
    stage: Annotated[Stage, typer.Argument(help="Which stage to run.")],
    *,
    work: Annotated[
        Path, typer.Option(help="Checkpoints, latents, grids; outside the work tree.")
    ] = Path("~/.cache/kontext/training"),
    cutouts: Annotated[Path, typer.Option(help="What `make data` fetched.")] = Path("data/cutouts"),
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps in all.")] = 20_000,
    batch: Annotated[int, typer.Option(min=1, help="Pictures a step.")] = 64,
    peak: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-3,
    families: Annotated[int, typer.Option(min=1, help="Corpus size.")] = 2500,
    workers: Annotated[int, typer.Option(min=1, help="Rendering processes.")] = 1,
    small: Annotated[bool, typer.Option("--small", help="The 64 px stage.")] = False,
    init: Annotated[
        Path | None, typer.Option(help="Start from the weights of this model: a name or a folder.")
    ] = None,
    latents: Annotated[
        Path | None,
        typer.Option(help="autoencoder: keep to the latents of this model's autoencoder."),
    ] = None,
    drawn_by: Annotated[
        Path | None,
        typer.Option(help="decoder: learn to draw this model's own edits sharply, too."),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to train.")] = Device.CPU,
    compiled: Annotated[
        bool, typer.Option("--compile", help="transformer: compile the blocks.")
    ] = False,
    decay_from: Annotated[
        int | None,
        typer.Option(min=0, metavar="STEP", help="Where the rate begins to fall; 60 % in."),
    ] = None,
    widths: Annotated[
        str, typer.Option(help="Channels of a new autoencoder's four levels.")
    ] = "16,32,64,128",
    detail: Annotated[
        float, typer.Option(min=0, help="Weight of the finest octaves' error.")
    ] = 1.0,
    critic: Annotated[float, typer.Option(min=0, help="decoder: weight of a patch critic.")] = 0.0,
    adversarial: Annotated[
        float, typer.Option(min=0, help="distill: weight of the critic on the teacher's features.")
    ] = 0.1,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: all.")] = 0,
) -> None:
    """Train the miniature. Ctrl-C saves; the same command goes on.

    Order: autoencoder, corpus --small, transformer --small, corpus, transformer --init
    WORK/model; `decoder` refines the autoencoder's decoder under unchanged latents, `distill` makes
    WORK/distilled of WORK/model for one to four denoise steps (--peak 1e-4). A run may be
    ended early: stop it, and give it fewer --steps and a --decay-from of where it stands.
    """
    if not 0 < peak <= 1:
        raise typer.BadParameter("expected a rate above 0, at most 1", param_hint="--peak")
    if latents is not None and stage != "autoencoder":
        raise typer.BadParameter(
            f"the stage '{stage}' has its latents from WORK/vae; expected the stage 'autoencoder'",
            param_hint="--latents",
        )
    if drawn_by is not None and stage != "decoder":
        raise typer.BadParameter(
            f"the stage '{stage}' decodes nothing; expected the stage 'decoder'",
            param_hint="--drawn-by",
        )
    levels = _widths(widths)
    if drawn_by is not None and batch < 2:
        raise typer.BadParameter(
            "half of a step is what the model draws; expected 2 at least", param_hint="--batch"
        )
    falls = 0.6 if decay_from is None else min(decay_from / steps, 1.0)
    from kontext_engine.errors import EngineError
    from kontext_engine.training.autoencoder import AutoencoderRun
    from kontext_engine.training.coding import autoencoder_stage
    from kontext_engine.training.distill import DistillRun
    from kontext_engine.training.flow import FlowRun
    from kontext_engine.training.stages import corpus_stage, transformer_stage
    from kontext_engine.training.workshop import Workshop

    work = work.expanduser()
    shop = Workshop(work, cutouts.expanduser(), device.value, threads)
    name = f"{stage}-small" if small and stage in {"transformer", "distill"} else stage
    start, kept, drawing = (one and one.expanduser() for one in (init, latents, drawn_by))
    corpus = stage == "corpus"
    rest = "makes what is missing" if corpus else "goes on from the last checkpoint"
    stopped = f"stopped; the same command {rest}"
    with told(EngineError, FloatingPointError, OSError, stopped=stopped):
        work.mkdir(parents=True, exist_ok=True)
        if stage in {"autoencoder", "decoder"}:
            only = stage == "decoder"
            vae = AutoencoderRun(
                work / name, steps, min(batch, 8), peak=peak, decay_from=falls, widths=levels,
                detail=detail, decoder_only=only, critic=critic,
            )  # fmt: skip
            autoencoder_stage(shop, vae, typer.echo, start, kept, drawing)
        elif corpus:
            corpus_stage(shop, families, small, typer.echo, workers)
        else:
            run = (
                DistillRun(
                    work / name, steps, batch, peak, decay_from=falls, adversarial=adversarial
                )
                if stage == "distill"
                else FlowRun(work / name, steps, batch, peak, decay_from=falls)
            )
            transformer_stage(shop, run, small, typer.echo, start, compiled)


def _widths(text: str) -> tuple[int, ...]:
    """The channels of the autoencoder's levels: four, since a latent stands for 8 x 8 pixels."""
    parts = [part.strip() for part in text.split(",")]
    numbers = tuple(int(part) for part in parts if part.isdecimal())
    if len(parts) != 4 or len(numbers) != 4 or any(n < 8 or n % 8 for n in numbers):
        raise typer.BadParameter(
            f"{text!r}: expected four multiples of 8 with commas between, like 16,32,64,128",
            param_hint="--widths",
        )
    return numbers
