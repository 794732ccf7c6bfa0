"""``kontext bench``: this engine beside a plain diffusers loop, or a store beside plain boto3."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli import ExitCode
from flows.numerics import Device, Dtype


def bench(
    *,
    model: Annotated[str, typer.Option("--model", metavar="NAME")] = "kontext-mini",
    edits: Annotated[int, typer.Option("--edits", min=1, help="Edits on each side.")] = 64,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Denoise steps an edit.")] = 16,
    batch: Annotated[int, typer.Option("--batch", min=1, help="This engine's batch.")] = 16,
    dtype: Annotated[
        Dtype, typer.Option("--dtype", help="This engine's precision.")
    ] = Dtype.FLOAT32,
    peer_dtype: Annotated[
        Dtype | None, typer.Option("--peer-dtype", help="The loop's; default: the same.")
    ] = None,
    device: Annotated[Device, typer.Option("--device", help="Where to compute.")] = Device.CPU,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="PLACE",
            help="Measure a store in S3 instead: small pictures there and back, beside boto3, and "
            "s5cmd where it is installed. What is written is removed.",
        ),
    ] = None,
    pictures: Annotated[
        int, typer.Option("--pictures", min=1, help="How many, with --store.")
    ] = 2000,
) -> None:
    """Time the same edits through this engine and through a plain loop over diffusers' pipeline.

    Same weights, pictures, prompts and steps; both sides take turns in one run.
    """
    if store is not None:
        _store(store, pictures)
        return
    from rich.console import Console
    from rich.progress import Progress

    from kontext_engine.bench import run_bench
    from kontext_engine.errors import EngineError

    try:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(f"{edits} edits on each side", total=2 * edits)
            result = run_bench(
                model,
                edits=edits,
                steps=steps,
                max_batch=batch,
                dtype=dtype.value,
                peer_dtype=peer_dtype.value if peer_dtype else None,
                device=device.value,
                on_progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
    except EngineError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.FAILED) from None
    typer.echo(result.table())


def _store(where: str, pictures: int) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from flows.settings.load import load_settings
    from flows.store.base import StoreError
    from flows.throughput.measure import measure
    from flows.throughput.sides import ThroughputError

    try:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(f"{pictures} pictures each way", total=None)
            result = measure(
                where,
                load_settings(),
                pictures=pictures,
                watch=lambda done, total: progress.update(task, completed=done, total=total),
            )
    except (StoreError, ThroughputError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.FAILED) from None
    typer.echo(result.table())
