"""Parent runs: taken from their pool, planned, entered in the store; from there they are conducted.

Picking one up is all that Prefect is needed for. What was picked up and is not in the store, since
the coordinator died in between, is found by ``_scan`` and taken in again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Failed, Pending, Running
from pydantic import ValidationError

from flows.coordination.dispatch import DispatchError
from flows.coordination.holds import runs_under_way
from flows.coordination.intake import Entered, Intaken, Refused, RunForm, Wait
from flows.coordination.ledger import Ledger
from flows.coordination.shelf import same_place
from flows.orchestration.api import PrefectApi
from flows.orchestration.names import NIGHTLY, RUN_RECIPE, RUNS_POOL, run_tag
from flows.orchestration.nights import Nights
from flows.store.base import StoreError

log = logging.getLogger(__name__)

SCAN_EVERY = 30.0  # seconds between two looks for parents that got lost on the way
AGAIN_AFTER = 3.0  # seconds until what had to wait is taken in again
BEAT_EVERY = 10.0  # seconds between two signs of life for the pool
TAKEN = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED)

Take = Callable[[RunForm, str], "Future[Intaken]"]  # in another thread


@dataclass
class _Taken:
    """A parent on its way in."""

    form: RunForm
    future: Future[Intaken] | None
    again_at: float = 0.0
    told: str = ""


class Parents:
    """All parents of one coordinator; ``look`` is called again and again."""

    def __init__(
        self,
        api: PrefectApi,
        take: Take,
        nights: Nights,
        ledger: Ledger,
        store: str,
        worker: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._take = take
        self._nights = nights
        self._ledger = ledger
        self._store = store
        self._worker = worker
        self._clock = clock
        self._taken: dict[UUID, _Taken] = {}
        self._orders: dict[str, str | None] = {}  # runs under way and their parents
        self._flows: dict[UUID, str] = {}
        self._scanned = float("-inf")
        self._beat = float("-inf")

    def look(self) -> None:
        """Take in what is new, and go on with what is on its way.

        Raises:
            DispatchError: Prefect is away.
            StoreError: the store is.
        """
        now = self._clock()
        self._collect(now)
        if now - self._beat >= BEAT_EVERY:
            with self._api.asked() as client:
                client.send_worker_heartbeat(RUNS_POOL, self._worker, BEAT_EVERY)
            self._beat = now
        if now - self._scanned >= SCAN_EVERY:
            self._scan()
            self._scanned = now
        for flow_run in self._scheduled():
            self._pick(flow_run)
        self._nights.advance()

    def _scheduled(self) -> list[FlowRun]:
        try:
            with self._api.asked() as client:
                found = client.get_scheduled_flow_runs_for_work_pool(
                    RUNS_POOL, scheduled_before=datetime.now(UTC)
                )
        except ObjectNotFound as error:
            text = f"Prefect has no work pool '{RUNS_POOL}'; run 'kontext deploy'"
            raise DispatchError(text) from error
        return [item.flow_run for item in found]

    def _pick(self, flow_run: FlowRun) -> None:
        if flow_run.id in self._taken or not self._is_ours(flow_run.parameters):
            return
        if self._api.set_state(flow_run.id, Pending(message=f"taken by {self._worker}")):
            self._begin(flow_run)

    def _begin(self, flow_run: FlowRun) -> None:
        """Take in a parent that is ours by now."""
        flow = self._flow(flow_run.flow_id)
        try:
            if flow == NIGHTLY:
                self._nights.begin(flow_run)
            elif flow == RUN_RECIPE:
                form = RunForm.model_validate(flow_run.parameters)
                self._settle_store(flow_run)
                future = self._take(form, str(flow_run.id))
                self._taken[flow_run.id] = _Taken(form, future)
            else:
                text = f"'{flow}' is no flow that the coordinator runs; expected {RUN_RECIPE}"
                self._api.set_state(flow_run.id, Failed(message=text), force=True)
        except ValidationError as error:
            self._api.set_state(flow_run.id, Failed(message=told(error)), force=True)

    def _settle_store(self, flow_run: FlowRun) -> None:
        """Whose it is, for good: without it another store's coordinator could take it, too."""
        if not flow_run.parameters.get("store"):
            parameters = {**flow_run.parameters, "store": self._store}
            with self._api.asked() as client:
                client.update_flow_run(flow_run.id, parameters=parameters)

    def _is_ours(self, parameters: Mapping[str, Any]) -> bool:
        asked = parameters.get("store")
        return not asked or same_place(str(asked), self._store)

    def _flow(self, flow: UUID) -> str:
        if flow not in self._flows:
            with self._api.asked() as client:
                self._flows[flow] = client.read_flow(flow).name
        return self._flows[flow]

    def _collect(self, now: float) -> None:
        for flow_run, taken in list(self._taken.items()):
            if taken.future is None:
                if now >= taken.again_at:
                    self._again(flow_run, taken)
            elif taken.future.done():
                self._settle(flow_run, taken, taken.future.result(), now)

    def _settle(self, flow_run: UUID, taken: _Taken, result: Intaken, now: float) -> None:
        match result:
            case Entered():
                self._orders[result.run] = str(flow_run)
                self._show_entered(flow_run, result)
            case Refused(message=message):
                log.info("%s is refused: %s", taken.form.recipe, message)
                self._api.set_state(flow_run, Failed(message=message), force=True)
            case Wait(message=message):
                if message != taken.told:
                    if self._is_over(flow_run):  # what people said meanwhile stands
                        del self._taken[flow_run]
                        return
                    log.info("%s waits: %s", taken.form.recipe, message)
                    self._api.set_state(flow_run, Pending(message=message), force=True)
                    taken.told = message
                taken.future, taken.again_at = None, now + AGAIN_AFTER
                return
        del self._taken[flow_run]

    def _show_entered(self, flow_run: UUID, entered: Entered) -> None:
        known = self._api.flow_run(flow_run)
        if known is None:
            return
        with self._api.asked() as client:
            tags = sorted({*known.tags, run_tag(entered.run)})
            client.update_flow_run(flow_run, name=entered.run, tags=tags)
        # Not by force: one that was cancelled meanwhile stays so, and is stopped as any other.
        self._api.set_state(flow_run, Running(message=f"{entered.steps} steps"))
        self._api.log(flow_run, [f"{entered.run}: {entered.steps} steps"])
        self._api.log(flow_run, entered.warnings, logging.WARNING)

    def _again(self, flow_run: UUID, taken: _Taken) -> None:
        if self._is_over(flow_run):
            del self._taken[flow_run]
        else:
            taken.future = self._take(taken.form, str(flow_run))

    def _is_over(self, flow_run: UUID) -> bool:
        """Whether one that has not begun never will; one that is being cancelled is ended."""
        known = self._api.flow_run(flow_run)
        if known is None or known.state is None or known.state.is_final():
            return True
        if known.state_type is StateType.CANCELLING:
            self._end_before_it_began(flow_run)
            return True
        return False

    def _end_before_it_began(self, flow_run: UUID) -> None:
        self._api.set_state(flow_run, Cancelled(message="interrupted before it began"), force=True)

    def _scan(self) -> None:
        """Parents that were taken and are in no book: their coordinator died, or Prefect did."""
        found = self._api.flow_runs_of(pool=RUNS_POOL, types=TAKEN)
        strays = [
            run
            for run in found
            if run.id not in self._taken
            and not self._nights.has(run.id)
            and self._is_ours(run.parameters)
        ]
        entered = self._entered() if strays else {}
        for run in strays:
            name = entered.get(str(run.id))
            if name is not None:
                if run.state_type is StateType.PENDING:
                    plan = self._ledger.plan(name)
                    steps = len(plan.steps) if plan is not None else 0
                    self._show_entered(run.id, Entered(run=name, steps=steps))
            elif run.state_type is StateType.CANCELLING and self._flow(run.flow_id) != NIGHTLY:
                self._end_before_it_began(run.id)
            else:
                self._begin(run)

    def _entered(self) -> dict[str, str]:
        """The runs in the store by their parents."""
        names = set(runs_under_way(self._ledger.objects))
        self._orders = {run: parent for run, parent in self._orders.items() if run in names}
        for run in names - set(self._orders):
            try:
                order = self._ledger.order(run)
            except StoreError as error:
                log.warning("%s: %s", run, error)
                continue
            if order is not None:
                self._orders[run] = order.flow_run
        return {parent: run for run, parent in self._orders.items() if parent}


def told(error: ValidationError) -> str:
    """What is wrong with a form, in lines for people."""
    lines = []
    for item in error.errors(include_url=False):
        where = ".".join(map(str, item["loc"])) or "parameters"
        lines.append(f"{where}: {item['msg'][:1].lower()}{item['msg'][1:]}; mend it and run again")
    return "\n".join(lines)
