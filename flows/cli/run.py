"""``kontext run``: make what a recipe asks for and is not there yet."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import ExitCode, recipe_errors
from flows.numerics import Device, Dtype

if TYPE_CHECKING:
    from flows.pipeline import Finished, Hooks, RunRequest


def run(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe's YAML file.")],
    *,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change a variable or a setting."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where pictures and runs are kept.")
    ] = Path("out"),
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="SELECTOR",
            help="STEP, STEP\\[axis=value,...] or axis=value; with what they need. Repeat to add.",
        ),
    ] = None,
    reroll: Annotated[
        list[str] | None,
        typer.Option(
            "--reroll", metavar="STEP[VARIANT]", help="Give this frame a new seed, and keep it."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Another model than the recipe's.")
    ] = None,
    dtype: Annotated[
        Dtype | None,
        typer.Option("--dtype", help="Precision; default: float32 on cpu, bfloat16 on cuda."),
    ] = None,
    device: Annotated[Device, typer.Option("--device", help="Where to compute.")] = Device.CPU,
    batch: Annotated[
        int, typer.Option("--batch", min=1, help="The most pictures computed together.")
    ] = 8,
    prefect: Annotated[
        bool | None,
        typer.Option(
            "--prefect/--no-prefect",
            help="Run as a Prefect flow; default: if PREFECT_API_URL is set.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON; progress goes to stderr.")
    ] = False,
) -> None:
    """Make every picture of RECIPE that is not there yet; write outputs, manifest and report.

    Ctrl-C stops within a denoise step and keeps what is made; the same command goes on from there.
    """
    from flows.pipeline import RunRequest

    settings = (*(sets or ()), *([f"model={model}"] if model else ()))
    with recipe_errors():
        _reroll(recipe, settings, reroll or [])
    request = RunRequest(recipe, out, settings, tuple(only or ()), dtype, device, batch)
    finished = _carry_out(request, _wants_prefect(prefect))
    _tell(finished, as_json)
    raise typer.Exit(_exit_code(finished))


def _reroll(recipe: Path, sets: tuple[str, ...], selectors: list[str]) -> None:
    if not selectors:
        return
    from flows.recipe.recipe import load_recipe
    from flows.recipe.reroll import reroll

    loaded = load_recipe(recipe, sets)
    for selector in selectors:
        change = reroll(loaded, selector)
        typer.echo(f"{change.label}: seed {change.before} becomes {change.seed}", err=True)


def _wants_prefect(asked: bool | None) -> bool:
    return bool(os.environ.get("PREFECT_API_URL")) if asked is None else asked


def _carry_out(request: RunRequest, as_flow: bool) -> Finished:
    from rich.console import Console

    from flows.cli.progress import RunProgress
    from flows.pipeline import Hooks, plan_recipe, run_recipe
    from flows.store.base import StoreError

    # Prefect writes its own lines to the terminal, which would tear a live bar.
    console = Console(stderr=True, force_terminal=False if as_flow else None)
    progress = RunProgress(console)
    stop = threading.Event()
    hooks = Hooks(on_event=progress.hear, cancelled=stop.is_set)
    try:
        with recipe_errors(), _interrupts(stop, progress.stopping):
            if as_flow:
                return _as_flow(request, hooks)
            plan = plan_recipe(request)
            for warning in plan.warnings:
                typer.echo(f"warning: {warning}", err=True)
            with progress:
                return run_recipe(plan, request, hooks)
    except StoreError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.FAILED) from None
    except KeyboardInterrupt:
        typer.echo("stopped at once; what is made stays", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _as_flow(request: RunRequest, hooks: Hooks) -> Finished:
    from flows.run import FlowError, run_as_flow

    try:
        return run_as_flow(request, hooks)
    except FlowError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.FAILED) from None


@contextmanager
def _interrupts(stop: threading.Event, heard: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) asks the run to stop, the second one stops it."""

    def handle(number: int, frame: object) -> None:  # noqa: ARG001 - the signature of a handler
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        heard()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_code(finished: Finished) -> ExitCode:
    from flows.execution.outcome import Ending

    if finished.ending is Ending.INTERRUPTED:
        return ExitCode.INTERRUPTED
    written = all(not output.problem for output in finished.manifest.outputs)
    return ExitCode.DONE if finished.ending is Ending.COMPLETE and written else ExitCode.FAILED


def _tell(finished: Finished, as_json: bool) -> None:
    manifest = finished.manifest
    written = [output.path for output in manifest.outputs if output.sha256]
    counts = {state.value: count for state, count in manifest.counts.items()}
    if as_json:
        whole = {
            "ending": manifest.ending.value,
            "why": manifest.why,
            "counts": counts,
            "seconds": manifest.seconds,
            "folder": str(finished.folder),
            "report": str(finished.report),
            "manifest": str(finished.manifest_path),
            "outputs": written,
        }
        typer.echo(json.dumps(whole, indent=1))
        return
    if manifest.why:
        typer.echo(f"{manifest.ending.value}: {manifest.why}", err=True)
    for output in manifest.outputs:
        if output.problem:
            typer.echo(output.problem, err=True)
    summary = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    typer.echo(f"{summary or 'nothing to do'} in {manifest.seconds:.1f} s")
    typer.echo(f"report    {finished.report}")
    typer.echo(f"manifest  {finished.manifest_path}")
    typer.echo(f"outputs   {finished.folder} ({len(written)} files)")
