"""``kontext train``: make kontext-mini from cut-outs, stage by stage, on CPU or CUDA."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flows.cli import ExitCode
from flows.numerics import Device


class Stage(StrEnum):
    """The stages, in order; each resumes where it was stopped."""

    AUTOENCODER = "autoencoder"
    DECODER = "decoder"
    CORPUS = "corpus"
    TRANSFORMER = "transformer"


def train(
    stage: Annotated[Stage, typer.Argument(help="Which stage to run.")],
    *,
    work: Annotated[
        Path, typer.Option("--work", help="Checkpoints, latents, grids; outside the work tree.")
    ] = Path("~/.cache/kontext/training"),
    cutouts: Annotated[Path, typer.Option("--cutouts", help="What `make data` fetched.")] = Path(
        "data/cutouts"
    ),
    steps: Annotated[int, typer.Option("--steps", min=1, help="Optimizer steps in all.")] = 20_000,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Pictures a step.")] = 64,
    peak: Annotated[float, typer.Option("--peak", help="Highest learning rate.")] = 1e-3,
    families: Annotated[int, typer.Option("--families", min=1, help="Corpus size.")] = 2500,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Rendering processes.")] = 1,
    small: Annotated[bool, typer.Option("--small", help="The 64 px stage.")] = False,
    init: Annotated[
        Path | None,
        typer.Option("--init", help="Start from the weights of this model: a name or a folder."),
    ] = None,
    device: Annotated[Device, typer.Option("--device", help="Where to train.")] = Device.CPU,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the blocks.")] = False,
    threads: Annotated[int, typer.Option("--threads", min=0, help="CPU threads; 0: all.")] = 0,
) -> None:
    """Train the miniature. Ctrl-C saves; the same command goes on.

    Order: autoencoder, corpus --small, transformer --small, corpus, transformer --init
    WORK/model; `decoder` refines the autoencoder's decoder under unchanged latents.
    """
    if not 0 < peak <= 1:
        raise typer.BadParameter("expected a rate above 0, at most 1", param_hint="--peak")
    from kontext_engine.errors import EngineError
    from kontext_engine.training.autoencoder import AutoencoderRun
    from kontext_engine.training.flow import FlowRun
    from kontext_engine.training.stages import (
        autoencoder_stage,
        corpus_stage,
        transformer_stage,
    )
    from kontext_engine.training.workshop import Workshop

    work = work.expanduser()
    shop = Workshop(work, cutouts.expanduser(), device.value, threads)
    name = f"{stage.value}-small" if small and stage is Stage.TRANSFORMER else stage.value
    start = init.expanduser() if init else None
    try:
        work.mkdir(parents=True, exist_ok=True)
        if stage in (Stage.AUTOENCODER, Stage.DECODER):
            only = stage is Stage.DECODER
            vae = AutoencoderRun(work / name, steps, min(batch, 8), peak=peak, decoder_only=only)
            autoencoder_stage(shop, vae, typer.echo, start)
        elif stage is Stage.CORPUS:
            corpus_stage(shop, families, small, typer.echo, workers)
        else:
            run = FlowRun(work / name, steps, batch, peak)
            transformer_stage(shop, run, small, typer.echo, start, compiled)
    except (EngineError, FloatingPointError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.FAILED) from None
    except KeyboardInterrupt:
        corpus = stage is Stage.CORPUS
        rest = "makes what is missing" if corpus else "goes on from the last checkpoint"
        typer.echo(f"stopped; the same command {rest}", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
