"""A run's end is published beside the ticks; the other runs do not wait for it."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from flows.coordination.ledger import Result, StepSheet
from flows.coordination.publishing import at_once
from flows.execution.execute import run_plan
from flows.execution.outcome import Ending, State
from flows.store.base import StoreError
from flows.store.local import LocalStore
from kontext_engine.fake import FakeEngine

from ..run.samples import PlanMaker
from .town import Town


class Later:
    """Does what it is given when told."""

    def __init__(self) -> None:
        self.works: list = []

    def __call__(self, work):
        future: Future = Future()
        self.works.append((work, future))
        return future

    def go_on(self) -> None:
        for work, future in self.works:
            done = at_once(work)
            error = done.exception()
            future.set_exception(error) if error else future.set_result(done.result())
        self.works.clear()


def hat(words):
    maker = PlanMaker()
    maker.variant("v", {}, [maker.step("hat", words, (), "v")])
    return maker.plan()


def make(town, plan):
    run_plan(plan, town.store, lambda: FakeEngine(plan.model))


@pytest.fixture
def later():
    return Later()


@pytest.fixture
def town(tmp_path, later):
    return Town(LocalStore(tmp_path / "out"), submit=later)


def test_another_run_goes_on_while_one_is_published(town, later):
    first, plan = town.order(hat("a hat"))
    make(town, plan)
    for _ in range(3):
        assert town.conductor.tick() == 1
    assert len(later.works) == 1
    second, _ = town.order(hat("a shoe"))
    town.conductor.tick()
    assert [attempt.run for attempt in town.scheduler.places] == [second.run]
    assert not town.published
    assert not town.scheduler.ended
    later.go_on()
    assert town.published[0].manifest.ending is Ending.COMPLETE
    for _ in range(3):
        town.conductor.tick()
    assert town.scheduler.ended.keys() == {first.run}
    assert len(later.works) == 1  # to forget it
    later.go_on()
    town.conductor.tick()
    assert set(town.conductor.ledger.look()) == {second.run}
    assert len(town.published) == 1
    # The same plan again is another run, with an end of its own.
    town.order(plan)
    town.conductor.tick()
    later.go_on()
    assert len(town.published) == 2


def test_what_fails_is_done_again(town, later, monkeypatch):
    _, plan = town.order(hat("a hat"))
    make(town, plan)
    town.conductor.tick()
    with monkeypatch.context() as outage:

        def away(*_):
            raise StoreError("away")

        outage.setattr(town.store, "find_all", away)
        later.go_on()
    assert town.conductor.tick() == 1
    assert not later.works
    for _ in range(2):  # publishing and forgetting, each anew
        town.conductor.tick()
        later.go_on()
    assert town.published
    assert town.conductor.tick() == 0


def test_pictures_found_damaged_are_made_again(town, later):
    _, plan = town.order(hat("a hat"))
    town.conductor.tick()
    [attempt] = town.scheduler.places
    make(town, plan)
    key = next(iter(plan.steps))
    made = {key: StepSheet(state=State.DONE)}
    town.conductor.ledger.settle(attempt, Result(holder="w", steps=made, seconds=1.0))
    town.conductor.tick()
    blob = town.store.objects.root / "blobs" / town.store.find(key).blob
    blob.write_bytes(b"?")
    later.go_on()
    town.conductor.tick()
    assert not town.published
    town.conductor.tick()
    assert len(town.scheduler.places) == 2
    make(town, plan)
    second = max(town.scheduler.places)
    town.conductor.ledger.settle(second, Result(holder="w", steps=made, seconds=1.0))
    town.conductor.tick()
    later.go_on()
    assert town.published[0].manifest.ending is Ending.COMPLETE


def test_a_tick_does_not_wait_for_the_thread(tmp_path):
    go_on = threading.Event()
    with ThreadPoolExecutor(1) as press:
        town = Town(LocalStore(tmp_path / "out"), submit=press.submit)
        _, plan = town.order(hat("a hat"))
        make(town, plan)
        press.submit(go_on.wait, 60)
        for _ in range(3):
            assert town.conductor.tick() == 1
        assert not town.published
        go_on.set()
        town.until_done()
    assert len(town.published) == 1
