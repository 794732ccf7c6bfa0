"""``kontext report``: make a run's page again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import told
from flows.cli.options import LinkKind, effective


def report(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run's folder, here or in S3: PLACE/runs/<date>-<recipe>-<id>; or a name or a "
            "part of it, as 'pull' finds it in the store.",
        ),
    ],
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            "--out",
            metavar="PLACE",
            help="The store: a folder or s3://bucket/prefix; default: where the run "
            "lies, or, for a name, the setting.",
        ),
    ] = None,
    links: LinkKind = None,
) -> None:
    """Write report.html of RUN again, from its manifest.json and the store."""
    from flows.pull.listing import RunNotFound, find_run
    from flows.run.manifest import ManifestError, read_manifest
    from flows.run.pipeline import links_for
    from flows.run.report.write import write_report
    from flows.settings.address import is_s3
    from flows.store.address import open_objects, open_store
    from flows.store.base import StoreError
    from flows.store.runfolder import open_run

    settings = effective(store=store, links=links)
    with told(ManifestError, StoreError, wrong=(RunNotFound,)):
        if not is_s3(run) and "/" not in run and not Path(run).exists():
            store = settings.store
            run = find_run(open_objects(store, settings), run)
        folder, home = open_run(run, store, settings)
        if links == "presigned" and not is_s3(folder.where):
            raise typer.BadParameter("only a run in S3 has such links", param_hint="--links")
        kept = open_store(home, settings)
        page = write_report(folder, read_manifest(folder), kept, links_for(folder, settings))
        typer.echo(page)
