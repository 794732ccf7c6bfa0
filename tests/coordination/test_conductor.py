"""Runs end complete whoever dies: workers as threads, the conductor made anew, Prefect away."""

from __future__ import annotations

from collections import Counter

import pytest

from flows.coordination.ledger import Ledger
from flows.execution.outcome import Ending, State
from flows.store.local import LocalStore

from ..run.samples import draw_picture, product_plan
from .town import Town, Worker, dice


@pytest.fixture
def plan(tmp_path):
    return product_plan([draw_picture(tmp_path / "in" / f"p{n}.png", n) for n in range(12)])


@pytest.fixture
def town(tmp_path):
    return Town(LocalStore(tmp_path / "out"))


def crew(town, count, **options):
    return [
        Worker(LocalStore(town.store.objects.root), town.scheduler, f"worker {n}", **options)
        for n in range(count)
    ]


def computed(workers):
    return Counter(key for worker in workers for key in worker.calls)


def test_two_workers_make_a_run_and_nothing_of_it_stays_under_way(town, plan):
    order, plan = town.order(plan)
    workers = crew(town, 2)
    town.until_done()
    [finished] = town.published
    assert finished.manifest.ending is Ending.COMPLETE
    assert finished.manifest.counts[State.DONE] == 24
    assert set(computed(workers).values()) == {1}
    assert town.scheduler.ended[order.run][0] is Ending.COMPLETE
    assert list(town.store.objects.list("active/")) == []
    assert town.scheduler.told[-1] == {"done": 24}
    for worker in workers:
        worker.stop()


@pytest.mark.parametrize("seed", range(3))
def test_whoever_dies_everything_is_made_and_little_is_made_twice(town, plan, seed):
    _order, plan = town.order(plan)
    doom = dice(seed, 0.35, 6)
    workers = crew(town, 3, doom=doom)
    replaced = dice(seed + 100, 0.05, 5)

    def strike_the_conductor():
        if replaced():
            town.conductor = town.hire()

    town.until_done(60, strike_the_conductor)
    [finished] = town.published
    assert finished.manifest.ending is Ending.COMPLETE
    deaths = sum(worker.deaths for worker in workers)
    assert deaths > 0
    assert max(computed(workers).values()) <= 1 + deaths
    for key in plan.steps:
        assert town.store.find(key) is not None
    for worker in workers:
        worker.stop()


def test_a_hanging_worker_is_fenced_off_and_its_chunk_made_elsewhere(town, plan):
    _order, plan = town.order(plan)
    slow = Worker(LocalStore(town.store.objects.root), town.scheduler, "slow", seconds=8.0)
    while not slow.scheduler.places:
        town.conductor.tick()
    while not any(p.name for p in (town.store.objects.root / "active").rglob("*.lease")):
        pass
    quick = crew(town, 1)
    town.until_done(60)
    assert town.published[0].manifest.ending is Ending.COMPLETE
    assert len(quick[0].calls) == 24
    assert not slow.calls  # its attempt ended at its next look, without a result
    quick[0].stop()


def test_the_scheduler_may_be_away_and_may_forget(town, plan):
    _order, plan = town.order(plan)
    town.conductor.tick()
    town.scheduler.away = True
    workers = crew(town, 2)  # they go on with what they were given
    for _ in range(20):
        town.conductor.tick()
    town.scheduler.away = False
    town.until_done()
    assert town.published[0].manifest.ending is Ending.COMPLETE
    assert len(town.published) == 1
    for worker in workers:
        worker.stop()


def test_what_the_scheduler_lost_is_sent_again(town, plan, monkeypatch):
    monkeypatch.setattr("flows.coordination.conductor.GONE_AFTER", 0.1)
    _order, plan = town.order(plan)
    town.conductor.tick()
    with town.scheduler.queue.mutex:
        town.scheduler.queue.queue.clear()
    for attempt in list(town.scheduler.places):
        town.scheduler.places[attempt] = type(town.scheduler.places[attempt]).GONE
    workers = crew(town, 2)
    town.until_done()
    assert town.published[0].manifest.ending is Ending.COMPLETE
    for worker in workers:
        worker.stop()


def test_a_cancelled_run_stops_and_keeps_what_was_made(town, plan):
    order, plan = town.order(plan)
    workers = crew(town, 1, seconds=0.05)

    def stop_soon():
        if workers[0].calls:
            town.scheduler.cancelled.add(order.run)

    town.until_done(30, stop_soon)
    manifest = town.published[0].manifest
    assert manifest.ending is Ending.INTERRUPTED
    assert 0 < manifest.counts[State.DONE] < 24
    assert town.scheduler.ended[order.run][0] is Ending.INTERRUPTED
    workers[0].stop()


def test_a_drained_worker_hands_back_what_it_did_not_do(town, plan):
    _order, plan = town.order(plan)
    first = crew(town, 1, seconds=0.05)[0]
    while not first.calls:
        town.conductor.tick()
    first.draining = True
    first.stop()
    second = crew(town, 1)[0]
    town.until_done()
    assert town.published[0].manifest.ending is Ending.COMPLETE
    assert set(computed([first, second]).values()) == {1}
    assert second.calls
    second.stop()


def test_a_step_that_kills_every_worker_is_parked_and_the_rest_goes_on(tmp_path, plan):
    town = Town(LocalStore(tmp_path / "out"))
    _order, plan = town.order(plan)
    poisoned = next(key for key, step in plan.steps.items() if step.name == "place")

    class Poison(Worker):
        def _engine(self, plan, batch):
            inner, _worker = super()._engine(plan, batch), self

            class Engine(inner):
                def run(self, requests, on_step=None):
                    if any(request.id == poisoned for request in requests):
                        from .town import Struck

                        raise Struck
                    yield from super().run(requests, on_step)

            return Engine

    workers = [
        Poison(LocalStore(tmp_path / "out"), town.scheduler, f"worker {n}") for n in range(2)
    ]
    town.until_done(60)
    manifest = town.published[0].manifest
    assert manifest.ending is Ending.FAILED
    failed = manifest.in_state(State.FAILED)
    assert poisoned in {step.key for step in failed}
    assert "given up after" in failed[0].reason
    for worker in workers:
        worker.stop()


def test_a_finished_order_can_be_ordered_again(town, plan):
    order, plan = town.order(plan)
    workers = crew(town, 2)
    town.until_done()
    town.order(plan)
    town.until_done()
    assert len(town.published) == 2
    assert town.published[1].manifest.counts[State.CACHED] == 24
    assert set(computed(workers).values()) == {1}
    assert Ledger(town.store.objects).order(order.run) is None
    for worker in workers:
        worker.stop()
