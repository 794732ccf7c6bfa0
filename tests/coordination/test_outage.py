"""The store away for longer than a lease lasts: nobody is taken for dead on its account."""

from __future__ import annotations

import pytest

from flows.coordination.conductor import Conductor, Patience
from flows.coordination.ledger import Lease
from flows.store.base import StoreError
from flows.store.local import LocalStore

from ..run.samples import PlanMaker
from .town import Clock, Town

LEASE = 10.0


def test_an_outage_of_the_store_is_no_worker_s_death(tmp_path, monkeypatch):
    maker = PlanMaker()
    maker.variant("v", {}, [maker.step("hat", "a hat", (), "v", steps=2)])
    town = Town(LocalStore(tmp_path / "out"))
    order, _ = town.order(maker.plan())
    clock = Clock()
    conductor = Conductor(town.store, town.scheduler, lambda *_: None, Patience(lease=LEASE), clock)
    ledger = conductor.ledger

    def tick(*moments: float) -> None:
        for clock.now in moments:
            conductor.tick()

    def attempts() -> list[str]:
        names = ledger.look()[order.run]
        return sorted(name for name in names if name.endswith(".ticket"))

    tick(0.0)
    (first,) = town.scheduler.places
    assert ledger.take(first, Lease(holder="worker"))
    tick(1.0, 4.0)
    with monkeypatch.context() as outage:

        def away():
            raise StoreError("away")

        outage.setattr(ledger, "look", away)
        for moment in (5.0, 60.0):
            with pytest.raises(StoreError):
                tick(moment)
    tick(64.0)
    assert len(attempts()) == 1
    # Back, and still silent for as long as a lease may be: now it is dead.
    tick(68.0, 72.0, 75.0)
    assert len(attempts()) == 2
