"""One execution of one flow run: its lease first, then people's words, then ``run_flow``.

At the end the lease is freed, and then the run's state tells the truth: who is told of the run
finds the lease free.
"""

from __future__ import annotations

import logging
import time
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.flow_engine import run_flow
from prefect.states import Failed
from pydantic import BaseModel, ValidationError

from flows.execution.verdicts import verdict
from flows.scheduling.hand import Hand, Stop, Why, become
from flows.scheduling.names import MAKE_CHUNK, chunks_of, parent_name
from flows.scheduling.server import ServerError, connected, history, insist, read, read_many
from flows.scheduling.site import Site
from flows.scheduling.states import cancelled, round_of, set_back
from flows.store.base import StoreAway, StoreError
from flows.store.leases import Lease

log = logging.getLogger(__name__)

FAREWELL = 8.0  # seconds for telling the server how a drained body ended
YEAR = 365 * 86400.0  # a chunk whose parent is suspended is put off for so long
ABOVE = "above:"  # the tag that names a run above
AGAIN = 1.0  # seconds until run_flow is tried again when its last word was not heard


def above(flow_run: FlowRun) -> tuple[UUID, ...]:
    """The runs that a run works for, by its tags."""
    found = (tag.removeprefix(ABOVE) for tag in flow_run.tags if tag.startswith(ABOVE))
    return tuple(UUID(one) for one in found)


def below(hand: Hand) -> list[str]:
    """The tags of a run that works for what is in hand, and for all above that."""
    return [f"{ABOVE}{one}" for one in (*hand.above, hand.run)]


def lease_name(flow: str, flow_run: FlowRun) -> str:
    """What the lease of a run is called: a chunk's by what it makes, a parent's by its run."""
    if flow == MAKE_CHUNK:
        return f"{chunks_of(flow_run.parameters['run'])}{flow_run.parameters['chunk']}"
    return parent_name(flow_run.id)


def people_say(state: State[Any] | None, *, of_above: bool) -> Why | None:
    """What somebody has made of a run by its state."""
    if state is None:
        return None
    if state.type in {StateType.CANCELLED, StateType.CANCELLING}:
        return Why.CANCEL
    if state.type is StateType.PAUSED:
        return Why.WAIT if of_above else Why.SUSPEND
    return None


def execute(site: Site, flow: Flow[Any, Any], form: type[BaseModel], flow_run: FlowRun) -> None:
    """Carry out a flow run that was taken from a pool; returns when nothing is left to be done."""
    become(None)
    with connected() as client:
        problem = _problem(form, flow_run)
        if problem:
            state: State[Any] = Failed(message=problem)
            insist(lambda: client.set_flow_run_state(flow_run.id, state, force=True), "a refusal")
            return
        _Execution(site, flow, flow_run, client).carry_out()


def _problem(form: type[BaseModel], flow_run: FlowRun) -> str:
    """What is wrong with a run's parameters, in lines for people."""
    try:
        form.model_validate(flow_run.parameters)
    except ValidationError as error:
        return "\n".join(
            f"{'.'.join(map(str, item['loc'])) or 'parameters'}: "
            f"{item['msg'][:1].lower()}{item['msg'][1:]}; mend it and run again"
            for item in error.errors(include_url=False)
        )
    return ""


class _Execution:
    def __init__(
        self, site: Site, flow: Flow[Any, Any], flow_run: FlowRun, client: SyncPrefectClient
    ) -> None:
        self._site = site
        self._flow = flow
        self._run = flow_run
        self._client = client
        self._name = lease_name(flow.name, flow_run)
        self._store = str(flow_run.parameters["store"])

    def carry_out(self) -> None:
        lease = self._lease()
        if lease is None:
            return
        hand = Hand(
            run=self._run.id,
            name=self._name,
            worker=self._site.worker,
            lease=lease,
            above=above(self._run),
            queue=self._run.work_queue_name or "",
            draining=self._site.draining,
        )
        why: Why | None = None
        try:
            why = self._word_from_above(hand)
            if why is None:
                self._site.hands[hand.run] = hand
                become(hand)
                why = self._until_final(hand)
        except Stop as stop:
            why = stop.why
        finally:
            become(None)
            lease.free()
            self._site.hands.pop(hand.run, None)
        self._tell(why)

    def _lease(self) -> Lease | None:
        """The lease, taken; ``None`` when it is somebody's who lives, or this process drains."""
        try:
            cells = self._cells()
        except StoreError as error:
            self._refuse(str(error))
            return None
        if cells is None:
            self._give_back(Why.DRAIN.value, 0.0)
            return None
        lease = Lease(cells, self._name, self._site.worker, renew=self._site.tempo.renew)
        other = lease.take(self._site.draining.is_set)
        if other is None:
            return lease
        run = read(self._client, self._run.id)
        if run is not None and run.state is not None and run.state.is_pending():
            after = self._site.tempo.back_off if other.holder else 0.0
            self._give_back(f"it is in hand of worker '{other.worker}'", after)
        return None

    def _cells(self) -> Any:
        told = False
        while not self._site.draining.is_set():
            try:
                return self._site.cells(self._store)
            except StoreAway as error:
                if not told:
                    log.warning("%s: waiting for the store: %s", self._name, error)
                told = True
                time.sleep(self._site.tempo.look)
        return None

    def _refuse(self, why: str) -> None:
        """This worker cannot use the store: another may; so it is set back, and told."""
        log.error("%s: %s", self._name, why)
        self._site.setbacks.fruitless(why)
        self._give_back(f"worker '{self._site.worker}' cannot use the store: {why}", 20.0)

    def _word_from_above(self, hand: Hand) -> Why | None:
        found = read_many(self._client, hand.above).values()
        said = [people_say(run.state, of_above=True) for run in found]
        return Why.CANCEL if Why.CANCEL in said else Why.WAIT if Why.WAIT in said else None

    def _until_final(self, hand: Hand) -> Why | None:
        """Once, normally; again, with nothing left to do, until the state tells the truth.

        The engine's own last word is lost after about a minute in which the server is away.
        """
        run: FlowRun | None = self._run
        while run is not None:
            hand.look()
            try:
                run_flow(self._flow, flow_run=run, parameters=run.parameters, return_type="state")
            except Stop:
                raise
            except Exception as error:
                log.warning("%s: %s: %s", self._name, type(error).__name__, error)
            run = read(self._client, hand.run)
            if run is None or run.state is None or run.state.is_final():
                return None
            said = people_say(run.state, of_above=False)
            if said is not None or not self._has_verdict(run):
                return said
            time.sleep(AGAIN)
        return None

    def _has_verdict(self, run: FlowRun) -> bool:
        objects = self._site.store(self._store).objects
        if self._flow.name == MAKE_CHUNK:
            order = int(run.parameters.get("order") or 0)
        else:
            order = round_of(history(self._client, run.id))
        return verdict(objects, self._name, order) is not None

    def _tell(self, why: Why | None) -> None:
        """Say how it ended, if that was not its own end."""
        site = self._site
        if why is not None:
            log.info("%s: stopped: %s", self._name, why.value)
            if self._flow.name == MAKE_CHUNK:
                site.counts.ended("cancelled" if why is Why.CANCEL else "handed_back")
        try:
            match why:
                case Why.DRAIN:
                    self._give_back(f"worker '{site.worker}' stops", 0.0)
                case Why.WAIT:
                    self._give_back("what it works for is suspended", YEAR)
                case Why.LACKING:
                    self._give_back(
                        f"worker '{site.worker}' has not its model", site.tempo.back_off
                    )
                case Why.AWAY:
                    self._give_back("the store is away", site.tempo.back_off)
                case Why.CANCEL:
                    run = read(self._client, self._run.id)
                    if run is not None and run.state is not None and not run.state.is_final():
                        cancelled(self._client, run.id, "stopped", within=FAREWELL)
                case _:
                    pass
        except (ServerError, ObjectNotFound) as error:
            log.warning("%s: %s", self._name, error)

    def _give_back(self, why: str, after: float) -> None:
        within = FAREWELL if self._site.draining.is_set() else None
        try:
            set_back(self._client, self._run.id, why, after=after, within=within)
        except (ServerError, ObjectNotFound) as error:
            log.warning("%s: %s", self._name, error)
