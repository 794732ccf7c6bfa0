"""A small town: a store, a conductor, and workers that are threads which may be struck dead."""

from __future__ import annotations

import queue
import random
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import date

from flows.coordination.conductor import Conductor, Patience
from flows.coordination.dispatch import Delivery, DispatchError
from flows.coordination.duty import Station, do_chunk
from flows.coordination.ledger import AttemptName, Ledger, Order
from flows.coordination.publishing import at_once
from flows.pipeline import publish, run_folder
from flows.recipe.keys import plan_digest
from flows.recipe.step import SourceImage
from flows.store.local import LocalStore
from kontext_engine.fake import FakeEngine

QUICK = Patience(lease=0.8, pickup=0.8, strikes=5, window=64)


class Clock:
    """Stands still until told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Struck(BaseException):
    """A worker died in the middle of a step; nothing of it runs on."""


class Scheduler:
    """Stands for Prefect: a queue that workers take from, forgetful when told to be."""

    def __init__(self) -> None:
        self.queue: queue.Queue[AttemptName] = queue.Queue()
        self.places: dict[AttemptName, Delivery] = {}
        self.cancelled: set[str] = set()
        self.recalled: set[AttemptName] = set()
        self.ended: dict[str, tuple] = {}
        self.refused: list[tuple] = []
        self.told: list[dict] = []
        self.away = False

    def send(self, order, attempts):
        self._answer()
        for attempt in attempts:
            if attempt not in self.places:
                self.places[attempt] = Delivery.WAITING
                self.queue.put(attempt)

    def where(self, order, attempts):
        self._answer()
        return {attempt: self.places.get(attempt, Delivery.GONE) for attempt in attempts}

    def recall(self, order, attempts):
        self._answer()
        self.recalled.update(attempts)

    def wants_to_stop(self, order):
        self._answer()
        return order.run in self.cancelled

    def tell(self, order, standing):
        self.told.append({state.value: n for state, n in standing.counts.items() if n})

    def refuse(self, order, why):
        self._answer()
        self.refused.append((order.run, order.flow_run, why))

    def finished(self, order, standing, report):
        self._answer()
        self.ended[order.run] = (standing.ending, report)

    def _answer(self):
        if self.away:
            raise DispatchError("the scheduler is away")


@dataclass
class Worker:
    """Takes attempts until stopped. ``doom`` says whether to die at an engine call."""

    store: LocalStore
    scheduler: Scheduler
    name: str
    doom: object = None
    seconds: float = 0.004
    calls: list = field(default_factory=list)
    stopping: bool = False
    draining: bool = False
    deaths: int = 0

    def __post_init__(self):
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self):
        while not self.stopping:
            try:
                attempt = self.scheduler.queue.get(timeout=0.02)
            except queue.Empty:
                continue
            if attempt in self.scheduler.recalled:
                self.scheduler.places[attempt] = Delivery.GONE
                continue
            self.scheduler.places[attempt] = Delivery.RUNNING
            station = Station(
                self.name, self._engine, lambda: self.draining,
                lambda attempt=attempt: attempt in self.scheduler.recalled, renew_every=0.1,
            )  # fmt: skip
            try:
                do_chunk(self.store, attempt, station)
                self.scheduler.places[attempt] = Delivery.GONE
            except Struck:
                self.deaths += 1  # and Prefect goes on thinking that it runs

    def _engine(self, plan, batch):
        worker = self

        class Engine:
            inner = FakeEngine(seconds_per_edit=worker.seconds)
            spec, numerics = inner.spec, inner.numerics

            def run(self, requests, on_step=None):
                if worker.doom is not None and worker.doom():
                    raise Struck
                for answer in self.inner.run(requests, on_step):
                    worker.calls.append(answer.id)
                    yield answer

        return Engine

    def stop(self):
        self.stopping = True
        self.thread.join(10)


@dataclass
class Town:
    """Conductor, scheduler and store together."""

    store: LocalStore
    scheduler: Scheduler = field(default_factory=Scheduler)
    patience: Patience = QUICK
    clock: object = time.monotonic
    submit: object = at_once
    published: list = field(default_factory=list)

    def __post_init__(self):
        self.conductor = self.hire()

    def hire(self) -> Conductor:
        """A new conductor, as after a kill -9 of the old one."""

        def put_out(order, plan, outcome):
            run = run_folder(plan, self.store.objects, date(2026, 1, 2))
            finished = publish(plan, outcome, self.store, run)
            self.published.append(finished)
            return finished

        return Conductor(
            self.store, self.scheduler, put_out, self.patience, self.clock, self.submit
        )

    def order(self, plan, **changes):
        plan = replace(plan, digest=plan_digest(plan.steps, plan.outputs))
        run = run_folder(plan, self.store.objects, date(2026, 1, 2)).name
        values = {"run": run, "recipe": plan.recipe, "plan": plan.digest, "created": "now"}
        self.store.prepare()
        for step in plan.steps.values():
            for ref in step.contexts:
                if isinstance(ref, SourceImage):
                    self.store.objects.create(f"blobs/{ref.digest}", ref.path.read_bytes())
        order = Order(**(values | changes))
        assert Ledger(self.store.objects).open(order, plan)
        return order, plan

    def until_done(self, seconds=30.0, between=None):
        end = time.monotonic() + seconds
        while self.conductor.tick():
            assert time.monotonic() < end, "the run does not end"
            if between is not None:
                between()
            time.sleep(0.02)


def dice(seed: int, chance: float, limit: int):
    """True now and then, at most ``limit`` times."""
    rng, left, lock = random.Random(seed), [limit], threading.Lock()

    def roll() -> bool:
        with lock:
            hit = left[0] > 0 and rng.random() < chance
            left[0] -= hit
            return hit

    return roll
