"""The work pool's queues: made where they are missing, counted for the metrics."""

from __future__ import annotations

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
    WorkQueueFilter,
    WorkQueueFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows.orchestration.names import PRIORITIES

_WAITING = FlowRunFilter(
    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
)


async def make_queues(client: PrefectClient, pool: str) -> None:
    """Make those that are not there, with their priorities; what people have changed stays."""
    for queue, priority in PRIORITIES.items():
        try:
            await client.read_work_queue_by_name(queue, pool)
        except ObjectNotFound:
            try:
                await client.create_work_queue(name=queue, priority=priority, work_pool_name=pool)
            except ObjectAlreadyExists:
                continue  # somebody else was quicker


async def count_waiting(client: PrefectClient, pool: str) -> dict[str, int]:
    """How many flow runs wait in each queue, for any worker."""
    return {
        queue: await client.count_flow_runs(
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
            work_queue_filter=WorkQueueFilter(name=WorkQueueFilterName(any_=[queue])),
            flow_run_filter=_WAITING,
        )
        for queue in PRIORITIES
    }
