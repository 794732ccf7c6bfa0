"""``kontext deploy``: pools, queues and deployments in Prefect, as this version wants them.

Everything may be done again; only what differs is written, and told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentUpdate,
    WorkPoolCreate,
)
from prefect.client.schemas.objects import DeploymentSchedule, WorkQueue
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from flows.orchestration.api import NoServerError, PrefectApi, open_api
from flows.orchestration.forms import chunk_schema, nightly_schema, run_schema
from flows.orchestration.names import (
    CHUNKS_POOL,
    CHUNKS_POOL_TYPE,
    MAKE_CHUNK,
    NIGHTLY,
    PRIORITIES,
    RUN_RECIPE,
    RUNS_POOL,
    RUNS_POOL_TYPE,
    deployment,
)

__all__ = ["DeployError", "Deployed", "Deployment", "NoServerError", "deploy"]

SLUG = "nightly"  # of the schedule, by which it is found again
UNUSED = 100  # priority of the queue that every pool has from the beginning


class DeployError(Exception):
    """What was asked for cannot be deployed; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is wanted. ``recipes`` are names to choose from, ``stores`` output prefixes.

    ``cron`` empty: the schedule is taken away; ``None``: it stays as it is. ``concurrency`` is how
    many recipes of a night are made at once, 0: any number.
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
    """One deployment, by the fields that are ours. ``schedules`` ``None``: left as they are."""

    flow: str
    pool: str
    queue: str
    description: str
    schema: Mapping[str, Any]
    parameters: Mapping[str, Any]
    schedules: Sequence[CronSchedule] | None = None


def deploy(wanted: Deployment) -> Deployed:
    """Make it so.

    Raises:
        NoServerError: no Prefect server is named.
        DispatchError: it does not answer, or refuses.
        DeployError: the schedule is none.
    """
    schedules = _schedules(wanted)
    with open_api() as api:
        changes = [
            *_pool(api, RUNS_POOL, RUNS_POOL_TYPE, "Recipes to run; the coordinator takes them."),
            *_pool(api, CHUNKS_POOL, CHUNKS_POOL_TYPE, "Chunks of runs; workers take them."),
        ]
        for pool in (RUNS_POOL, CHUNKS_POOL):
            changes += _queues(api, pool, wanted.concurrency if pool == RUNS_POOL else None)
        for one in _deployments(api, wanted, schedules):
            changes += _deployment(api, one)
        return Deployed(tuple(changes), api.dashboard)


def _schedules(wanted: Deployment) -> Sequence[CronSchedule] | None:
    if wanted.cron is None:
        if wanted.time_zone is not None:
            raise DeployError(
                f"a time zone without a schedule; expected --cron beside --time-zone "
                f"{wanted.time_zone}; add it"
            )
        return None
    if not wanted.cron:
        return []
    try:
        return [CronSchedule(cron=wanted.cron, timezone=wanted.time_zone or "UTC")]
    except ValidationError as error:
        item = error.errors()[0]
        asked = wanted.time_zone if item["loc"] == ("timezone",) else wanted.cron
        expected = (
            "a name such as Europe/Berlin"
            if item["loc"] == ("timezone",)
            else "minute hour day month weekday, such as '0 22 * * 1-5'"
        )
        raise DeployError(f"'{asked}' cannot be used; expected {expected}; mend it") from None


def _deployments(
    api: PrefectApi, wanted: Deployment, schedules: Sequence[CronSchedule] | None
) -> Iterator[_Wanted]:
    store = wanted.stores[0]
    yield _Wanted(
        RUN_RECIPE,
        RUNS_POOL,
        "urgent",
        "Make every picture of a recipe that is not there yet; outputs, manifest and report.",
        run_schema(wanted.recipes, wanted.stores),
        # The form shows defaults of the deployment only.
        {"overrides": [], "only": [], "store": store, "queue": "urgent", "deadline": None},
    )
    before = _read(api, NIGHTLY)
    kept = before.parameters if before is not None else {}
    hours = wanted.deadline_hours
    yield _Wanted(
        NIGHTLY,
        RUNS_POOL,
        "urgent",  # the night itself takes no place; its recipes wait in 'nightly'
        "Run every recipe of a folder, each as a run of its own, when nothing is urgent.",
        nightly_schema(wanted.stores),
        {
            "recipes": kept.get("recipes", "")
            if wanted.nightly_recipes is None
            else wanted.nightly_recipes,
            "store": store,
            "deadline_hours": kept.get("deadline_hours") if hours is None else hours or None,
        },
        schedules,
    )
    yield _Wanted(
        MAKE_CHUNK,
        CHUNKS_POOL,
        "nightly",
        "A chunk of a run. The coordinator starts these; nobody needs to.",
        chunk_schema(),
        {},
    )


def _pool(api: PrefectApi, name: str, kind: str, description: str) -> Iterator[str]:
    try:
        with api.asked() as client:
            found = client.read_work_pool(name)
    except ObjectNotFound:
        with api.asked() as client:
            client.create_work_pool(WorkPoolCreate(name=name, type=kind, description=description))
        yield f"work pool {name} created"
        return
    if found.type != kind:
        raise DeployError(
            f"the work pool '{name}' is of type '{found.type}'; expected '{kind}'; remove it with "
            f"'prefect work-pool delete {name}' and deploy again"
        )


def _queues(api: PrefectApi, pool: str, concurrency: int | None) -> Iterator[str]:
    # From the back, since making room at the front moves the others.
    wanted: list[tuple[str, int]] = [*PRIORITIES.items(), ("default", UNUSED)]
    for name, priority in sorted(wanted, key=lambda item: -item[1]):
        limit = concurrency if name == "nightly" else None
        queue = _queue(api, pool, name)
        if queue is None:
            with api.asked() as client:
                client.create_work_queue(
                    name=name,
                    work_pool_name=pool,
                    priority=priority,
                    concurrency_limit=limit or None,
                )
            yield f"queue {pool}/{name} created"
            continue
        change: dict[str, Any] = {}
        if queue.priority != priority:
            change["priority"] = priority
        if limit is not None and queue.concurrency_limit != (limit or None):
            change["concurrency_limit"] = limit or None
        if change:
            with api.asked() as client:
                client.update_work_queue(queue.id, **change)
            if name != "default":
                yield f"queue {pool}/{name} changed: {', '.join(change)}"


def _queue(api: PrefectApi, pool: str, name: str) -> WorkQueue | None:
    try:
        with api.asked() as client:
            return client.read_work_queue_by_name(name, pool)
    except ObjectNotFound:
        return None


def _read(api: PrefectApi, flow: str) -> DeploymentResponse | None:
    try:
        with api.asked() as client:
            return client.read_deployment_by_name(deployment(flow))
    except ObjectNotFound:
        return None


def _deployment(api: PrefectApi, wanted: _Wanted) -> Iterator[str]:
    found = _read(api, wanted.flow)
    name = deployment(wanted.flow)
    if found is None:
        with api.asked() as client:
            flow = client.create_flow_from_name(wanted.flow)
            client.create_deployment(
                flow,
                wanted.flow,
                schedules=[_schedule(one) for one in wanted.schedules or ()],
                parameters=dict(wanted.parameters),
                description=wanted.description,
                work_queue_name=wanted.queue,
                work_pool_name=wanted.pool,
                parameter_openapi_schema=dict(wanted.schema),
                enforce_parameter_schema=True,
                tags=["kontext"],
            )
        yield f"deployment {name} created"
        for one in wanted.schedules or ():
            yield f"{name} is started {one.cron} ({one.timezone})"
        return
    change = _changed(found, wanted)
    if change:
        with api.asked() as client:
            client.update_deployment(found.id, DeploymentUpdate(**change))
        yield f"deployment {name} changed: {', '.join(change)}"
    yield from _reschedule(api, found.id, found.schedules, wanted)


def _changed(found: DeploymentResponse, wanted: _Wanted) -> dict[str, Any]:
    pairs: dict[str, tuple[Any, Any]] = {
        "description": (found.description, wanted.description),
        "parameters": (found.parameters, dict(wanted.parameters)),
        "parameter_openapi_schema": (found.parameter_openapi_schema, dict(wanted.schema)),
        "work_pool_name": (found.work_pool_name, wanted.pool),
        "work_queue_name": (found.work_queue_name, wanted.queue),
    }
    return {name: after for name, (before, after) in pairs.items() if before != after}


def _reschedule(
    api: PrefectApi, found: UUID, before: Sequence[DeploymentSchedule], wanted: _Wanted
) -> Iterator[str]:
    """Our own schedule as it is wanted; those that people have added stay."""
    if wanted.schedules is None:
        return
    ours = [one for one in before if one.slug == SLUG]
    if [one.schedule for one in ours] == list(wanted.schedules):
        return
    for old in ours:
        with api.asked() as client:
            client.delete_deployment_schedule(found, old.id)
    name = deployment(wanted.flow)
    if wanted.schedules:
        with api.asked() as client:
            client.create_deployment_schedules(found, [_schedule(one) for one in wanted.schedules])
    for one in wanted.schedules:
        yield f"{name} is started {one.cron} ({one.timezone})"
    if not wanted.schedules:
        yield f"{name} is not started by itself any more"


def _schedule(one: CronSchedule) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(schedule=one, active=True, slug=SLUG)
