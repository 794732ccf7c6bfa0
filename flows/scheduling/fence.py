"""One attempt at one flow run: its lease first, then people's words, then ``run_flow``.

At the end the lease is freed, and then the run's state tells the truth: who is told of the run
finds the lease free.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.flow_engine import run_flow
from prefect.states import Failed
from pydantic import BaseModel, ValidationError

from flows.run.verdicts import verdict
from flows.scheduling.attempt import ABOVE, Attempt, Stop, Why, become
from flows.scheduling.names import MAKE_CHUNK, lease_name
from flows.scheduling.server import ServerError, connected, history, insisting, read, read_many
from flows.scheduling.site import Site
from flows.scheduling.states import cancelled, people_say, round_of, set_back
from flows.store.base import StoreAway, StoreError
from flows.store.leases import Lease

log = logging.getLogger(__name__)

FAREWELL = 8.0  # seconds for telling the server how a drained body ended
YEAR = 365 * 86400.0  # a chunk whose parent is suspended is put off for so long
AGAIN = 1.0  # seconds until run_flow is tried again when its last word was not heard


def execute(site: Site, flow: Flow[Any, Any], form: type[BaseModel], flow_run: FlowRun) -> None:
    """Carry out a flow run that was taken from a pool; returns when nothing is left to be done."""
    become(None)
    with connected() as client:
        asking = insisting(client)
        try:
            given = form.model_validate(flow_run.parameters)
        except ValidationError as error:
            lines = (
                f"{'.'.join(map(str, item['loc'])) or 'parameters'}: "
                f"{item['msg'][:1].lower()}{item['msg'][1:]}; mend it and run again"
                for item in error.errors(include_url=False)
            )
            problem: Any = Failed(message="\n".join(lines))
            asking.set_flow_run_state(flow_run.id, problem, force=True)
            return
        _Execution(site, flow, given, flow_run, asking).carry_out()


@dataclass
class _Execution:
    site: Site
    flow: Flow[Any, Any]
    form: BaseModel
    run: FlowRun
    client: SyncPrefectClient

    def __post_init__(self) -> None:
        self.name = lease_name(self.run.id, self.run.parameters)
        self.store = str(self.run.parameters["store"])

    def carry_out(self) -> None:
        lease = self._take_lease()
        if lease is None:
            return
        above = (tag.removeprefix(ABOVE) for tag in self.run.tags if tag.startswith(ABOVE))
        attempt = Attempt(
            site=self.site,
            run=self.run.id,
            name=self.name,
            lease=lease,
            above=tuple(map(UUID, above)),
            queue=self.run.work_queue_name or "",
        )
        why: Why | None = None
        try:
            runs = read_many(self.client, (attempt.run, *attempt.above))
            why = people_say(runs, attempt.run, attempt.above)
            if why is None:
                self.site.attempts[attempt.run] = attempt
                become(attempt)
                why = self._until_final(attempt)
        except Stop as stop:
            why = stop.why
        finally:
            become(None)
            lease.free()
            self.site.attempts.pop(attempt.run, None)
        if why is not None:
            self._tell(why)

    def _take_lease(self) -> Lease | None:
        """``None`` when it is somebody's who lives, or cannot be had here, which is told."""
        site, lease, told = self.site, None, False
        while lease is None and not site.draining.is_set():
            try:
                lease = site.lease(self.store, self.name)
            except StoreAway as error:
                if not told:
                    log.warning("%s: waiting for the store: %s", self.name, error)
                told = True
                time.sleep(site.tempo.look)
            except StoreError as error:  # another worker may be able to use it
                log.error("%s: %s", self.name, error)
                site.setbacks.fruitless(str(error))
                why = f"worker '{site.worker}' cannot use the store: {error}"
                self._give_back(why, site.tempo.back_off)
                return None
        if lease is None:
            self._give_back(Why.DRAIN.value)
        elif (other := lease.take(site.draining.is_set)) is not None:
            run = read(self.client, self.run.id)
            if run is not None and run.state is not None and run.state.is_pending():
                after = site.tempo.back_off if other.holder else 0.0
                self._give_back(f"it is in hand of worker '{other.worker}'", after)
            return None
        return lease

    def _until_final(self, attempt: Attempt) -> Why | None:
        """Once, normally; again, with nothing left to do, until the state tells the truth.

        The engine's own last word is lost after about a minute in which the server is away.
        """
        run: FlowRun | None = self.run
        while run is not None:
            attempt.look()
            try:
                form = {"form": self.form}
                run_flow(self.flow, flow_run=run, parameters=form, return_type="state")
            except Stop:
                raise
            except Exception as error:
                log.warning("%s: %s: %s", self.name, type(error).__name__, error)
            run = read(self.client, attempt.run)
            if run is None or run.state is None or run.state.is_final():
                return None
            said = people_say({run.id: run}, run.id)
            if said is not None or not self._has_verdict(run):
                return said
            time.sleep(AGAIN)
        return None

    def _has_verdict(self, run: FlowRun) -> bool:
        if self.flow.name == MAKE_CHUNK:
            order = int(run.parameters.get("order") or 0)
        else:
            order = round_of(history(self.client, run.id))
        return verdict(self.site.store(self.store).objects, self.name, order) is not None

    def _tell(self, why: Why) -> None:
        """Say how it ended, if that was not its own end."""
        worker, back_off = self.site.worker, self.site.tempo.back_off
        log.info("%s: stopped: %s", self.name, why.value)
        if self.flow.name == MAKE_CHUNK:
            self.site.counts.ended("cancelled" if why is Why.CANCEL else "handed_back")
        given_back = {
            Why.DRAIN: (f"worker '{worker}' stops", 0.0),
            Why.WAIT: ("what it works for is suspended", YEAR),
            Why.LACKING: (f"worker '{worker}' has not its model", back_off),
            Why.AWAY: ("the store is away", back_off),
        }
        if why in given_back:
            self._give_back(*given_back[why])
        elif why is Why.CANCEL:
            with self._last_words(FAREWELL) as client:
                run = read(client, self.run.id)
                if run is not None and run.state is not None and not run.state.is_final():
                    cancelled(client, run.id, "stopped")

    def _give_back(self, why: str, after: float = 0.0) -> None:
        with self._last_words(FAREWELL if self.site.draining.is_set() else None) as client:
            set_back(client, self.run.id, why, after=after)

    @contextlib.contextmanager
    def _last_words(self, within: float | None) -> Iterator[SyncPrefectClient]:
        """A client for what may be said in vain."""
        try:
            with connected() as client:
                yield insisting(client, within=within)
        except (ServerError, ObjectNotFound) as error:
            log.warning("%s: %s", self.name, error)
