"""``kontext deploy``: pools, queues and deployments in Prefect, as this version wants them.

Everything may be done again; only what differs is written, and told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)
from pydantic import ValidationError

from flows.scheduling.forms import (
    CONCURRENCY,
    NightlyForm,
    chunk_schema,
    nightly_schema,
    run_schema,
)
from flows.scheduling.names import (
    CHUNKS_POOL,
    MAKE_CHUNK,
    NIGHTLY,
    PARENTS_POOL,
    RUN_RECIPE,
    Queue,
    deployment,
)
from flows.scheduling.pools import (
    DEFAULT,
    DeployError,
    asked,
    check_pools,
    make_pools,
    remove_former,
)
from flows.scheduling.schedule import Nightly, reschedule
from flows.scheduling.server import (
    NoServerError,
    ServerError,
    connected,
    dashboard,
    in_words,
    insist,
    server_name,
)

__all__ = [
    "DeployError",
    "Deployed",
    "Deployment",
    "NoServerError",
    "ServerError",
    "deploy",
]

FLOWS = "flows/scheduling/flows.py"
TAG = "kontext"
ANSWER_SECONDS = 15.0  # how long an answer is waited for: somebody stands there
FOR_A_NIGHT: Queue = "nightly"


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is wanted. ``recipes`` are names to choose from, ``stores`` output prefixes.

    ``cron`` empty: the schedule is taken away. What is ``None`` stays as it is.
    """

    recipes: tuple[str, ...]
    stores: tuple[str, ...]
    cron: str | None = None
    time_zone: str | None = None
    nightly_recipes: str | None = None
    deadline_hours: float | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class Deployed:
    """What was changed, in words, and where people look."""

    changes: tuple[str, ...]
    dashboard: str


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One deployment, by the fields that are ours."""

    flow: str
    function: str
    pool: str
    queue: str
    description: str
    schema: Mapping[str, Any]
    parameters: Mapping[str, Any]
    enforced: bool = True

    def fields(self) -> dict[str, Any]:
        """As Prefect names them."""
        return {
            "description": self.description,
            "parameters": dict(self.parameters),
            "parameter_openapi_schema": dict(self.schema),
            "enforce_parameter_schema": self.enforced,
            "entrypoint": f"{FLOWS}:{self.function}",
            "work_pool_name": self.pool,
            "work_queue_name": self.queue,
        }


def deploy(wanted: Deployment) -> Deployed:
    """Make it so.

    Raises:
        NoServerError: no Prefect server is named, or something else is there.
        ServerError: it does not answer, or refuses.
        DeployError: the schedule is none, or a pool cannot be ours.
    """
    night = Nightly(wanted.cron, wanted.time_zone)
    with _spoken() as client:
        found = {flow: _read(client, flow) for flow in (RUN_RECIPE, NIGHTLY, MAKE_CHUNK)}
        before = found[NIGHTLY]
        night.check(before.schedules if before is not None else [])
        deployments = [*_deployments(wanted, before)]
        check_pools(client)
        changes = [*make_pools(client)]
        for one in deployments:
            changes += _deployment(client, one, found[one.flow])
        changes += reschedule(client, night)
        changes += remove_former(client)
        return Deployed(tuple(changes), dashboard())


@contextmanager
def _spoken() -> Iterator[SyncPrefectClient]:
    """A client that does not wait for long; whatever goes wrong with it in one line."""
    quick = {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: ANSWER_SECONDS}
    try:
        with temporary_settings(quick), connected() as client:
            _greet(client)
            yield client
    except (
        httpx.HTTPError,
        httpx.InvalidURL,
        PrefectException,
        ValidationError,
        ValueError,
    ) as error:
        # Without the cause: httpx' own words hold the address as it was given.
        raise ServerError(in_words(error)) from None


def _greet(client: SyncPrefectClient) -> None:
    """Whether a Prefect server is there at all: others answer 404 to everything, or with a page."""
    try:
        answer = insist(lambda: client.request("GET", "/health"), "greeting", within=0.0)
        is_prefect = answer.json() is True
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:
            raise
        is_prefect = False
    except ValueError:
        is_prefect = False
    if not is_prefect:
        raise NoServerError(
            f"what answers at {server_name()} is no Prefect server; expected the address of its "
            "API, such as http://127.0.0.1:4200/api; mend PREFECT_API_URL"
        )


def _deployments(wanted: Deployment, before: DeploymentResponse | None) -> Iterator[_Wanted]:
    store = wanted.stores[0]
    yield _Wanted(
        RUN_RECIPE,
        "run_recipe",
        PARENTS_POOL,
        DEFAULT,
        "Make every picture of a recipe that is not there yet; outputs, manifest and report.",
        run_schema(wanted.recipes, wanted.stores),
        # The form shows defaults of the deployment only.
        {"overrides": [], "only": [], "store": store, "queue": "urgent", "deadline": None},
    )
    yield _Wanted(
        NIGHTLY,
        "nightly",
        PARENTS_POOL,
        DEFAULT,
        "Run every recipe of a folder, each as a run of its own, when nothing is urgent.",
        nightly_schema(wanted.stores),
        _of_a_night(wanted, before.parameters if before is not None else {}),
    )
    yield _Wanted(
        MAKE_CHUNK,
        "make_chunk",
        CHUNKS_POOL,
        FOR_A_NIGHT,
        "A chunk of a recipe. run-recipe orders these; nobody needs to.",
        chunk_schema(),
        {"store": store, "order": 0},
        # No parent may stand still because this was not deployed again.
        enforced=False,
    )


def _of_a_night(wanted: Deployment, kept: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that a night is started with."""
    recipes, hours = wanted.nightly_recipes, wanted.deadline_hours
    asked_for = {
        "recipes": kept.get("recipes", "") if recipes is None else recipes,
        "store": wanted.stores[0],
        "concurrency": wanted.concurrency or kept.get("concurrency", CONCURRENCY),
        "deadline_hours": kept.get("deadline_hours") if hours is None else hours or None,
    }
    try:
        return NightlyForm.model_validate(asked_for).model_dump(mode="json")
    except ValidationError as error:
        one = error.errors()[0]
        name = str(one["loc"][0])
        raise DeployError(
            f"{name} of a night: {asked_for.get(name)!r} cannot be used; expected: {one['msg']}; "
            "mend it"
        ) from None


def _read(client: SyncPrefectClient, flow: str) -> DeploymentResponse | None:
    try:
        return asked(lambda: client.read_deployment_by_name(deployment(flow)), "a deployment")
    except ObjectNotFound:
        return None


def _deployment(
    client: SyncPrefectClient, wanted: _Wanted, found: DeploymentResponse | None
) -> Iterator[str]:
    name, fields = deployment(wanted.flow), wanted.fields()
    if found is None:
        flow = asked(lambda: client.create_flow_from_name(wanted.flow), "making a flow")
        asked(
            lambda: client.create_deployment(flow, wanted.flow, tags=[TAG], **fields),
            "making a deployment",
        )
        yield f"deployment {name} created"
        return
    change = {key: after for key, after in fields.items() if getattr(found, key) != after}
    if "work_pool_name" in change or "work_queue_name" in change:
        # A queue without its pool would be one of another pool.
        change |= {key: fields[key] for key in ("work_pool_name", "work_queue_name")}
    if change:
        update = DeploymentUpdate(**change)
        asked(lambda: client.update_deployment(found.id, update), "changing a deployment")
        yield f"deployment {name} changed: {', '.join(change)}"
    yield from _unlimited(client, found)


def _unlimited(client: SyncPrefectClient, found: DeploymentResponse) -> Iterator[str]:
    limit = found.global_concurrency_limit
    if limit is None:
        return
    # One of its own goes; one that others may be under is left to them.
    own = limit.name == f"deployment:{found.id}"
    change = {"concurrency_limit" if own else "global_concurrency_limit_id": None}
    path = f"/deployments/{found.id}"
    asked(lambda: client.request("PATCH", path, json=change), "removing a limit")  # type: ignore[arg-type]
    yield f"deployment {found.name}/{found.name} changed: concurrency_limit"
