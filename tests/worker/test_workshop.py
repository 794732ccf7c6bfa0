"""Attempts carried out side by side on one pool of real engine processes; no Prefect."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from flows.workers.attempt import Attempt, End, Ticket
from flows.workers.workshop import Workshop

from flows.execution.outcome import State
from flows.resident.options import EngineLimits, ProcessOptions
from flows.resident.pool import EnginePool

from .engines import SECONDS
from .yard import Bench, until

pytestmark = pytest.mark.timeout(600)
LIMITS = EngineLimits(start=300.0)  # a process may take minutes to come up where all is busy


@pytest.fixture(scope="module")
def pool():
    before = os.environ.get(SECONDS)
    os.environ[SECONDS] = "0.1"
    try:
        options = ProcessOptions(engine="tests.worker.engines:slow", batch=2, limits=LIMITS)
        with EnginePool(1, options) as pool:
            yield pool
    finally:
        os.environ.pop(SECONDS)
        if before is not None:
            os.environ[SECONDS] = before


@pytest.fixture
def shop(pool):
    return Workshop("tester", pool)


@pytest.fixture
def hands():
    with ThreadPoolExecutor(4) as hands:
        yield hands


def attempt_at(bench, chunk=1, priority=10, number=1):
    name = bench.issue(chunk, number)
    return Attempt(Ticket(**bench.parameters(name)), priority, lambda level, text: None)


def test_urgent_work_goes_before_nightly_that_has_waited_longer(shop, hands, tmp_path):
    long, bench = Bench(tmp_path / "long", 400, 400), Bench(tmp_path / "short", 8, 4)
    ended, lock = [], threading.Lock()

    def carry(chunk, priority):
        verdict = shop.carry_out(attempt_at(bench, chunk, priority))
        with lock:
            ended.append(chunk)
        return verdict.end

    first = attempt_at(long)
    working = hands.submit(shop.carry_out, first)
    until(long.made)
    nightly = hands.submit(carry, 1, 10)
    until(lambda: shop.pool.waiting == 1)
    urgent = hands.submit(carry, 2, 1)
    until(lambda: shop.pool.waiting == 2)
    first.cancel()
    assert working.result().end is End.CANCELLED
    assert [nightly.result(), urgent.result()] == [End.COMPLETED] * 2
    assert ended == [2, 1]
    assert bench.made() == 8
    assert shop.leases == 0


def test_one_that_waits_for_an_engine_can_be_stopped(shop, hands, tmp_path):
    long, short = Bench(tmp_path / "long", 400, 400), Bench(tmp_path / "short", 4, 4)
    first, second = attempt_at(long), attempt_at(short)
    working = hands.submit(shop.carry_out, first)
    until(long.made)
    waiting = hands.submit(shop.carry_out, second)
    until(lambda: shop.pool.waiting == 1)
    second.cancel()
    assert waiting.result().end is End.CANCELLED
    assert short.made() == 0
    assert not working.done()
    first.cancel()
    verdict = working.result()
    assert verdict.end is End.CANCELLED
    assert verdict.why == f"{long.made()} of 400 steps are made; stopped"


def test_a_run_that_was_cancelled_in_the_store_is_no_failure(shop, hands, tmp_path):
    bench = Bench(tmp_path, steps=400, size=400)
    working = hands.submit(shop.carry_out, attempt_at(bench))
    until(bench.made)
    bench.ledger.cancel(bench.run)
    assert working.result().end is End.CANCELLED


def test_draining_hands_back_all_that_is_in_hand_and_keeps_what_is_made(shop, hands, tmp_path):
    bench = Bench(tmp_path, steps=800, size=400)
    attempts = [attempt_at(bench, 1), attempt_at(bench, 2)]
    working = [hands.submit(shop.carry_out, attempts[0])]
    until(bench.made)
    working.append(hands.submit(shop.carry_out, attempts[1]))
    until(lambda: shop.pool.waiting == 1)
    shop.drain()
    assert [one.result().end for one in working] == [End.HANDED_BACK] * 2
    late = shop.carry_out(attempt_at(bench, 1, number=2))  # picked up a moment too late
    assert late.end is End.HANDED_BACK
    fresh = Workshop("another", shop.pool)
    made = bench.made()
    assert 0 < made < 800
    # Another worker's attempt finds what was made, and makes none of it again.
    small = hands.submit(fresh.carry_out, attempt := attempt_at(bench, 1, number=3))
    until(lambda: bench.made() > made)
    attempt.cancel()
    assert small.result().end is End.CANCELLED
    assert fresh.counts.steps[State.CACHED] == made


def test_the_engine_may_die_under_it(shop, hands, tmp_path):
    bench = Bench(tmp_path, steps=12, size=12)
    working = hands.submit(shop.carry_out, attempt_at(bench))
    until(bench.made)
    os.kill(shop.pool.stats()[0].pid, signal.SIGKILL)
    assert working.result().end is End.COMPLETED
    assert bench.made() == 12


def test_a_store_that_cannot_be_used_is_told(shop, tmp_path):
    bench = Bench(tmp_path, steps=1, size=1)
    parameters = {**bench.parameters(bench.issue()), "store": "s3://NOT A BUCKET/x"}
    verdict = shop.carry_out(Attempt(Ticket(**parameters), 1, lambda level, text: None))
    assert verdict.end is End.FAILED
    assert "cannot be a bucket" in verdict.why


def test_a_model_that_cannot_be_loaded_fails_the_attempt_and_parks_nothing(tmp_path):
    bench = Bench(tmp_path, steps=2, size=2)
    options = ProcessOptions(engine="tests.worker.engines:absent", limits=LIMITS)
    attempt = attempt_at(bench)
    with EnginePool(1, options) as pool:
        verdict = Workshop("tester", pool).carry_out(attempt)
    assert verdict.end is End.FAILED
    assert verdict.why == "0 of 2 steps are made: model 'fake' could not be loaded: not here"
    result = bench.ledger.result(attempt.ticket.name)
    assert {step.state for step in result.steps.values()} == {State.PENDING}
