"""What a worker asks Prefect beside its work: about queues, and about what was cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
    WorkQueueFilter,
    WorkQueueFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows.orchestration.names import PRIORITIES

_SCHEDULED = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
_STOPPED = FlowRunFilterState(
    type=FlowRunFilterStateType(any_=[StateType.CANCELLING, StateType.CANCELLED])
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
            flow_run_filter=FlowRunFilter(state=_SCHEDULED),
        )
        for queue in PRIORITIES
    }


async def find_stopped(client: PrefectClient, flow_runs: Sequence[UUID]) -> list[UUID]:
    """Those of these that somebody has cancelled; one question for all."""
    found = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=list(flow_runs)), state=_STOPPED),
        # Named, because the server refuses what the client sends for those that are not.
        sort=FlowRunSort.ID_DESC,
        limit=len(flow_runs),
    )
    return [flow_run.id for flow_run in found]
