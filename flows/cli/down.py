"""``kontext down``: end what ``kontext up`` has started."""

from __future__ import annotations

from pathlib import Path

import typer

from flows.cli.options import State


def down(*, state: State = Path(".kontext")) -> None:
    """End everything that runs of a state folder, in order; nothing else, and nothing is removed.

    What workers have in hand is handed back first, so it may take half a minute.
    """
    from flows.up import keep
    from flows.up.folder import StateFolder

    folder = StateFolder(state)
    folder.note_purpose()
    if not keep.stop(folder, typer.echo):
        typer.echo(f"{folder.shown}: nothing of it runs")
        return
    typer.echo("stopped; 'kontext up' goes on with it")
