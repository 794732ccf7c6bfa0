"""``kontext eval``: how well a model obeys, keeps and remembers, on held-out pictures."""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import ExitCode
from flows.numerics import Device, Dtype, choose_numerics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kontext_engine.evaluation.tables import Table


class Suite(StrEnum):
    """What to do."""

    STUDIO = "studio"
    AUTOENCODER = "autoencoder"
    IDENTITY = "identity"


def eval(  # noqa: A001 - the verb's name, as every verb's function has
    suite: Annotated[
        Suite,
        typer.Argument(
            help="studio: the held-out bench; autoencoder: what it alone gives back; "
            "identity: train the bench's identity net."
        ),
    ],
    *,
    model: Annotated[str, typer.Option("--model", metavar="NAME")] = "kontext-mini",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every figure there.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="DIR", help="Write pages with all pictures.")
    ] = None,
    cutouts: Annotated[
        Path | None, typer.Option("--cutouts", help="Cut-outs; default: the checkout's.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only the first N of each category.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Denoise steps; default: the model's.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Pictures at once.")] = 16,
    seed: Annotated[int, typer.Option("--seed", help="Of the noise, not of the items.")] = 0,
    size: Annotated[int, typer.Option("--size", help="Edge of the pictures in pixels.")] = 128,
    true_cfg: Annotated[
        float,
        typer.Option(
            "--true-cfg",
            min=1,
            max=20,
            help="Classifier-free guidance, at twice the time; 1: none.",
        ),
    ] = 1.0,
    dtype: Annotated[Dtype | None, typer.Option("--dtype")] = None,
    device: Annotated[Device, typer.Option("--device")] = Device.CPU,
) -> None:
    """Measure a model on held-out edits, captions and six-turn chains; report with baselines.

    `studio` asks the ordinary engine for 720 edits in six categories, 120 captions and 36
    chains. The cut-outs come with the checkout; nothing is downloaded.
    """
    from kontext_engine.errors import EngineError

    try:
        if suite is Suite.IDENTITY:
            _train_identity(cutouts or Path("data/cutouts"))
            return
        if suite is Suite.AUTOENCODER:
            from kontext_engine.evaluation.autoencoder import evaluate_autoencoder

            _show(*evaluate_autoencoder(model, cutouts))
            return
        from kontext_engine.evaluation.command import Wanted, evaluate_studio

        wanted = Wanted(
            model=model, numerics=choose_numerics(dtype, device), cutouts=cutouts, limit=limit,
            steps=steps, batch=batch, seed=seed, edge=size, true_cfg=true_cfg, json_file=json_file,
            html=html,
        )  # fmt: skip
        with _progress() as show:
            measured = evaluate_studio(wanted, show)
        _show(measured.head, *measured.tables)
        for line in (*measured.notes, *(f"wrote {path}" for path in measured.written)):
            typer.echo(line)
        for line in measured.unwritten:
            typer.echo(line, err=True)
        if measured.unwritten:
            raise typer.Exit(ExitCode.FAILED)
    except EngineError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.FAILED) from None
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _show(head: str, *tables: Table) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as Drawn

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120  # a log has no width of its own; 80 would wrap the heads
    console.print(head, markup=False, soft_wrap=True)
    for table in tables:
        shown = Drawn(title=table.title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        for k, cell in enumerate(table.head):
            shown.add_column(cell, justify="right" if k else "left")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    console = Console(stderr=True)
    off = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=off) as bar:
        task = bar.add_task("loading the model", total=None)
        yield lambda done, total, what: bar.update(
            task, completed=done, total=total, description=what
        )


def _train_identity(cutouts: Path) -> None:
    from kontext_engine.evaluation.command import train_identity_net

    for line in train_identity_net(cutouts):
        typer.echo(line)
