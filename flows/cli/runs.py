"""``kontext runs``: which runs there are, and how they ended."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import told
from flows.cli.options import AsJson, Store, effective

if TYPE_CHECKING:
    from flows.pull.listing import RunLine

COLOURS = {"complete": "green", "running": "cyan", "failed": "red", "unreadable": "red"}


def runs(
    *,
    store: Store = None,
    as_json: AsJson = False,
    limit: Annotated[int, typer.Option(min=1, help="How many are shown, the newest first.")] = 30,
) -> None:
    """List the runs of a store, newest first: state, pictures, outputs.

    One that was killed shows as running for five minutes more; its recipe, run again, goes on.
    """
    from flows.pull.listing import list_runs
    from flows.store.address import open_objects
    from flows.store.base import StoreError

    settings = effective(store=store)
    with told(StoreError):
        found = list_runs(open_objects(settings.store, settings), limit)
    if as_json:
        typer.echo(json.dumps([asdict(line) for line in found], indent=1, ensure_ascii=False))
    elif not found:
        typer.echo(f"{settings.store}: no runs yet")
    else:
        _print(found)


def _print(found: list[RunLine]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("run", "state", "steps", "outputs", "when", box=None, pad_edge=False)
    if any(line.sets or line.only for line in found):
        table.add_column("asked")
    for column in table.columns:
        column.no_wrap = column.header not in ("steps", "asked")
    table.columns[3].justify = "right"
    for line in found:
        state = Text(line.state.value, style=COLOURS.get(line.state.value, "yellow"))
        if line.pinned:
            state.append(", pinned", style="dim")
        counts = ", ".join(f"{count} {name}" for name, count in line.counts.items())
        asked = [f"--set {one}" for one in line.sets] + [f"--only {one}" for one in line.only]
        row = (state, counts, str(line.outputs), _when(line.when), Text(" ".join(asked)))
        table.add_row(Text(line.run), *row[: len(table.columns) - 1])
    # In a file or a pipe nothing is cut.
    Console(width=None if sys.stdout.isatty() else 300).print(table)
    for line in found:
        if line.why:
            typer.echo(f"{line.run}: {line.why}", err=True)


def _when(text: str) -> str:
    """In this machine's time."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return text
