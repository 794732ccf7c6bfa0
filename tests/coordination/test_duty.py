"""A lease is renewed by work alone: the run's own, its model's loading, and what it waits for."""

from __future__ import annotations

import threading
import time

import pytest

from flows.coordination.duty import Station, do_chunk
from flows.coordination.ledger import Lease
from flows.resident.options import ProcessOptions
from flows.resident.pool import EnginePool
from flows.resident.pooled import PooledEngine
from kontext_engine.fake import FakeEngine

from ..worker.engines import SECONDS
from ..worker.yard import Bench, until

MANY = 4


@pytest.mark.parametrize("moving", [True, False], ids=["loading", "standing still"])
def test_a_lease_outlives_a_long_load_but_no_standstill(tmp_path, moving):
    bench = Bench(tmp_path, 2, 2)
    attempt = bench.issue()
    arrived, go_on = threading.Event(), threading.Event()

    def load():
        arrived.set()
        assert go_on.wait(60)
        return FakeEngine(bench.plan.model)

    began = time.monotonic()
    station = Station(
        "tester",
        lambda plan, batch: load,
        draining=lambda: False,
        cancelled=lambda: False,
        renew_every=0.02,
        moved=lambda: time.monotonic() if moving else began,
    )
    worker = threading.Thread(target=do_chunk, args=(bench.store, attempt, station))
    worker.start()
    assert arrived.wait(60)

    def progress() -> int:
        return Lease.parse("lease", bench.store.objects.get(attempt.at("lease")).data).progress

    if moving:
        until(lambda: progress() >= MANY)
    else:
        time.sleep(0.02 * MANY * 4)
        assert progress() == 0
    go_on.set()
    worker.join()
    assert bench.result(attempt).steps.keys() == bench.plan.steps.keys()


@pytest.mark.timeout(600)
def test_a_lease_outlives_a_step_that_is_longer_than_leases_are(tmp_path, monkeypatch):
    monkeypatch.setenv(SECONDS, "4000")  # a picture: nothing is heard for minutes
    bench = Bench(tmp_path, 1, 1)
    attempt = bench.issue()

    def progress() -> int:
        return Lease.parse("lease", bench.store.objects.get(attempt.at("lease")).data).progress

    with EnginePool(1, ProcessOptions(engine="tests.worker.engines:slow")) as pool:
        engine = PooledEngine(pool, bench.plan.model, bench.plan.numerics)
        station = Station(
            "tester",
            lambda plan, batch: engine.load,
            draining=lambda: False,
            cancelled=lambda: False,
            renew_every=0.02,
            moved=engine.progressed,
        )
        worker = threading.Thread(target=do_chunk, args=(bench.store, attempt, station))
        worker.start()
        until(lambda: pool.stats()[0].batches)
        before = progress()
        until(lambda: progress() >= before + 2 * MANY, 60)
        pool.close(0.2)
        worker.join()
    assert bench.made() == 0
