"""The two work pools and their queues in Prefect, as this version wants them.

Nowhere a concurrency limit: under one, the server cancels bodies whose own lease it does not hear
of, and urgent runs wait behind a night. A night keeps its own count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType, WorkPool
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows.scheduling.names import CHUNKS_POOL, PARENTS_POOL, PRIORITIES, WORKER_TYPE
from flows.scheduling.server import insist

# Nothing to be set for a single run: no process is started for it. The server takes no
# configuration that is empty itself.
JOB_TEMPLATE: Final[dict[str, Any]] = {
    "job_configuration": {"env": {}},
    "variables": {"properties": {}},
}
DEFAULT: Final = "default"  # the queue that every pool has from the beginning
UNUSED = 100  # its priority beside others
FORMER_POOL = "kontext-runs"  # where runs of earlier versions were
PATIENCE = 10.0  # seconds that a server which answers badly is asked again
LIVING = [
    StateType.SCHEDULED,
    StateType.PENDING,
    StateType.RUNNING,
    StateType.PAUSED,
    StateType.CANCELLING,
]

T = TypeVar("T")


class DeployError(Exception):
    """What was asked for cannot be deployed; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    name: str
    description: str
    queues: Mapping[str, int]


POOLS = (
    _Wanted(PARENTS_POOL, "Recipes and nights; workers that need no engine take them.", {}),
    _Wanted(
        CHUNKS_POOL,
        "Chunks of recipes; workers with an engine take them.",
        {DEFAULT: UNUSED} | {str(name): first for name, first in PRIORITIES.items()},
    ),
)


def asked(ask: Callable[[], T], what: str) -> T:
    """The server's answer; a passing trouble of its is waited out for a moment.

    Raises:
        ServerError: it went on.
        httpx.HTTPStatusError, PrefectException: the server's own answer.
    """
    return insist(ask, what, pause=time.sleep, within=PATIENCE)


def check_pools(client: SyncPrefectClient) -> None:
    """Whether ours can be made, before anything is changed.

    Raises:
        DeployError: a pool of a name of ours is another's, or an earlier version has work left.
    """
    for name in (PARENTS_POOL, CHUNKS_POOL):
        found = _read(client, name)
        if found is not None and found.type != WORKER_TYPE:
            raise DeployError(
                f"the work pool '{name}' is of type '{found.type}'; expected '{WORKER_TYPE}'; "
                f"remove it with 'prefect work-pool delete {name}' and deploy again"
            )
    if _read(client, FORMER_POOL) is not None and (left := _left(client)):
        raise DeployError(
            f"{left} runs of an earlier version in the work pool '{FORMER_POOL}' have not ended; "
            "expected none, since nobody takes them any more; let them end, or delete them in "
            "Prefect's dashboard, and deploy again"
        )


def make_pools(client: SyncPrefectClient) -> Iterator[str]:
    """Both pools and their queues; what was changed, in words."""
    for wanted in POOLS:
        yield from _pool(client, wanted)
        yield from _queues(client, wanted)


def remove_former(client: SyncPrefectClient) -> Iterator[str]:
    """The pool of earlier versions, when no deployment of ours is in it any more."""
    if _read(client, FORMER_POOL) is None:
        return
    try:
        asked(lambda: client.delete_work_pool(FORMER_POOL), "deleting a work pool")
    except ObjectNotFound:
        return
    yield f"work pool {FORMER_POOL} of an earlier version removed"


def _read(client: SyncPrefectClient, name: str) -> WorkPool | None:
    try:
        return asked(lambda: client.read_work_pool(name), "a work pool")
    except ObjectNotFound:
        return None


def _left(client: SyncPrefectClient) -> int:
    """How many runs of the former pool would be lost with it.

    Nights that its schedule has made ahead are none: the server makes them anew.
    """
    runs = asked(
        lambda: client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=LIVING))
            ),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[FORMER_POOL])),
        ),
        "flow runs",
    )
    now = datetime.now(UTC)
    ahead = [
        run
        for run in runs
        if run.auto_scheduled
        and run.state_type is StateType.SCHEDULED
        and run.expected_start_time is not None
        and run.expected_start_time > now
    ]
    return len(runs) - len(ahead)


def _pool(client: SyncPrefectClient, wanted: _Wanted) -> Iterator[str]:
    name = wanted.name
    found = _read(client, name)
    if found is None:
        new = WorkPoolCreate(
            name=name,
            type=WORKER_TYPE,
            description=wanted.description,
            base_job_template=JOB_TEMPLATE,
        )
        try:
            asked(lambda: client.create_work_pool(new), "making a work pool")
        except ObjectAlreadyExists:  # an answer was lost, or somebody else made it meanwhile
            return
        yield f"work pool {name} created"
        return
    pairs: dict[str, tuple[Any, Any]] = {
        "description": (found.description, wanted.description),
        "base_job_template": (found.base_job_template, JOB_TEMPLATE),
        "concurrency_limit": (found.concurrency_limit, None),
    }
    if change := {key: after for key, (before, after) in pairs.items() if before != after}:
        update = WorkPoolUpdate(**change)
        asked(lambda: client.update_work_pool(name, update), "changing a work pool")
        yield f"work pool {name} changed: {', '.join(change)}"


def _queues(client: SyncPrefectClient, wanted: _Wanted) -> Iterator[str]:
    pool = wanted.name
    found = {
        queue.name: queue
        for queue in asked(lambda: client.read_work_queues(work_pool_name=pool), "queues")
    }
    # From the back, since making room at the front moves the others.
    for name, priority in sorted(wanted.queues.items(), key=lambda item: -item[1]):
        if name in found:
            continue

        def create(name: str = name, priority: int = priority) -> None:
            client.create_work_queue(name=name, work_pool_name=pool, priority=priority)

        try:
            asked(create, "making a queue")
        except ObjectAlreadyExists:
            continue
        if name != DEFAULT:
            yield f"queue {pool}/{name} created"
    yield from _order(client, wanted)


def _order(client: SyncPrefectClient, wanted: _Wanted) -> Iterator[str]:
    """Priorities as wanted, and no limit on any queue, also those that people have added."""
    pool = wanted.name
    queues = asked(lambda: client.read_work_queues(work_pool_name=pool), "queues")
    for queue in sorted(queues, key=lambda queue: -wanted.queues.get(queue.name, 0)):
        change: dict[str, Any] = {}
        priority = wanted.queues.get(queue.name)
        if priority is not None and queue.priority != priority:
            change["priority"] = priority
        if queue.concurrency_limit is not None:
            change["concurrency_limit"] = None
        if not change:
            continue

        def update(id_: Any = queue.id, change: dict[str, Any] = change) -> None:
            client.update_work_queue(id_, **change)

        asked(update, "changing a queue")
        if queue.name != DEFAULT or "concurrency_limit" in change:
            yield f"queue {pool}/{queue.name} changed: {', '.join(change)}"
