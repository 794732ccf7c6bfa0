"""``kontext up``: everything on this machine, in one command."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import ExitCode, told
from flows.cli.options import OnDevice, Recipes, State, effective

if TYPE_CHECKING:
    from flows.settings import Settings
    from flows.up.folder import StateFolder
    from flows.up.programs import Plan

CHECKOUT = Path(__file__).parents[2]
# The samples lie where a wheel puts them, or in the checkout that is installed as it stands.
SAMPLES = (Path("share/kontext/recipes"), CHECKOUT / "recipes")  # the first below sys.prefix
LINK_SECONDS = 24 * 3600  # for which the newest report's link is good
LOOK = 0.5  # seconds between two looks whether the supervisor is alive


def up(
    *,
    state: State = Path(".kontext"),
    store: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="A folder for the pictures, or s3://bucket/prefix; default: an S3 server of its "
            "own, in the state folder.",
        ),
    ] = None,
    postgres: Annotated[
        bool,
        typer.Option("--postgres", help="Prefect's database on PostgreSQL rather than SQLite."),
    ] = False,
    recipes: Recipes = None,
    engines: Annotated[
        int | None,
        typer.Option(help="Engine processes; default: the setting, else one for each GPU, or 1."),
    ] = None,
    device: OnDevice = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=1024,
            max=65535,
            help="The dashboard's; default: that of the last start, 4200, or the next free one.",
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Do not stay; 'kontext down' ends it.")
    ] = False,
    engine: Annotated[str | None, typer.Option(metavar="MODULE:FUNCTION", hidden=True)] = None,
    tempo: Annotated[str, typer.Option(metavar="NAME=SECONDS,...", hidden=True)] = "",
) -> None:
    """Start everything on this machine: Prefect's server, an S3 server, workers; no containers.

    All of it listens on 127.0.0.1 only, and keeps what it has in one folder: started again, it goes
    on with that. Ctrl-C stops all in order; what was being made is made after the next start.
    """
    from flows.recipe.catalog import Catalog
    from flows.settings import Settings
    from flows.settings.address import is_s3
    from flows.store.base import StoreError
    from flows.up import UpError, complete, keep
    from flows.up.folder import StateFolder
    from flows.up.programs import Options

    # A wrong place is told as everywhere else; without one the set has an S3 server of its own.
    settings = effective(store=store, recipes=recipes, device=device, worker={"engines": engines})
    nothing_here = settings.recipes == Settings().recipes and not Path(settings.recipes).exists()
    offered = (Path(sys.prefix, place) for place in SAMPLES) if nothing_here else ()
    if samples := next(filter(Path.is_dir, offered), None):
        typer.echo(f"no folder 'recipes' here: the samples in {samples} are offered")
        settings = settings.given(recipes=str(samples))
    if not is_s3(settings.recipes):
        Catalog(settings.recipes, settings).names()  # a wrong place is told before all starts
    began = time.monotonic()
    wanted = complete.Wanted(store, postgres, port)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    with closing(StateFolder(state)) as folder, told(StoreError, wrong=(UpError,)):
        try:
            made = complete.begin(
                folder, wanted, Options(settings, engine or "", tempo), typer.echo
            )
            complete.complete(folder, made, typer.echo)
        except KeyboardInterrupt:
            if folder.is_ours:
                _end(folder)
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except BaseException:
            if folder.is_ours:  # another's, that was in the way, goes on
                keep.stop(folder, lambda _: None)
            raise
        _show(folder, made, time.monotonic() - began, detach)
        if not detach:
            _stay(folder)


def _interrupt(number: int, frame: object) -> None:
    del number, frame
    raise KeyboardInterrupt


def _stay(folder: StateFolder) -> None:
    """Until Ctrl-C.

    Raises:
        UpError: the supervisor was killed.
    """
    from flows.up import UpError

    try:
        while folder.supervisor() is not None:
            time.sleep(LOOK)
    except KeyboardInterrupt:
        _end(folder)
        return
    if folder.stopped_on_purpose():
        typer.echo("stopped by 'kontext down'")
        return
    raise UpError(
        "the supervisor was killed, and its programs with it; expected it to stay; start 'kontext "
        "up' again: what was being made goes on"
    )


def _end(folder: StateFolder) -> None:
    from flows.up import keep

    typer.echo("\nstopping; what is in hand is handed back (Ctrl-C again: at once)")
    try:
        keep.stop(folder, typer.echo)
    except KeyboardInterrupt:
        keep.kill(folder)
        keep.stop(folder, typer.echo)
    typer.echo("stopped; the same command goes on with it")


def _show(folder: StateFolder, made: Plan, seconds: float, detach: bool) -> None:
    from flows.cli.words import aligned
    from flows.settings.load import load_settings

    at = {program.name: program.address for program in made.programs}
    settings = load_settings()
    rows = [
        ("dashboard", at["server"]),
        ("pictures", f"{settings.store} at {at['s3']}" if "s3" in at else settings.store),
        ("health", ", ".join(f"{at[name]}/health/ready" for name in ("worker", "parents"))),
        ("report", _newest_report(settings)),
        ("logs", str(folder.logs)),
        ("order", "in the dashboard: Deployments, run-recipe, Run, Custom run; or in a terminal:"),
        ("", f". {folder / 'environment'}; kontext run RECIPE.yaml --prefect"),
        ("stop", "kontext down" if detach else "Ctrl-C"),
    ]
    typer.echo(f"all is up after {seconds:.0f} s")
    typer.echo("\n".join(aligned(rows)))


def _newest_report(settings: Settings) -> str:
    """Its link, where there is a run."""
    from flows.pull.listing import list_runs
    from flows.run.report.links import PAGE, SHARED
    from flows.settings.address import is_s3
    from flows.store.address import open_objects
    from flows.store.base import StoreError
    from flows.store.runfolder import RunFolder

    try:
        objects = open_objects(settings.store, settings)
        runs = list_runs(objects, 1)
        if not runs:
            return "none yet"
        run = RunFolder(objects, runs[0].run)
        link = run.link(SHARED if run.stat(SHARED) else PAGE, LINK_SECONDS)
    except StoreError as error:
        return f"cannot be looked for: {error}"
    return f"{link}  (for {LINK_SECONDS // 3600} h)" if is_s3(settings.store) else link
