"""The two work pools and their queues in Prefect, as this version wants them.

Nowhere a concurrency limit: under one, the server cancels bodies whose own lease it does not hear
of, and urgent runs wait behind a night. A night keeps its own count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import StateType, WorkPool
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows.scheduling.names import CHUNKS_POOL, PARENTS_POOL, PRIORITIES, WORKER_TYPE
from flows.scheduling.server import LIVING, those

# Nothing to be set for a single run: no process is started for it. The server takes no
# configuration that is empty itself.
JOB_TEMPLATE: Final[dict[str, Any]] = {
    "job_configuration": {"env": {}},
    "variables": {"properties": {}},
}
DEFAULT: Final = "default"  # the queue that every pool has from the beginning
UNUSED = 100  # its priority beside others
FORMER_POOL = "kontext-runs"  # where runs of earlier versions were
_DESCRIPTIONS = {
    PARENTS_POOL: "Recipes and nights; workers that need no engine take them.",
    CHUNKS_POOL: "Chunks of recipes; workers with an engine take them.",
}
_QUEUES: dict[str, dict[str, int]] = {PARENTS_POOL: {}, CHUNKS_POOL: {DEFAULT: UNUSED}}
_QUEUES[CHUNKS_POOL].update((str(name), first) for name, first in PRIORITIES.items())


class DeployError(Exception):
    """What was asked for cannot be deployed; the message says why and what to do."""


def check_pools(client: SyncPrefectClient) -> None:
    """Whether ours can be made, before anything is changed.

    Raises:
        DeployError: a pool of a name of ours is another's, or an earlier version has work left.
    """
    for name in _QUEUES:
        if (found := _read(client, name)) is not None and (wrong := not_ours(found)):
            raise DeployError(wrong)
    if _read(client, FORMER_POOL) is not None and (left := _left(client)):
        raise DeployError(
            f"{left} runs of an earlier version in the work pool '{FORMER_POOL}' have not ended; "
            "expected none, since nobody takes them any more; let them end, or delete them in "
            "Prefect's dashboard, and deploy again"
        )


def not_ours(pool: WorkPool) -> str:
    """What is wrong with a pool of a name of ours, if it is another's."""
    if pool.type == WORKER_TYPE:
        return ""
    return (
        f"the work pool '{pool.name}' is of type '{pool.type}'; expected '{WORKER_TYPE}'; remove "
        f"it with 'prefect work-pool delete {pool.name}' and run 'kontext deploy'"
    )


def make_pools(client: SyncPrefectClient) -> Iterator[str]:
    """Both pools and their queues; what was changed, in words."""
    for name, queues in _QUEUES.items():
        yield from _pool(client, name)
        yield from _queues(client, name, queues)


def remove_former(client: SyncPrefectClient) -> Iterator[str]:
    """The pool of earlier versions, when no deployment of ours is in it any more."""
    if _read(client, FORMER_POOL) is not None:
        with suppress(ObjectNotFound):
            client.delete_work_pool(FORMER_POOL)
            yield f"work pool {FORMER_POOL} of an earlier version removed"


def differing(found: object, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``wanted`` is otherwise in what the server has."""
    return {name: value for name, value in wanted.items() if getattr(found, name) != value}


def _read(client: SyncPrefectClient, name: str) -> WorkPool | None:
    try:
        return client.read_work_pool(name)
    except ObjectNotFound:
        return None


def _left(client: SyncPrefectClient) -> int:
    """How many runs of the former pool would be lost with it.

    Nights that its schedule has made ahead are none: the server makes them anew.
    """
    now = datetime.now(UTC)
    return sum(
        not run.auto_scheduled
        or run.state_type is not StateType.SCHEDULED
        or run.expected_start_time is None
        or run.expected_start_time <= now
        for run in client.read_flow_runs(**those(states=LIVING, pool=FORMER_POOL))
    )


def _pool(client: SyncPrefectClient, name: str) -> Iterator[str]:
    fields: dict[str, Any] = {"description": _DESCRIPTIONS[name], "base_job_template": JOB_TEMPLATE}
    found = _read(client, name)
    if found is None:
        # It may be there: an answer was lost, or somebody else has made it meanwhile.
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=name, type=WORKER_TYPE, **fields))
            yield f"work pool {name} created"
    elif change := differing(found, {**fields, "concurrency_limit": None}):
        client.update_work_pool(name, WorkPoolUpdate(**change))
        yield f"work pool {name} changed: {', '.join(change)}"


def _queues(client: SyncPrefectClient, pool: str, wanted: Mapping[str, int]) -> Iterator[str]:
    """Priorities as wanted, and no limit on any queue, also those that people have added.

    From the back, since making room at the front moves the others.
    """
    known = {queue.name for queue in client.read_work_queues(work_pool_name=pool)}
    for name, priority in sorted(wanted.items(), key=lambda item: -item[1]):
        if name not in known:
            with suppress(ObjectAlreadyExists):
                client.create_work_queue(name=name, work_pool_name=pool, priority=priority)
                yield f"queue {pool}/{name} created"
    queues = client.read_work_queues(work_pool_name=pool)
    for queue in sorted(queues, key=lambda queue: -wanted.get(queue.name, 0)):
        priority = wanted.get(queue.name, queue.priority)
        change = differing(queue, {"priority": priority, "concurrency_limit": None})
        if change:
            client.update_work_queue(queue.id, **change)
        if "concurrency_limit" in change or (change and queue.name != DEFAULT):
            yield f"queue {pool}/{queue.name} changed: {', '.join(change)}"
