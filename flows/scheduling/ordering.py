"""``kontext run --prefect``: a recipe goes into the store, the deployed flow is ordered, followed.

Whoever follows may go away: the run goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound

from flows.plan.plan import make_plan
from flows.plan.reading import read_recipe
from flows.problems import few
from flows.run.manifest import read_manifest
from flows.run.pipeline import Finished, RunRequest
from flows.scheduling.forms import RunForm
from flows.scheduling.names import RUN_RECIPE, deployment
from flows.scheduling.parcel import put_parcel
from flows.scheduling.parent import last_words
from flows.scheduling.progress import made_so_far
from flows.scheduling.server import dashboard, insisting, read
from flows.scheduling.statement import Fleet, fleet, place_of_process
from flows.settings.address import is_s3
from flows.store.address import open_store
from flows.store.keyed import KeyedStore
from flows.store.runfolder import RunFolder

EVERY = 2.0  # seconds between two looks at a run
TOLD_EVERY = 10.0  # seconds between two lines about how far it is


class OrderError(Exception):
    """It cannot be ordered, or ended without pictures; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """A run that was ordered, and where people look at it."""

    flow_run: UUID
    name: str
    page: str


def order(
    request: RunRequest, client: SyncPrefectClient, say: Callable[[str], None] | None = None
) -> Ordered:
    """Check a recipe as its workers will see it, put it into the store, and order it.

    A server that is away is waited for as long as the setting ``wait`` says.

    Raises:
        RecipeError: it is wrong.
        FleetError: the workers cannot make it.
        OrderError: nothing is deployed.
        ServerError: the server stayed away.
        StoreError: the store fails.
    """
    recipe = read_recipe(request.recipe, request.sets, request.effective)
    settings, address = request.effective, str(request.out)
    client = insisting(client, within=settings.wait, say=say)
    workers = fleet(client)
    if not is_s3(address):
        address = str(Path(address).absolute())
        _check_reachable(address, workers)
    if workers.workers:  # as they will plan it
        model, numerics = workers.model(recipe.document.model)
        plan = make_plan(
            recipe,
            model=model,
            numerics=numerics,
            only=request.only,
            settings=settings,
            libraries=workers.cutting(recipe.document.model),
        )
        if say is not None:
            for warning in few(plan.warnings):
                say(f"note: {warning}")
    store = open_store(request.out, settings)
    store.prepare()
    form = RunForm(
        recipe=put_parcel(recipe, settings, store),
        overrides=list(request.sets),
        only=list(request.only),
        store=address,
    )
    flow = deployment(RUN_RECIPE)
    try:
        found = client.read_deployment_by_name(flow)
    except ObjectNotFound:
        raise OrderError(f"'{flow}' is not deployed; run 'kontext deploy'") from None
    parameters = form.model_dump(mode="json", exclude={"parameters"})
    run = client.create_flow_run_from_deployment(
        found.id, parameters=parameters, name=recipe.name[:200]
    )
    return Ordered(run.id, run.name, f"{dashboard()}/runs/flow-run/{run.id}")


def _check_reachable(store: str, workers: Fleet) -> None:
    """A folder is only there for processes of this machine."""
    own = place_of_process()
    away = [worker.worker for worker in workers.workers if worker.here != own]
    if away:
        raise OrderError(
            f"{store}: worker '{away[0]}' is on another machine and cannot reach this folder; "
            "expected s3://bucket/prefix; give --store, or stop that worker"
        )


def follow(
    ordered: Ordered, request: RunRequest, client: SyncPrefectClient, say: Callable[[str], None]
) -> Finished:
    """Wait for the run's end, telling how far it is.

    Raises:
        OrderError: it was deleted, or ended without a manifest.
    """
    client = insisting(client, say=say)
    told, told_at, before = "", time.monotonic(), ""
    while True:
        run = read(client, ordered.flow_run)
        if run is None:
            raise OrderError(f"the run '{ordered.name}' was deleted; order it again")
        state = run.state
        if state is not None and state.name != before:
            before = state.name or ""
            say(f"{run.name}: {_told(state)}")
        if state is not None and state.is_final():
            return _finished(run, _told(state), open_store(request.out, request.effective), client)
        if time.monotonic() - told_at > TOLD_EVERY:
            told_at = time.monotonic()
            bar = made_so_far(client, [run.id]).get(run.id)
            words = f"{100 * bar.share:.0f} % of the pictures are made" if bar is not None else ""
            if words and words != told:
                told = words
                say(f"{run.name}: {words}")
        time.sleep(EVERY)


def _told(state: State[Any]) -> str:
    return f"{state.name}: {state.message}" if state.message else f"{state.name}"


def _finished(run: FlowRun, state: str, store: KeyedStore, client: SyncPrefectClient) -> Finished:
    words = last_words(client, store.objects, run.id)
    if not words.get("run") or words.get("ending") == "refused":
        raise OrderError(str(words.get("why") or f"{run.name} ended as {state}"))
    folder = RunFolder(store.objects, str(words["run"]))
    return Finished(folder, read_manifest(folder))
