"""``kontext bench``: this engine beside a plain diffusers loop, or a store beside plain boto3."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flows.cli import told
from kontext_engine.numerics import Device, Dtype


def bench(
    *,
    model: Annotated[str, typer.Option(metavar="NAME")] = "kontext-mini",
    edits: Annotated[int, typer.Option(min=1, help="Edits on each side.")] = 64,
    steps: Annotated[int, typer.Option(min=1, help="Denoise steps an edit.")] = 16,
    batch: Annotated[int, typer.Option(min=1, help="This engine's batch.")] = 16,
    dtype: Annotated[Dtype, typer.Option(help="This engine's precision.")] = Dtype.FLOAT32,
    peer_dtype: Annotated[Dtype | None, typer.Option(help="The loop's; default: the same.")] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.CPU,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="Measure a store in S3 instead: small pictures there and back, beside boto3, and "
            "s5cmd where it is installed. What is written is removed.",
        ),
    ] = None,
    pictures: Annotated[int, typer.Option(min=1, help="How many, with --store.")] = 2000,
) -> None:
    """Time the same edits through this engine and through a plain loop over diffusers' pipeline.

    Same weights, pictures, prompts and steps; both sides take turns in one run.
    """
    engine: dict[str, Any] = {
        "edits": edits,
        "steps": steps,
        "max_batch": batch,
        "dtype": dtype.value,
        "peer_dtype": peer_dtype and peer_dtype.value,
        "device": device.value,
    }
    typer.echo(_engines(model, engine) if store is None else _stores(store, pictures))


def _engines(model: str, options: dict[str, Any]) -> str:
    from flows.cli.bars import bar
    from kontext_engine.bench import run_bench
    from kontext_engine.errors import EngineError

    with told(EngineError), bar(f"{options['edits']} edits on each side") as move:
        return run_bench(
            model, **options, on_progress=lambda done, total: move(completed=done, total=total)
        ).table()


def _stores(where: str, pictures: int) -> str:
    from flows.cli.bars import bar
    from flows.settings.load import load_settings
    from flows.store.base import StoreError
    from flows.throughput.measure import measure
    from flows.throughput.sides import ThroughputError

    with told(StoreError, ThroughputError), bar(f"{pictures} pictures each way") as move:
        return measure(
            where,
            load_settings(),
            pictures=pictures,
            watch=lambda done, total: move(completed=done, total=total),
        ).table()
