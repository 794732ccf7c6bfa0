"""``kontext status``: what runs of ``kontext up``."""

from __future__ import annotations

from pathlib import Path

import typer

from flows.cli import ExitCode
from flows.cli.options import State
from flows.cli.words import aligned


def status(*, state: State = Path(".kontext")) -> None:
    """Show each process of a state folder: how it is, its number, where its log is.

    Ends with 0 when all of them run, with 1 when one does not.
    """
    from flows.up import keep
    from flows.up.folder import StateFolder

    folder = StateFolder(state)
    found, living = keep.told(folder), folder.processes()
    if found is None:
        typer.echo(f"{folder.shown}: nothing of it runs" + _left(living))
        raise typer.Exit(ExitCode.FAILED)
    rows = []
    for one in found:
        words = f"{one.state.lower()}: {one.words}" if one.words else one.state.lower()
        if one.fails:
            words += f": {folder.last_words(one.name)}"
        rows.append((one.name, words, str(folder.logs / f"{one.name}.log")))
    typer.echo("\n".join(aligned(rows)))
    well = all(one.state in {"RUNNING", "STARTING"} for one in found)
    raise typer.Exit(ExitCode.DONE if well else ExitCode.FAILED)


def _left(living: dict[str, int]) -> str:
    names = ", ".join(f"{name} ({pid})" for name, pid in living.items())
    return f" but {names}; 'kontext down' ends that" if names else ""
