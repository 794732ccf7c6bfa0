"""``kontext eval``: how well a model obeys, keeps and remembers, on held-out pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flows.cli import ExitCode, told
from kontext_engine.numerics import Device, Dtype, choose_numerics

Suite = Literal["studio", "references", "drift", "autoencoder", "identity"]

if TYPE_CHECKING:
    from kontext_engine.evaluation.command import Wanted
    from kontext_engine.evaluation.tables import Table


def eval(  # noqa: A001 - the verb's name, as every verb's function has
    suite: Annotated[
        Suite,
        typer.Argument(
            help="studio: the held-out bench; references: style, character, place and text; "
            "drift: chains of six edits alone; autoencoder: what it alone gives back; "
            "identity: train the bench's identity net."
        ),
    ],
    *,
    model: Annotated[str, typer.Option(metavar="NAME")] = "kontext-mini",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every figure there.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="DIR", help="studio: write pages with all pictures.")
    ] = None,
    cutouts: Annotated[Path | None, typer.Option(help="Cut-outs; default: the checkout's.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first N of each category.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Denoise steps; default: the model's.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures at once.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the noise, not of the items.")] = 0,
    size: Annotated[int, typer.Option(help="Edge of the pictures in pixels.")] = 128,
    true_cfg: Annotated[
        float,
        typer.Option(min=1, max=20, help="Classifier-free guidance, at twice the time; 1: none."),
    ] = 1.0,
    dtype: Annotated[Dtype | None, typer.Option()] = None,
    device: Annotated[Device, typer.Option()] = Device.CPU,
) -> None:
    """Measure a model on held-out edits, captions and six-turn chains; report with baselines.

    `studio` asks the ordinary engine for 720 edits in six categories, 120 captions and 36
    chains. The cut-outs come with the checkout; nothing is downloaded.
    """
    if html is not None and suite != "studio":
        raise typer.BadParameter(
            "only studio has pages; --json has every figure", param_hint="--html"
        )
    from kontext_engine.errors import EngineError

    with told(EngineError, stopped="stopped"):
        if suite == "identity":
            from kontext_engine.evaluation.command import train_identity_net

            for line in train_identity_net(cutouts or Path("data/cutouts")):
                typer.echo(line)
        elif suite == "autoencoder":
            from kontext_engine.evaluation.autoencoder import evaluate_autoencoder

            _show(*evaluate_autoencoder(model, cutouts))
        else:
            from kontext_engine.evaluation.command import Wanted

            _measured(suite, Wanted(
                model=model, numerics=choose_numerics(dtype, device), cutouts=cutouts, limit=limit,
                steps=steps, batch=batch, seed=seed, edge=size, true_cfg=true_cfg,
                json_file=json_file, html=html,
            ))  # fmt: skip


def _measured(suite: Suite, wanted: Wanted) -> None:
    from flows.cli.bars import bar
    from kontext_engine.evaluation.command import evaluate_studio
    from kontext_engine.evaluation.suites import evaluate_drift, evaluate_references

    evaluate = {
        "studio": evaluate_studio, "references": evaluate_references, "drift": evaluate_drift,
    }[suite]  # fmt: skip
    with bar("loading the model") as move:
        measured = evaluate(
            wanted,
            lambda done, total, what: move(completed=done, total=total, description=what),
        )
    _show(measured.head, *measured.tables)
    for line in (*measured.notes, *(f"wrote {path}" for path in measured.written)):
        typer.echo(line)
    for line in measured.unwritten:
        typer.echo(line, err=True)
    if measured.unwritten:
        raise typer.Exit(ExitCode.FAILED)


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
