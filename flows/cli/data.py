"""``kontext data``: fetch the cut-outs that kontext-mini is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import told


def data(
    folder: Annotated[Path, typer.Argument(help="Where the set goes.")] = Path("data/cutouts"),
    *,
    held_out: Annotated[Path | None, typer.Option(help="Also copy the held-out part here.")] = None,
) -> None:
    """Fetch the cut-outs for training, once: Fluent Emoji (MIT), 18 MB, with npm.

    A complete set is left alone; a damaged one is fetched again. Benches and tests do without:
    the held-out cut-outs come with the source code.
    """
    from kontext_engine.errors import EngineError
    from kontext_engine.training.fetch import ASSETS, fetch_cutouts

    folder = folder.expanduser()
    with told(EngineError, OSError, stopped="stopped; nothing was changed"):
        fetched = fetch_cutouts(folder)
        typer.echo(f"{folder}: {ASSETS} cut-outs " + ("fetched" if fetched else "there already"))
        if held_out is not None:
            from kontext_engine.training.held_out import export_held_out

            count = export_held_out(folder, held_out.expanduser())
            typer.echo(f"{held_out}: {count} cut-outs, held-out subjects and props")
