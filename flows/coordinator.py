"""The coordinator: takes parent runs from Prefect, conducts what is under way in its store.

It is no Prefect worker and runs no flow of Prefect's: it polls the pool of parent runs, enters
each in the store, and reads the store again and again. So a kill -9 costs nothing but the time
until it is started again: what is under way is in the store, what was only picked up is in Prefect.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from flows.coordination.conductor import Conductor, Patience
from flows.coordination.dispatch import DispatchError
from flows.coordination.holds import Holds
from flows.coordination.intake import Intake, Intaken, RunForm
from flows.coordination.ledger import Ledger, Order
from flows.coordination.seat import LEASE, Seat
from flows.coordination.shelf import Shelf
from flows.execution.outcome import Outcome
from flows.orchestration.api import NoServerError, PrefectApi, open_api
from flows.orchestration.dispatcher import PrefectDispatcher, labels_of
from flows.orchestration.nights import Nights
from flows.orchestration.parents import Parents
from flows.pipeline import Finished, links_for, publish
from flows.recipe.step import Plan
from flows.report.links import PAGE
from flows.settings import Settings
from flows.store.address import is_s3, open_store
from flows.store.base import StoreError, StoreReadOnly
from flows.store.keyed import KeyedStore
from flows.store.runfolder import RunFolder

__all__ = ["CoordinatorOptions", "NoServerError", "coordinate"]

log = logging.getLogger(__name__)

SWEEP_EVERY = 5.0  # seconds between two looks at which claims are no longer needed


@dataclass(frozen=True, slots=True)
class CoordinatorOptions:
    """``settings`` name the store; ``recipes`` is where recipes are found by name.

    ``tick`` is how often it looks (seconds), ``lease`` how long it may be silent before another
    coordinator of the store takes over.
    """

    settings: Settings
    recipes: str
    name: str
    patience: Patience = field(default_factory=Patience)
    tick: float = 1.0
    lease: float = LEASE


def coordinate(options: CoordinatorOptions, stop: threading.Event) -> None:
    """Conduct until ``stop`` is set; stand by while another process does.

    What is under way when it stops goes on with the workers; its claims stay.

    Raises:
        NoServerError: no Prefect server is named.
        StoreError: the store cannot be written at all; of this kind is ``StoreReadOnly``, when
            there is no right to write the seat.
    """
    store = open_store(options.settings.store, options.settings)
    store.prepare()
    with open_api() as api, Seat(store.objects, options.name, lease=options.lease) as seat:
        while not stop.is_set():
            try:
                if not seat.take(stop.wait):
                    return
            except StoreReadOnly:
                raise  # no waiting gives a right; whoever reads the end of this process can
            except StoreError as error:
                log.warning("%s", error)
                stop.wait(1.0)
                continue
            log.info("%s conducts %s", options.name, store.objects.where)
            desk = _Desk(api, store, options)
            desk.work(lambda: stop.is_set() or not seat.held, stop)
            if not stop.is_set():
                log.warning("%s lost its seat, and stands by", options.name)
                desk.leave()


class _Desk:
    """What the one active coordinator works with; made anew whenever it takes the seat."""

    def __init__(self, api: PrefectApi, store: KeyedStore, options: CoordinatorOptions) -> None:
        self._settings = options.settings
        self._options = options
        self._store = store
        self._ledger = Ledger(store.objects)
        self._holds = Holds(store.objects)
        self._labels: dict[str, Mapping[str, str]] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="intake")
        self._press = ThreadPoolExecutor(1, thread_name_prefix="publishing")
        self._swept = float("-inf")
        self._adopted = False
        self._complaints: dict[str, str] = {}
        self._shelf = Shelf(options.recipes, options.settings)
        self._intake = Intake(store, self._shelf, self._holds, options.settings)
        self._dispatcher = PrefectDispatcher(
            api, store.objects.where, self._labels_of, self._report_link
        )
        self._conductor = Conductor(
            store, self._dispatcher, self._publish, options.patience, submit=self._press.submit
        )
        where = store.objects.where
        nights = Nights(api, self._list_recipes, where)
        self._parents = Parents(api, self._take, nights, self._ledger, where, options.name)

    def work(self, ended: Callable[[], bool], stop: threading.Event) -> None:
        """Look, again and again; whatever is away now is asked again the next time."""
        while not ended():
            if not self._adopted:
                self._try("claims", self._adopt)
            else:
                self._try("Prefect", self._parents.look)
                if not ended():
                    self._try("runs", self._conductor.tick)
                self._try("progress", self._dispatcher.show)
                self._try("claims", self._sweep)
            stop.wait(self._options.tick)
        # What is cut short is done again: by the next one, or by who has taken over already.
        for pool in (self._pool, self._press):
            pool.shutdown(wait=False, cancel_futures=True)

    def leave(self) -> None:
        """Somebody else has taken over, with claims of their own."""
        self._holds.release_all()

    def _try(self, what: str, act: Callable[[], object]) -> None:
        try:
            act()
        except (StoreError, DispatchError) as error:
            # Said once: an outage lasts for many looks.
            if self._complaints.get(what) != str(error):
                self._complaints[what] = str(error)
                log.warning("%s", error)
        except Exception:
            # Not to be expected; but to die of it would stop everything else, too.
            log.exception("%s", what)
        else:
            if self._complaints.pop(what, None):
                log.info("%s: well again", what)

    def _adopt(self) -> None:
        self._holds.adopt(self._ledger)
        self._adopted = True

    def _sweep(self) -> None:
        now = time.monotonic()
        if now - self._swept < SWEEP_EVERY:
            return
        under_way = self._holds.release_ended()
        self._labels = {run: found for run, found in self._labels.items() if run in under_way}
        self._swept = now

    def _take(self, form: RunForm, flow_run: str) -> Future[Intaken]:
        return self._pool.submit(self._intake.take, form, flow_run)

    def _list_recipes(self, where: str) -> Future[list[str]]:
        if is_s3(where):
            return self._pool.submit(Shelf(where, self._settings).addresses)
        return self._pool.submit(self._shelf.names, where)

    def _run(self, order: Order) -> RunFolder:
        return RunFolder(self._store.objects, order.run)

    def _publish(self, order: Order, plan: Plan, outcome: Outcome) -> Finished:
        run = self._run(order)
        return publish(plan, outcome, self._store, run, links_for(run, self._settings))

    def _labels_of(self, run: str) -> Mapping[str, str]:
        if run not in self._labels:
            plan = self._ledger.plan(run)
            self._labels[run] = labels_of(plan.labels.items()) if plan is not None else {}
        return self._labels[run]

    def _report_link(self, order: Order, report: str) -> str:
        """The report in Markdown: a link where the settings give one to whoever has the page."""
        run = self._run(order)
        if is_s3(run.where) and self._settings.links == "presigned":
            seconds = self._settings.presign_seconds
            hours = seconds / 3600
            return f"[Report]({run.link(PAGE, seconds)}), good for {hours:.0f} h\n\n`{report}`"
        return f"Report: `{report}`\n\nTo have it: `kontext pull {run.where} DIR`"
