"""A run from the look at its store to its folder: what is told, copied, healed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from flows.execution.events import Settled, Started
from flows.execution.outcome import State
from flows.execution.work import do_work, look
from flows.outputs import keyed_outputs
from flows.pipeline import Hooks, RunRequest, publish, run_folder, run_recipe
from flows.store.folder import LocalObjects
from flows.store.local import LocalStore
from flows.store.outputs import OutputStore

from .samples import WatchedEngine, product_plan, ten_products


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "out")


@pytest.fixture
def products(tmp_path):
    return ten_products(tmp_path / "in")[:3]


def make(plan, store, keys):
    return do_work(plan, keys, store, WatchedEngine().load)


def run(plan, out, events=None, engine=None):
    load = (engine or WatchedEngine()).load
    hear = events.append if events is not None else lambda event: None
    hooks = Hooks(on_event=hear, factory=lambda plan, out, batch: load)
    return run_recipe(plan, RunRequest(Path("x.yaml"), out), hooks)


def test_a_run_tells_of_the_whole_plan_and_counts_it(store, products):
    plan = product_plan(products)
    make(plan, store, list(plan.steps)[:2])
    events: list = []
    finished = run(plan, store.root, events)
    assert [event for event in events if isinstance(event, Started)] == [Started(6, 4)]
    settled = {e.outcome.key: e.outcome.state for e in events if isinstance(e, Settled)}
    assert Counter(settled.values()) == {State.CACHED: 2, State.DONE: 4}
    counts = {state: count for state, count in finished.manifest.counts.items() if count}
    assert counts == {State.CACHED: 2, State.DONE: 4}


def test_a_finished_run_copies_nothing_and_computes_nothing(
    store, products, read, encoded, monkeypatch
):
    plan = product_plan(products)
    first = run(plan, store.root)
    copies: list[str] = []
    copy = LocalObjects.copy
    monkeypatch.setattr(
        LocalObjects, "copy", lambda self, a, b: copies.append(b) or copy(self, a, b)
    )
    read.clear()
    encoded.clear()
    engine = WatchedEngine()
    again = run(plan, store.root, engine=engine)
    assert (engine.loads, encoded, copies) == (0, [], [])
    assert not [name for name in read if name.startswith(("blobs/", "thumbs/"))]
    assert again.manifest.outputs == first.manifest.outputs


def test_a_file_that_was_damaged_in_the_store_is_told_and_made_again(store, products):
    plan = product_plan(products)
    outcome = make(plan, store, list(plan.steps))
    key = [key for own in keyed_outputs(plan).values() for key in own][1]
    (step,) = (step for step, own in keyed_outputs(plan).items() if key in own)
    file = OutputStore(store).find(key, outcome.steps[step].record.blob)
    blob = store.root / "blobs" / file.blob
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    folder = run_folder(plan, store.objects)
    told = publish(plan, outcome, store, folder).manifest.outputs[1]
    assert told.problem == (
        "product=p1.png: its file was damaged in the store; run again to remake it"
    )
    again = run(plan, store.root)
    assert again.manifest.whole
    assert (Path(again.folder) / "product=p1.png").read_bytes() == blob.read_bytes()


def test_the_records_that_were_seen_complete_an_outcome(store, products):
    plan = product_plan(products)
    make(plan, store, list(plan.steps)[:2])
    seen = look(plan, store)
    outcome = make(plan, store, list(plan.steps)[2:4])
    whole = seen.complete(plan, outcome)
    assert [end.state.value for end in whole.steps.values()] == [
        *["cached"] * 2, *["done"] * 2, *["pending"] * 2,
    ]  # fmt: skip
