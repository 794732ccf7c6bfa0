"""``kontext run``: make what a recipe asks for and is not there yet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import ExitCode, told
from flows.cli.options import (
    Batch,
    InDtype,
    LinkKind,
    Model,
    OnDevice,
    Only,
    RecipePath,
    Sets,
    Store,
    Wait,
    changes,
    effective,
)

if TYPE_CHECKING:
    from flows.run.pipeline import Finished, RunRequest

WAITING_SHOWN = 10


def run(
    recipe: RecipePath,
    *,
    sets: Sets = None,
    store: Store = None,
    only: Only = None,
    reroll: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STEP[VARIANT]",
            help="Give this frame a new seed, and keep it; a selector of several, each. Repeat for "
            "more.",
        ),
    ] = None,
    model: Model = None,
    dtype: InDtype = None,
    device: OnDevice = None,
    batch: Batch = None,
    links: LinkKind = None,
    prefect: Annotated[
        bool,
        typer.Option(
            "--prefect",
            help="Order it from the workers of the server that PREFECT_API_URL names, and follow.",
        ),
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="With --prefect: do not follow; the run goes on.")
    ] = False,
    wait: Wait = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON; progress goes to stderr.")
    ] = False,
) -> None:
    """Make every picture of RECIPE that is not there yet; write outputs, manifest and report.

    Ctrl-C stops within a denoise step and keeps what is made; the same command goes on from there.
    With --prefect it only ends the following.
    """
    from flows.run.pipeline import RunRequest
    from flows.settings.address import is_s3

    settings = effective(recipe, store=store, device=device, batch=batch, links=links, wait=wait)
    if links == "presigned" and not is_s3(settings.store):
        raise typer.BadParameter("only a store in S3 has such links", param_hint="--links")
    request = RunRequest(
        recipe, settings.store, changes(sets, model), tuple(only or ()), dtype, settings
    )
    if reroll:
        _reroll(request, reroll, prefect=prefect)
    if detach and not prefect:
        raise typer.BadParameter("only an order can be left alone", param_hint="--detach")
    if prefect and (dtype is not None or device is not None or batch is not None):
        text = "with --prefect the workers decide about --dtype, --device and --batch"
        raise typer.BadParameter(text, param_hint="--prefect")
    finished = _order(request, detach) if prefect else _carry_out(request)
    if finished is None:
        raise typer.Exit(ExitCode.DONE)
    _tell(finished, as_json)
    raise typer.Exit(_exit_code(finished))


def _reroll(request: RunRequest, selectors: list[str], *, prefect: bool) -> None:
    from flows.cli.decide import reroll_told
    from flows.decisions.ledger import Refused
    from flows.store.base import StoreError

    keep = False if prefect else None  # of an order the store alone tells
    with told(StoreError, Refused):
        reroll_told(
            request.recipe, request.sets, tuple(selectors), request.effective, request.only,
            keep=keep,
        )  # fmt: skip


def _order(request: RunRequest, detach: bool) -> Finished | None:
    """Order it; its end, or ``None`` when it is not waited for."""
    import httpx

    from flows.scheduling.ordering import OrderError, follow, order
    from flows.scheduling.server import NoServerError, ServerError, connected, in_words
    from flows.scheduling.statement import FleetError
    from flows.store.base import StoreError

    def say(text: str) -> None:
        typer.echo(text, err=True)

    failed, wrong = (StoreError, ServerError), (NoServerError, FleetError, OrderError)
    try:
        with told(*failed, wrong=wrong), connected() as client:
            say(f"store     {request.out}")
            ordered = order(request, client, say)
            say(f"ordered  {ordered.page}")
            stopped = f"not followed any more; the run goes on: {ordered.page}"
            with told(stopped=stopped):
                return None if detach else follow(ordered, request, client, say)
    except httpx.HTTPError as error:
        say(in_words(error))
        raise typer.Exit(ExitCode.FAILED) from None


def _carry_out(request: RunRequest) -> Finished:
    from rich.console import Console

    from flows.cli.interrupt import Interrupts
    from flows.cli.progress import RunProgress
    from flows.problems import few
    from flows.run.events import both
    from flows.run.pipeline import Hooks, plan_recipe, run_recipe
    from flows.store.base import StoreError

    console = Console(stderr=True)
    progress = RunProgress(console)
    interrupts = Interrupts(progress.stopping)
    hooks = Hooks(
        on_event=both(interrupts.hear, progress.hear),
        cancelled=interrupts.asked,
        say=lambda text: console.print(text, soft_wrap=True, highlight=False, markup=False),
    )
    with told(StoreError, stopped="stopped at once; what is made stays"), interrupts.caught():
        plan = plan_recipe(request)
        console.print(f"store     {request.out}", soft_wrap=True, highlight=False, markup=False)
        for warning in few(plan.warnings):
            typer.echo(f"note: {warning}", err=True)
        with progress:
            return run_recipe(plan, request, hooks)


def _exit_code(finished: Finished) -> ExitCode:
    from flows.run.outcome import Ending

    if finished.manifest.ending is Ending.INTERRUPTED:
        return ExitCode.INTERRUPTED
    return ExitCode.DONE if finished.manifest.whole else ExitCode.FAILED


def _tell(finished: Finished, as_json: bool) -> None:
    from flows.settings.address import is_s3

    manifest = finished.manifest
    written = [output.path for output in manifest.outputs if output.sha256]
    counts = {state.value: count for state, count in manifest.counts.items()}
    if as_json:
        whole = {
            "ending": manifest.ending.value,
            "why": manifest.why,
            "counts": counts,
            "waiting": {label: list(picks) for label, picks in manifest.waiting.items()},
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
    told_counts = {**counts, "waiting": len(manifest.waiting)}
    summary = ", ".join(f"{count} {state}" for state, count in told_counts.items() if count)
    typer.echo(f"{summary or 'nothing to do'} in {manifest.seconds:.1f} s")
    for pick in [one for one in manifest.picks if one.chosen is None][:WAITING_SHOWN]:
        who = f"by {pick.judge}" if pick.judge else "for a hand"
        typer.echo(f"waiting   {pick.label} {who}: {', '.join(pick.candidates.values())}")
    typer.echo(f"report    {finished.report}")
    typer.echo(f"manifest  {finished.manifest_path}")
    typer.echo(f"outputs   {finished.folder} ({len(written)} files)")
    if is_s3(finished.folder):
        typer.echo(f"pull      kontext pull {finished.folder} DIR")
