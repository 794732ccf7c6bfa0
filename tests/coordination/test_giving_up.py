"""A chunk that is given up: what was made of it stays made, and what needs only that goes on."""

from __future__ import annotations

from flows.coordination.ledger import (
    AttemptName,
    ChunkList,
    ChunkSheet,
    Ledger,
    Result,
    StepSheet,
)
from flows.execution.execute import run_plan
from flows.execution.outcome import State
from flows.recipe.planfile import sub_plan
from flows.store.local import LocalStore
from kontext_engine.fake import FakeEngine

from ..run.samples import PlanMaker
from .town import Town


def test_what_an_attempt_made_that_never_told_is_not_parked(tmp_path):
    maker = PlanMaker()
    made = maker.step("made", "a hat", (), "v")
    open_ = maker.step("open", "a shoe", (), "v")
    child = maker.step("child", "make it snow", [made], "v")
    maker.variant("v", {}, [made, open_, child])
    town = Town(LocalStore(tmp_path / "out"))
    order, plan = town.order(maker.plan())
    first = ChunkSheet(name="c1", keys=(made.key, open_.key))
    second = ChunkSheet(name="c2", keys=(child.key,), after=("c1",))
    ledger = Ledger(town.store.objects)
    ledger.cut(order.run, ChunkList(chunks=(first, second)))
    run_plan(sub_plan(plan, [made.key]), town.store, lambda: FakeEngine(plan.model))

    pending = dict.fromkeys(first.keys, StepSheet(state=State.PENDING))
    barren = Result(holder="w", steps=pending, seconds=1.0, why="its engine died")
    for number in range(1, 6):
        town.conductor.tick()
        ledger.settle(AttemptName(order.run, "c1", number), barren)
    town.conductor.tick()
    town.conductor.tick()
    ends = town.conductor._runs[order.run].standing.ends
    assert ends[made.key].state is State.DONE
    assert ends[open_.key].state is State.FAILED
    assert ends[open_.key].reason == "given up after 5 attempts: its engine died"
    assert child.key not in ends
    assert AttemptName(order.run, "c2", 1) in town.scheduler.places


def test_a_result_of_another_release_is_an_attempt_that_came_to_nothing(tmp_path):
    maker = PlanMaker()
    maker.variant("v", {}, [maker.step("hat", "a hat", (), "v")])
    town = Town(LocalStore(tmp_path / "out"))
    order, _ = town.order(maker.plan())
    for number in range(1, 6):
        town.conductor.tick()
        name = AttemptName(order.run, "c1", number).at("result")
        town.store.objects.create(name, b'{"more": 1}')
    assert not town.published
    town.conductor.tick()
    [failed] = town.published[0].manifest.in_state(State.FAILED)
    assert failed.reason.startswith("given up after 5 attempts: active/")
