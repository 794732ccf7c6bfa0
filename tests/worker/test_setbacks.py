"""A worker where nothing succeeds takes ever less; one that is not well takes nothing."""

from __future__ import annotations

import time
import uuid
from types import SimpleNamespace

import anyio
import pytest
from flows.coordination.ledger import Result, StepSheet
from flows.worker import KontextWorker
from flows.workers.attempt import Attempt, End, Ticket, Verdict, judge
from flows.workers.setbacks import Setbacks
from flows.workers.workshop import Workshop

from flows.execution.outcome import State
from flows.metrics import Counts
from flows.resident.options import EngineState, ProcessOptions
from flows.resident.pool import EnginePool
from flows.workers.options import WorkerOptions

from .yard import Bench

BARREN = Verdict(End.FAILED, "no model", fruitless=True)


@pytest.mark.parametrize(
    ("states", "given", "fruitless"),
    [
        ("pp", {"why": "no model"}, True),
        ("fp", {"why": "no model"}, True),
        ("cp", {"why": "no model"}, False),
        ("dp", {"why": "no model"}, False),
        ("ff", {}, False),  # each by itself: the steps are to blame
        ("pp", {"why": "the worker stops", "handed_back": True}, False),
        ("pp", {"why": "asked to stop", "cancelled": True}, False),
    ],
)
def test_what_comes_to_nothing_for_no_fault_of_its_steps_is_a_setback(states, given, fruitless):
    kinds = {"d": State.DONE, "c": State.CACHED, "f": State.FAILED, "p": State.PENDING}
    steps = {f"k{n}": StepSheet(state=kinds[one]) for n, one in enumerate(states)}
    cancelled = given.get("cancelled", False)
    told = {name: value for name, value in given.items() if name != "cancelled"}
    verdict = judge(Result(holder="w", steps=steps, seconds=1.0, **told), cancelled=cancelled)
    assert verdict.fruitless is fruitless


@pytest.mark.parametrize("store", ["s3://NOT A BUCKET/x", "not\0mounted"])
def test_a_store_that_cannot_be_read_is_a_setback(tmp_path, store):
    bench = Bench(tmp_path, steps=1, size=1)
    parameters = {**bench.parameters(bench.issue()), "store": store}
    shop = Workshop("tester", EnginePool(1, ProcessOptions()))
    verdict = shop.carry_out(Attempt(Ticket(**parameters), 1, lambda level, text: None))
    assert verdict.end is End.FAILED
    assert verdict.fruitless


def test_the_rest_doubles_with_each_and_ends_with_what_is_made():
    setbacks = Setbacks()
    rests = [setbacks.rest_after(BARREN) for _ in range(8)]
    assert rests == [2, 4, 8, 16, 32, 60, 60, 60]
    # Handed back or not wanted says nothing about this host.
    assert setbacks.rest_after(Verdict(End.NOT_WANTED, "fenced")) == 0
    assert setbacks.rest_after(BARREN) == 60
    assert setbacks.rest_after(Verdict(End.COMPLETED, "made", made=1)) == 0
    assert setbacks.rest_after(BARREN) == 2


class Shop:
    """Every attempt ends as ``verdict`` says."""

    leases, draining = 0, False

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.counts = Counts()
        self.engine = SimpleNamespace(state=EngineState.IDLE, last_death="")
        self.pool = SimpleNamespace(stats=lambda: (self.engine,), waiting=0)

    def carry_out(self, attempt):
        return self.verdict


def lonely(shop: Shop) -> KontextWorker:
    """A worker without a server, which has synced all the same."""

    async def claim(flow_run):
        return True

    worker = KontextWorker(SimpleNamespace(text="w"), shop, WorkerOptions(engines=1, prefetch=0))
    worker._limiter = anyio.CapacityLimiter(1)
    worker._has_successfully_synced = True
    worker._claim = claim
    worker._say = lambda flow_run: lambda level, text: None
    return worker


def chunk():
    parameters = {"store": "out", "run": "r", "chunk": "c1", "attempt": 1}
    return SimpleNamespace(
        id=uuid.uuid4(), name="r c1 #1", parameters=parameters, work_queue_name="nightly"
    )


@pytest.mark.parametrize("verdict", [BARREN, Verdict(End.COMPLETED, "made", made=1)])
def test_a_place_rests_after_a_setback_until_the_worker_stops(verdict):
    async def work():
        worker = lonely(Shop(verdict))
        one = chunk()
        worker._setbacks.row = 5  # so that it would rest for a minute
        worker.limiter.acquire_on_behalf_of_nowait(one.id)
        began = time.monotonic()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker._submit_run, one)
            while not (worker._teller._open and not worker._hands):
                await anyio.sleep(0.01)
            await anyio.sleep(0.1)
            assert worker._can_take() is not verdict.fruitless
            worker._stopping.set()
        assert worker._can_take()
        assert time.monotonic() - began < 30

    anyio.run(work)


def test_a_worker_that_is_not_well_takes_nothing():
    async def work():
        shop = Shop(BARREN)
        worker = lonely(shop)
        assert worker._can_take()
        shop.engine.state, shop.engine.last_death = EngineState.DEAD, "killed"
        assert worker.health().ailment
        assert not worker._can_take()
        shop.engine.state = EngineState.IDLE
        assert worker._can_take()

    anyio.run(work)
