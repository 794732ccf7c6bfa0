"""``kontext report``: make a run's page again."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli import told
from flows.cli.options import LinkKind, effective


def report(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run's folder, here or in S3: PLACE/runs/<date>-<recipe>-<id>; or, with "
            "--store, its name.",
        ),
    ],
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            "--out",
            metavar="PLACE",
            help="The store: a folder or s3://bucket/prefix; default: where the run lies.",
        ),
    ] = None,
    links: LinkKind = None,
) -> None:
    """Write report.html of RUN again, from its manifest.json and the store."""
    from flows.run.manifest import ManifestError, read_manifest
    from flows.run.pipeline import links_for
    from flows.run.report.write import write_report
    from flows.settings.address import is_s3
    from flows.store.address import open_store
    from flows.store.base import StoreError
    from flows.store.runfolder import open_run

    settings = effective(store=store, links=links)
    with told(ManifestError, StoreError):
        folder, home = open_run(run, store, settings)
        if links == "presigned" and not is_s3(folder.where):
            raise typer.BadParameter("only a run in S3 has such links", param_hint="--links")
        kept = open_store(home, settings)
        page = write_report(folder, read_manifest(folder), kept, links_for(folder, settings))
        typer.echo(page)
