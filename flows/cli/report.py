"""``kontext report``: make a run's page again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import ExitCode


def report(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run's folder: DIR/runs/<date>-<recipe>-<id>."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The store; default: where the run lies."),
    ] = None,
) -> None:
    """Write report.html of RUN again, from its manifest.json and the store."""
    from flows.manifest import ManifestError, read_manifest
    from flows.pipeline import open_store
    from flows.report.write import write_report
    from flows.store.atomic import disk_errors
    from flows.store.base import StoreError

    folder = run.parent if run.is_file() else run
    try:
        manifest = read_manifest(folder)
        store = open_store(out or folder.resolve().parent.parent)
        with disk_errors(folder):
            typer.echo(write_report(folder, manifest, store))
    except (ManifestError, StoreError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.FAILED) from None
