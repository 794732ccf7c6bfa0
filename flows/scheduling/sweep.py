"""Parents' workers look after all who hold leases: who is dead is found out, and set back.

Every ``Tempo.sweep`` seconds: one listing of ``leases/`` in each store that is known here, and
questions to the server about parents that are Running, Pending or Crashed, and about whatever is
Cancelling. A lease that is quiet is broken whatever the state of its run: under a Scheduled run
nobody else would. A living parent judges its own chunks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound

from flows.scheduling.names import MAKE_CHUNK, PARENTS, lease_name, parent_name
from flows.scheduling.server import at, history, insisting, pages, those
from flows.scheduling.site import Site
from flows.scheduling.states import cancelled, set_back
from flows.store.base import StoreAway, StoreError
from flows.store.cells import Sight
from flows.store.leases import LEASES, Judge, Verdict
from flows.store.words import EMPTY

log = logging.getLogger(__name__)

REVIVALS = 3  # of a parent that has crashed
CRASHED_WITHIN = 3600.0  # seconds


class Sweep:
    """One in each parents' worker; called again and again by one thread."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._judges: dict[str, Judge] = {}

    def __call__(self, client: SyncPrefectClient) -> None:
        """Look once.

        Raises:
            StoreAway, httpx.HTTPError: somebody did not answer; nothing is concluded from that.
        """
        try:
            by_store: dict[str, list[FlowRun]] = {one: [] for one in self._site.addresses}
            for run in _suspects(client):
                by_store.setdefault(str(run.parameters.get("store")), []).append(run)
            for store, runs in by_store.items():  # what is begun about a run is brought to its end
                self._sweep(insisting(client), store, runs)
        except BaseException:
            for judge in self._judges.values():
                judge.forget()
            raise

    def _sweep(self, client: SyncPrefectClient, store: str, runs: Sequence[FlowRun]) -> None:
        try:
            sights = self._site.cells(store).list(LEASES)
        except StoreAway:
            raise
        except StoreError as error:
            log.debug("%s: %s", store, error)  # a store that this worker cannot use
            return
        judge = self._judges.setdefault(store, self._site.judge(store))
        seen = set()
        for run in runs:
            name = lease_name(run.id, run.parameters)
            seen.add(LEASES + name)
            self._judge(client, judge, run, name, sights)
        for name in sights.keys() - seen:
            if sights[name].size > EMPTY and not _has_parent(name, sights):
                judge.lease(name.removeprefix(LEASES), sights, "", self._site.tempo.quiet)

    def _judge(
        self,
        client: SyncPrefectClient,
        judge: Judge,
        run: FlowRun,
        name: str,
        sights: Mapping[str, Sight],
    ) -> None:
        state = run.state
        if state is None:
            return
        lease = judge.lease(name, sights, state.id, self._site.tempo.patience(state.type))
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


def _suspects(client: SyncPrefectClient) -> Iterator[FlowRun]:
    """Whose lease ought to be held."""
    living, crashed = (StateType.RUNNING, StateType.PENDING), (StateType.CRASHED,)
    since = {"after_": at(-CRASHED_WITHIN)}
    yield from pages(client, **those(flows=PARENTS, states=living))
    yield from pages(client, **those(flows=PARENTS, states=crashed, end_time=since))
    ending = those(flows=(*PARENTS, MAKE_CHUNK), states=(StateType.CANCELLING,))
    yield from pages(client, **ending)


def _has_parent(name: str, sights: Mapping[str, Sight]) -> bool:
    """Whether this is the lease of a chunk whose parent seems to live, and so judges it."""
    kind, _, rest = name.removeprefix(LEASES).partition("/")
    parent = sights.get(LEASES + parent_name(rest.partition("/")[0]))
    return kind == "chunks" and parent is not None and parent.size > EMPTY
