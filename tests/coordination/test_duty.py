"""A lease is renewed by work alone: the run's own, its model's loading, and what it waits for."""

from __future__ import annotations

import threading
import time

import pytest

from flows.coordination.duty import Station, do_chunk
from flows.coordination.ledger import Lease
from kontext_engine.fake import FakeEngine

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
