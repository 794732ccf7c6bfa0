"""Parents' workers look after all who hold leases: who is dead is found out, and set back.

Every ``Tempo.sweep`` seconds: one listing of ``leases/`` in each store that is known here, and
questions to the server about parents that are Running, Pending or Crashed, and about whatever is
Cancelling. A lease that is quiet is broken whatever the state of its run: under a Scheduled run
nobody else would. A living parent judges its own chunks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from flows.scheduling.fence import lease_name
from flows.scheduling.names import MAKE_CHUNK, PARENTS, parent_name
from flows.scheduling.server import PAGE, at, history
from flows.scheduling.site import Site
from flows.scheduling.states import cancelled, set_back
from flows.store.base import StoreAway, StoreError
from flows.store.cells import Sight
from flows.store.leases import LEASES, Judge, Verdict
from flows.store.words import EMPTY

log = logging.getLogger(__name__)

REVIVALS = 3  # of a parent that has crashed
CRASHED_WITHIN = 3600.0  # seconds
_LIVING = (StateType.RUNNING, StateType.PENDING)


class Sweep:
    """One in each parents' worker; called again and again by one thread."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._judges: dict[str, Judge] = {}
        self._flows: dict[Any, str] = {}

    def __call__(self, client: SyncPrefectClient) -> None:
        """Look once.

        Raises:
            StoreAway, httpx.HTTPError: somebody did not answer; nothing is concluded from that.
        """
        try:
            runs = [*self._parents(client), *self._cancelling(client)]
            by_store: dict[str, list[FlowRun]] = {one: [] for one in self._site.addresses}
            for run in runs:
                by_store.setdefault(str(run.parameters.get("store")), []).append(run)
            for store, some in by_store.items():
                self._sweep(client, store, some)
        except BaseException:
            for judge in self._judges.values():
                judge.forget()
            raise

    def _sweep(self, client: SyncPrefectClient, store: str, runs: Sequence[FlowRun]) -> None:
        try:
            cells = self._site.cells(store)
        except StoreAway:
            raise
        except StoreError as error:
            log.debug("%s: %s", store, error)  # a store that this worker cannot use
            return
        tempo = self._site.tempo
        if store not in self._judges:
            self._judges[store] = Judge(cells, quiet=tempo.quiet, overdue=tempo.overdue)
        judge, sights = self._judges[store], cells.list(LEASES)
        seen = set()
        for run in runs:
            name = lease_name(self._flow(client, run), run)
            seen.add(LEASES + name)
            self._judge(client, judge, run, name, sights)
        for name in sights.keys() - seen:
            if sights[name].size > EMPTY and not _has_parent(name, sights):
                judge.lease(name.removeprefix(LEASES), sights, "", tempo.quiet)

    def _judge(
        self,
        client: SyncPrefectClient,
        judge: Judge,
        run: FlowRun,
        name: str,
        sights: Mapping[str, Sight],
    ) -> None:
        state, tempo = run.state, self._site.tempo
        if state is None:
            return
        live = state.is_running() or state.type is StateType.CANCELLING
        patience = tempo.brief if live else tempo.quiet
        lease = judge.lease(name, sights, state.id, patience)
        if lease in (Verdict.HELD, Verdict.FREE):
            return
        try:
            if state.type is StateType.CANCELLING:
                cancelled(client, run.id, "nobody has it in hand")
            elif state.is_crashed():
                crashes = sum(one.is_crashed() for one in history(client, run.id))
                if crashes <= REVIVALS:
                    set_back(client, run.id, f"crashed; revival {crashes} of {REVIVALS}")
            else:
                log.warning("%s: its holder is dead; it is begun again", name)
                set_back(client, run.id, "its worker is dead; somebody else goes on")
        except ObjectNotFound:
            log.debug("%s was deleted", name)

    def _parents(self, client: SyncPrefectClient) -> Iterator[FlowRun]:
        yield from self._pages(client, PARENTS, _of_types(_LIVING))
        since = FlowRunFilterEndTime.model_validate({"after_": at(-CRASHED_WITHIN)})
        crashed = FlowRunFilter(state=_state((StateType.CRASHED,)), end_time=since)
        yield from self._pages(client, PARENTS, crashed)

    def _cancelling(self, client: SyncPrefectClient) -> Iterator[FlowRun]:
        flows = (*PARENTS, MAKE_CHUNK)
        yield from self._pages(client, flows, _of_types((StateType.CANCELLING,)))

    def _pages(
        self, client: SyncPrefectClient, flows: Sequence[str], wanted: FlowRunFilter
    ) -> Iterator[FlowRun]:
        offset = 0
        while True:
            page = client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=list(flows))),
                flow_run_filter=wanted,
                sort=FlowRunSort.ID_DESC,
                limit=PAGE,
                offset=offset,
            )
            yield from page
            offset += len(page)
            if len(page) < PAGE:
                return

    def _flow(self, client: SyncPrefectClient, run: FlowRun) -> str:
        if run.flow_id not in self._flows:
            self._flows[run.flow_id] = client.read_flow(run.flow_id).name
        return self._flows[run.flow_id]


def _of_types(types: Sequence[StateType]) -> FlowRunFilter:
    return FlowRunFilter(state=_state(types))


def _state(types: Sequence[StateType]) -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)))


def _has_parent(name: str, sights: Mapping[str, Sight]) -> bool:
    """Whether this is the lease of a chunk whose parent seems to live, and so judges it."""
    kind, _, rest = name.removeprefix(LEASES).partition("/")
    parent = sights.get(LEASES + parent_name(rest.partition("/")[0]))
    return kind == "chunks" and parent is not None and parent.size > EMPTY
