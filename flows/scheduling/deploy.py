"""``kontext deploy``: pools, queues and deployments in Prefect, as this version wants them.

Everything may be done again; only what differs is written, and told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowFilter,
    FlowFilterName,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from flows.recipe.parameters import Parameter
from flows.scheduling.forms import (
    CONCURRENCY,
    ChunkForm,
    NightlyForm,
    RunForm,
    of_recipe,
    recipes,
    schema,
)
from flows.scheduling.names import (
    CHUNKS_POOL,
    MAKE_CHUNK,
    NIGHTLY,
    PARENTS_POOL,
    RUN_RECIPE,
    deployment,
    recipe_deployment,
)
from flows.scheduling.notices import arrange, block_of
from flows.scheduling.pools import (
    DEFAULT,
    DeployError,
    check_pools,
    differing,
    make_pools,
    remove_former,
)
from flows.scheduling.schedule import reschedule, scheduled
from flows.scheduling.server import dashboard
from flows.scheduling.spoken import PATIENCE, spoken
from flows.settings import NightSettings

log = logging.getLogger(__name__)

FLOWS = "flows/scheduling/flows.py"
TAG = "kontext"
PAGE = 100


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is wanted. ``recipes`` are names to choose from, ``stores`` output prefixes.

    ``night.cron`` empty: the schedule is taken away. What is ``None`` stays as it is.
    ``night.notify`` is the block that tells of nights, as TYPE/NAME; empty: none does.
    ``parameters`` are those of recipes that have some: each gets a form of its own.
    """

    recipes: tuple[str, ...]
    stores: tuple[str, ...]
    night: NightSettings = field(default_factory=NightSettings)
    parameters: Mapping[str, Mapping[str, Parameter]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deployed:
    """What was changed, in words, and where people look."""

    changes: tuple[str, ...]
    dashboard: str


def deploy(
    wanted: Deployment, wait: float = PATIENCE, say: Callable[[str], None] = log.info
) -> Deployed:
    """Make it so; a server that is away or slow is waited for (seconds), and told about.

    Raises:
        NoServerError: no Prefect server is named, or something else is there.
        ServerError: it does not answer, or refuses.
        DeployError: the schedule or the block is none, or a pool cannot be ours.
    """
    with spoken(wait, say) as client:
        found = {flow: _read(client, flow) for flow in (RUN_RECIPE, NIGHTLY, MAKE_CHUNK)}
        night = found[NIGHTLY]
        scheduled(
            wanted.night.cron, wanted.night.time_zone, night.schedules if night is not None else []
        )
        fields = _fields(wanted, night.parameters if night is not None else {})
        block = block_of(client, wanted.night.notify)
        check_pools(client)
        changes = [*make_pools(client)]
        for flow, known in found.items():
            changes += _deployment(client, flow, flow, fields[flow], known)
        changes += _of_recipes(client, wanted, fields[RUN_RECIPE])
        changes += reschedule(client, wanted.night.cron, wanted.night.time_zone)
        hours = fields[NIGHTLY]["parameters"]["deadline_hours"]
        changes += arrange(
            client, wanted.night.notify, block, hours, report=bool(wanted.night.notify_report)
        )
        changes += remove_former(client)
        return Deployed(tuple(changes), dashboard())


def _fields(wanted: Deployment, night: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Of each flow's deployment what is ours, as Prefect names it; ``night`` is kept of it."""
    store = wanted.stores[0]
    stores = {"type": "string", "enum": list(wanted.stores), "default": store}
    of_parents = {
        "enforce_parameter_schema": True,
        "work_pool_name": PARENTS_POOL,
        "work_queue_name": DEFAULT,
    }
    # The form shows defaults of the deployment only.
    given: dict[str, Any] = {
        "overrides": [],
        "only": [],
        "store": store,
        "queue": "urgent",
        "deadline": None,
    }
    return {
        RUN_RECIPE: {
            "description": "Make every picture of a recipe that is not there yet; outputs, "
            "manifest and report.",
            "parameters": given,
            "parameter_openapi_schema": schema(
                RunForm, ("parameters",), recipe=recipes(wanted.recipes), store=stores
            ),
            "entrypoint": f"{FLOWS}:run_recipe",
            **of_parents,
        },
        NIGHTLY: {
            "description": "Run every recipe of a folder, each as a run of its own, when nothing "
            "is urgent.",
            "parameters": _of_a_night(wanted, night),
            "parameter_openapi_schema": schema(NightlyForm, store=stores),
            "entrypoint": f"{FLOWS}:nightly",
            **of_parents,
        },
        MAKE_CHUNK: {
            "description": "A chunk of a recipe. run-recipe orders these; nobody needs to.",
            "parameters": {"store": store, "order": 0},
            "parameter_openapi_schema": schema(ChunkForm),
            # No parent may stand still because this was not deployed again.
            "enforce_parameter_schema": False,
            "entrypoint": f"{FLOWS}:make_chunk",
            "work_pool_name": CHUNKS_POOL,
            "work_queue_name": "nightly",
        },
    }


def _of_recipes(
    client: SyncPrefectClient, wanted: Deployment, common: Mapping[str, Any]
) -> Iterator[str]:
    """A deployment for each recipe with parameters; those of others that are gone, removed."""
    kept = {RUN_RECIPE}
    for recipe, parameters in wanted.parameters.items():
        name = recipe_deployment(recipe)
        kept.add(name)
        of_store = {"type": "string", "enum": list(wanted.stores), "default": wanted.stores[0]}
        fields = {
            **common,
            "description": f"Make every picture of {recipe} that is not there yet, with its own "
            "parameters.",
            "parameters": {
                "recipe": recipe,
                "parameters": {},
                **{one: common["parameters"][one] for one in ("store", "queue", "deadline")},
            },
            "parameter_openapi_schema": schema(
                RunForm,
                ("overrides", "only"),
                recipe={"type": "string", "enum": [recipe], "default": recipe},
                parameters=of_recipe(parameters),
                store=of_store,
            ),
        }
        found = _read(client, RUN_RECIPE, name)
        yield from _deployment(client, RUN_RECIPE, name, fields, found)
    for former in _ours(client):
        if former.name not in kept:
            client.delete_deployment(former.id)
            yield f"deployment {RUN_RECIPE}/{former.name} removed"


def _ours(client: SyncPrefectClient) -> list[DeploymentResponse]:
    """All deployments of ``run-recipe`` that an earlier call made."""
    found: list[DeploymentResponse] = []
    while True:
        page = client.read_deployments(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[RUN_RECIPE])),
            deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG])),
            limit=PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < PAGE:
            return found


def _of_a_night(wanted: Deployment, kept: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that a night is started with."""
    recipes, hours = wanted.night.recipes, wanted.night.deadline
    asked_for = {
        "recipes": kept.get("recipes", "") if recipes is None else recipes,
        "store": wanted.stores[0],
        "concurrency": wanted.night.concurrency or kept.get("concurrency", CONCURRENCY),
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


def _read(
    client: SyncPrefectClient, flow: str, name: str | None = None
) -> DeploymentResponse | None:
    try:
        return client.read_deployment_by_name(f"{flow}/{name}" if name else deployment(flow))
    except ObjectNotFound:
        return None


def _deployment(
    client: SyncPrefectClient,
    flow: str,
    own: str,
    fields: Mapping[str, Any],
    found: DeploymentResponse | None,
) -> Iterator[str]:
    name = f"{flow}/{own}"
    if found is None:
        id_ = client.create_flow_from_name(flow)
        client.create_deployment(id_, own, tags=[TAG], **fields)
        yield f"deployment {name} created"
        return
    change = differing(found, fields)
    if "work_pool_name" in change or "work_queue_name" in change:
        # A queue without its pool would be one of another pool.
        change |= {key: fields[key] for key in ("work_pool_name", "work_queue_name")}
    if change:
        client.update_deployment(found.id, DeploymentUpdate(**change))
        yield f"deployment {name} changed: {', '.join(change)}"
    limit = found.global_concurrency_limit
    if limit is not None:
        # One of its own goes; one that others may be under is left to them.
        is_own = limit.name == f"deployment:{found.id}"
        path = f"/deployments/{found.id}"
        limited = "concurrency_limit" if is_own else "global_concurrency_limit_id"
        client.request("PATCH", path, json={limited: None})  # type: ignore[arg-type]
        yield f"deployment {name} changed: concurrency_limit"
