"""Attempts that no worker begins: sent again, ever more slowly, and not for ever."""

from __future__ import annotations

import pytest

from flows.coordination.conductor import Patience
from flows.coordination.dispatch import Delivery
from flows.coordination.ledger import AttemptName, Lease
from flows.execution.outcome import Ending, State
from flows.store.base import StoreError
from flows.store.local import LocalStore

from ..run.samples import PlanMaker
from .town import Clock, Scheduler, Town


class Breaking(Scheduler):
    """A worker takes whatever is sent, and ends it before it begins: it cannot read the store."""

    def where(self, order, attempts):
        self.places.update(dict.fromkeys(self.places, Delivery.GONE))
        return super().where(order, attempts)


def hats(count=1):
    maker = PlanMaker()
    for number in range(count):
        name = f"v{number}"
        maker.variant(name, {}, [maker.step("hat", f"a hat {number}", (), name)])
    return maker.plan()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def town(tmp_path, clock):
    return Town(LocalStore(tmp_path / "out"), patience=Patience(), clock=clock)


def tickets(town, run):
    return [name for name in town.conductor.ledger.look()[run] if name.endswith(".ticket")]


def test_a_lone_worker_that_can_begin_nothing_ends_the_run(tmp_path, clock):
    town = Town(LocalStore(tmp_path / "out"), Breaking(), Patience(), clock)
    town.order(hats())
    sent = []
    while town.conductor.tick():
        sent.append(len(town.scheduler.places))
        clock.now += 1.0
        assert clock.now < 600, "it is sent again for ever"
    assert clock.now > 100
    assert sent[30] <= 3
    assert len(town.scheduler.places) == 5
    [finished] = town.published
    assert finished.manifest.ending is Ending.FAILED
    [failed] = finished.manifest.in_state(State.FAILED)
    assert failed.reason == (
        "given up after 5 attempts: its flow runs end before they begin; see their messages"
    )


def test_one_that_began_during_a_long_tick_is_not_taken_for_lost(town, clock):
    order, _ = town.order(hats())
    town.conductor.tick()
    town.conductor.tick()
    [attempt] = town.scheduler.places
    # A worker took it a moment ago, and its lease is on its way.
    clock.now = 500.0
    town.scheduler.places[attempt] = Delivery.RUNNING
    town.conductor.tick()
    clock.now = 555.0
    town.conductor.tick()
    assert len(tickets(town, order.run)) == 1
    assert town.conductor.ledger.take(attempt, Lease(holder="worker"))
    town.conductor.tick()
    assert len(tickets(town, order.run)) == 1


def test_one_that_a_worker_has_but_never_begins_is_sent_again_without_a_strike(town, clock):
    order, _ = town.order(hats())
    for number in range(1, 9):
        town.conductor.tick()
        town.scheduler.places[AttemptName(order.run, "c1", number)] = Delivery.RUNNING
        town.conductor.tick()
        clock.now += 61.0
        town.conductor.tick()
        assert len(tickets(town, order.run)) == number + 1
    assert not town.published


def test_what_only_the_store_s_absence_held_up_is_not_lost(town, clock, monkeypatch):
    order, _ = town.order(hats())
    town.conductor.tick()
    [attempt] = town.scheduler.places
    town.scheduler.places[attempt] = Delivery.RUNNING
    town.conductor.tick()
    with monkeypatch.context() as outage:

        def away():
            raise StoreError("away")

        outage.setattr(town.conductor.ledger, "look", away)
        for clock.now in (1.0, 300.0):
            with pytest.raises(StoreError):
                town.conductor.tick()
    clock.now = 301.0
    town.conductor.tick()
    assert len(tickets(town, order.run)) == 1
