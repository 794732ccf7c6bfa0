"""Runs under way that this release cannot read are ended, and people told; an outage is none."""

from __future__ import annotations

import json

import pytest

from flows.coordination.ledger import ChunkList, Ledger
from flows.store.base import StoreError
from flows.store.local import LocalStore

from ..run.samples import PlanMaker
from .town import Town

PARENT = "5b0d3a0e-6a52-4d54-9a0f-0d7c5b8f2a11"


@pytest.fixture
def town(tmp_path):
    return Town(LocalStore(tmp_path / "out"))


@pytest.fixture
def order(town):
    maker = PlanMaker()
    maker.variant("v", {}, [maker.step("hat", "a hat", (), "v")])
    order, _ = town.order(maker.plan(), flow_run=PARENT)
    Ledger(town.store.objects).cut(order.run, ChunkList(chunks=()))
    return order


@pytest.mark.parametrize("what", ["order.json", "plan", "chunks.json"])
def test_a_run_of_another_release_ends_and_says_what_to_do(town, order, what):
    objects, name = town.store.objects, f"active/{order.run}/{what}"
    told = {"schema": "kontext.plan", "version": 99, "flow_run": PARENT}
    objects.replace(name, json.dumps(told).encode())
    town.conductor.tick()
    [(run, parent, why)] = town.scheduler.refused
    assert (run, parent) == (order.run, PARENT)
    assert why.startswith(f"{name}: ")
    assert "Run it again" in why
    assert town.conductor.tick() == 0
    assert list(objects.list("active/")) == []
    assert len(town.scheduler.refused) == 1


def test_an_order_that_is_no_json_at_all_ends_without_a_parent(town, order):
    town.store.objects.replace(f"active/{order.run}/order.json", b"\xff")
    town.conductor.tick()
    assert town.scheduler.refused[0][:2] == (order.run, None)
    assert town.conductor.tick() == 0


def test_it_waits_until_people_can_be_told(town, order):
    town.store.objects.replace(f"active/{order.run}/plan", b"{}")
    town.scheduler.away = True
    assert town.conductor.tick() == 1
    town.scheduler.away = False
    town.conductor.tick()
    assert len(town.scheduler.refused) == 1
    assert town.conductor.tick() == 0


def test_a_store_that_is_away_is_not_mistaken_for_it(town, order, monkeypatch):
    objects = town.store.objects
    with monkeypatch.context() as outage:

        def away(name):
            raise StoreError("away")

        outage.setattr(type(objects), "get", lambda _, name: away(name))
        assert town.conductor.tick() == 1
    assert not town.scheduler.refused
    assert objects.stat(f"active/{order.run}/order.json") is not None


def test_a_closing_that_was_cut_short_is_ended_without_a_word(town, order):
    town.store.objects.remove(f"active/{order.run}/plan")
    town.conductor.tick()
    assert town.conductor.tick() == 0
    assert not town.scheduler.refused
