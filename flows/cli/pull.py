"""``kontext pull``: bring a run's pictures here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import ExitCode, told
from flows.cli.options import Store, effective

if TYPE_CHECKING:
    from flows.pull.pull import Pulled
    from flows.store.objects import Objects


def pull(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run's name, or a part that tells it apart: a recipe's name means its latest "
            "run. Or its address: s3://bucket/prefix/runs/RUN. RUN/PREFIX: only the outputs "
            "whose path begins so, such as a folder of them.",
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to put it.")],
    *,
    store: Store = None,
    every: Annotated[
        bool,
        typer.Option(
            "--all", help="Every run whose name begins with RUN, each in DIR/<run>: a day, say."
        ),
    ] = False,
    changed_since: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Only outputs that this run has not, or has otherwise; without page and manifest.",
        ),
    ] = None,
    approved: Annotated[
        bool,
        typer.Option(
            "--approved", help="Only outputs whose pictures somebody has approved as they are."
        ),
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Files fetched at once.")] = 16,
) -> None:
    """Bring a finished run into DIR: outputs, report, recipe and manifest.

    Only what is missing or differs is fetched, and verified; the same command goes on after a stop.
    """
    from flows.pull.listing import RunNotFound
    from flows.pull.target import PullError
    from flows.run.manifest import ManifestError
    from flows.store.base import StoreError

    stopped = "stopped; what is there stays, the same command goes on"
    with told(PullError, ManifestError, StoreError, wrong=(RunNotFound,), stopped=stopped):
        pulled = _pull(run, folder, store, changed_since, every=every, jobs=jobs, approved=approved)
    for done in pulled:
        _tell(done)
    if any(done.problems for done in pulled):
        raise typer.Exit(ExitCode.FAILED)


def _pull(
    asked: str,
    folder: Path,
    store: str | None,
    since: str | None,
    *,
    every: bool,
    jobs: int,
    approved: bool,
) -> list[Pulled]:
    from flows.pull.listing import find_run, runs_beginning, split_address
    from flows.store.address import open_objects

    home, text = split_address(asked)
    settings = effective(store=home or store)
    objects = open_objects(settings.store, settings)
    name, _, prefix = text.partition("/")
    before = find_run(objects, since) if since else ""
    if not every:
        run = find_run(objects, name)
        return [_one(objects, run, folder, prefix, before, jobs, approved=approved)]
    runs = runs_beginning(objects, name)
    return [
        _one(objects, run, folder / run, prefix, before, jobs, approved=approved) for run in runs
    ]


def _one(
    objects: Objects,
    run: str,
    folder: Path,
    prefix: str,
    since: str,
    jobs: int,
    *,
    approved: bool,
) -> Pulled:
    from rich.progress import DownloadColumn, TextColumn

    from flows.cli.bars import bar
    from flows.pull.pull import PullProgress, pull

    with bar(run, (TextColumn("{task.fields[files]} files"), DownloadColumn()), files="0") as move:

        def tell(at: PullProgress) -> None:
            move(total=at.of_bytes, completed=at.bytes, files=f"{at.files}/{at.of_files}")

        return pull(
            objects,
            run,
            folder,
            prefix=prefix,
            since=since,
            only_approved=approved,
            jobs=jobs,
            tell=tell,
        )


def _tell(done: Pulled) -> None:
    from flows.cli.words import size

    for line in (*done.notes, *done.problems):
        typer.echo(line, err=True)
    count = len(done.fetched)
    parts = [f"{done.files} files", f"{count} pulled", f"{done.there} there already"]
    if done.problems:
        parts.append(f"{len(done.problems)} problems")
    got = f" ({size(done.bytes)})" if count else ""
    typer.echo(f"{done.run}: {', '.join(parts)}{got}")
    typer.echo(f"in {done.target}")
