"""``kontext run``: make what a recipe asks for and is not there yet."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import ExitCode, recipe_errors
from flows.cli.options import (
    InDtype,
    LinkKind,
    LinksAre,
    Model,
    OnDevice,
    Only,
    RecipePath,
    Sets,
    Store,
    chosen,
    settings,
)

if TYPE_CHECKING:
    from flows.pipeline import Finished, Hooks, RunRequest


def run(
    recipe: RecipePath,
    *,
    sets: Sets = None,
    store: Store = None,
    only: Only = None,
    reroll: Annotated[
        list[str] | None,
        typer.Option(
            "--reroll",
            metavar="STEP[VARIANT]",
            help="Give this frame a new seed, and keep it. Repeat for more.",
        ),
    ] = None,
    model: Model = None,
    dtype: InDtype = None,
    device: OnDevice = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch", min=1, help="The most pictures computed together; default: the setting."
        ),
    ] = None,
    links: LinkKind = None,
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
    from flows.store.address import is_s3

    asked = chosen(store=store, device=device, batch=batch, links=links and links.value)
    if links is LinksAre.PRESIGNED and not is_s3(asked.store):
        raise typer.BadParameter("only a store in S3 has such links", param_hint="--links")
    request = RunRequest(
        recipe,
        asked.store,
        settings(sets, model),
        tuple(only or ()),
        dtype,
        asked.device,
        asked.batch,
        settings=asked,
    )
    if reroll:
        _reroll(request, reroll)
    finished = _carry_out(request, _wants_prefect(prefect))
    _tell(finished, as_json)
    raise typer.Exit(_exit_code(finished))


def _reroll(request: RunRequest, selectors: list[str]) -> None:
    from flows.recipe.overrides import overrides_path
    from flows.recipe.recipe import load_recipe
    from flows.recipe.reroll import reroll

    with recipe_errors():
        recipe = load_recipe(request.recipe, request.sets)
        changes = reroll(recipe, selectors, only=request.only, settings=request.chosen)
    kept = overrides_path(request.recipe)
    for change in changes:
        text = f"{change.label}: seed {change.before} becomes {change.seed}, kept in {kept}"
        typer.echo(text, err=True)


def _wants_prefect(asked: bool | None) -> bool:
    return bool(os.environ.get("PREFECT_API_URL")) if asked is None else asked


def _carry_out(request: RunRequest, as_flow: bool) -> Finished:
    from rich.console import Console

    from flows.cli.interrupt import Interrupts
    from flows.cli.progress import RunProgress
    from flows.execution.events import both
    from flows.pipeline import Hooks, plan_recipe, run_recipe
    from flows.store.base import StoreError

    # Prefect writes its own lines to the terminal, which would tear a live bar.
    console = Console(stderr=True, force_terminal=False if as_flow else None)
    progress = RunProgress(console)
    interrupts = Interrupts(progress.stopping)
    hooks = Hooks(
        on_event=both(interrupts.hear, progress.hear),
        cancelled=interrupts.asked,
        say=lambda text: console.print(text, soft_wrap=True, highlight=False, markup=False),
    )
    try:
        with recipe_errors(), interrupts.caught():
            if as_flow:
                return _as_flow(request, hooks)
            plan = plan_recipe(request)
            for warning in plan.warnings:
                typer.echo(f"note: {warning}", err=True)
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


def _exit_code(finished: Finished) -> ExitCode:
    from flows.execution.outcome import Ending

    if finished.manifest.ending is Ending.INTERRUPTED:
        return ExitCode.INTERRUPTED
    return ExitCode.DONE if finished.manifest.whole else ExitCode.FAILED


def _tell(finished: Finished, as_json: bool) -> None:
    from flows.store.address import is_s3

    manifest = finished.manifest
    written = [output.path for output in manifest.outputs if output.sha256]
    counts = {state.value: count for state, count in manifest.counts.items()}
    if as_json:
        whole = {
            "ending": manifest.ending.value,
            "why": manifest.why,
            "counts": counts,
            "seconds": manifest.seconds,
            "folder": finished.folder,
            "report": finished.report,
            "manifest": finished.manifest_path,
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
    if is_s3(finished.folder):
        typer.echo(f"pull      kontext pull {finished.folder} DIR")
