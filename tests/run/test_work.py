"""What a store lacks of a plan, pictures and files; what it takes to make and to deliver them."""

from __future__ import annotations

import errno
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from flows.run.events import Settled, Started
from flows.run.look import look
from flows.run.outcome import Ending, State
from flows.run.outputs import keyed_outputs
from flows.run.pipeline import publish, run_folder
from flows.run.thumbs import Thumbnail
from flows.store import atomic
from flows.store.folder import LocalObjects
from flows.store.outputs import OutputStore

from .samples import PlanMaker, WatchedEngine, make, product_plan, run, source


def output_keys(plan) -> list[str]:
    return [key for own in keyed_outputs(plan).values() for key in own]


def todo(plan, store):
    seen = look(plan, store)
    return seen.missing, seen.outputs


def spoil(path: Path) -> None:
    """Other bytes of the same size: it is found when it is read."""
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def blobs(read: Counter) -> list[str]:
    return [name for name in read.elements() if name.startswith("blobs/")]


# --- looking


def test_everything_is_missing_at_first_and_outputs_come_with_their_steps(store, products):
    plan = product_plan(products)
    assert todo(plan, store) == (tuple(plan.steps), ())


def test_a_look_asks_for_one_record_a_step_and_no_picture(store, products, read):
    plan = product_plan(products)
    make(plan, store)
    read.clear()
    assert todo(plan, store) == ((), ())
    assert read == Counter(
        [
            *(f"records/{key}" for key in plan.steps),
            *(f"outputs/{key}" for key in output_keys(plan)),
        ]
    )


def test_an_output_without_its_record_or_its_file_is_missing(store, products):
    plan = product_plan(products)
    make(plan, store)
    first, second, _third = output_keys(plan)
    (store.root / "outputs" / first).unlink()
    (step,) = (key for key, own in keyed_outputs(plan).items() if second in own)
    file = OutputStore(store).find(second, store.find(step).blob)
    (store.root / "blobs" / file.blob).unlink()
    assert todo(plan, store) == ((), (first, second))


def test_a_recipe_of_another_name_lacks_its_outputs_only(store, products, encoded):
    make(product_plan(products), store)
    plan = replace(product_plan(products), recipe="another")
    assert todo(plan, store) == ((), tuple(output_keys(plan)))
    encoded.clear()
    engine = WatchedEngine()
    assert make(plan, store, (), output_keys(plan), engine).ending is Ending.COMPLETE
    assert (engine.loads, len(encoded)) == (0, 3)
    assert todo(plan, store) == ((), ())


def test_a_file_of_a_picture_that_has_become_another_is_missing(store, products):
    plan = product_plan(products[:1])
    make(plan, store)
    last = list(plan.steps)[-1]
    old = store.find(last)
    (store.root / "records" / last).unlink()
    make(twisted(plan, last), store)
    assert store.find(last).blob != old.blob
    assert todo(plan, store) == ((), tuple(output_keys(plan)))
    make(plan, store, (), output_keys(plan))
    (key,) = output_keys(plan)
    assert OutputStore(store).find(key, old.blob) is None
    assert OutputStore(store).find(key, store.find(last).blob)


def twisted(plan, key):
    """The plan without outputs, other pixels under one of its keys."""
    step = plan.steps[key]
    other = replace(step, params=replace(step.params, prompt="other"))
    return replace(plan, steps={**plan.steps, key: other}, outputs=())


# --- making


def test_of_what_is_asked_everything_is_made_and_stored(store, products, encoded):
    plan, engine = product_plan(products), WatchedEngine()
    keys = list(plan.steps)[:2]
    outcome = make(plan, store, keys, engine=engine)
    assert engine.prompts == ["put it on a beach", "make it snow"]
    assert list(outcome.steps) == keys
    assert encoded == ["product=p0.png"]
    assert todo(plan, store) == (tuple(list(plan.steps)[2:]), ())
    made = [end.record for end in outcome.steps.values()]
    thumbs = [Thumbnail.of(record.blob, record.width, record.height) for record in made]
    for thumb in (Thumbnail.of(source(products[0]).digest, 64, 48), *thumbs):
        assert (store.root / thumb.name).is_file()


def test_what_was_just_made_is_not_read_for_its_children_or_its_files(store, products, read):
    make(product_plan(products), store)
    assert blobs(read) == []


def test_a_chain_in_stretches_reads_each_parent_of_another_stretch_once(store, read):
    maker, row = PlanMaker(), []
    for at in range(8):
        row.append(maker.step("s", str(at), row[-1:], "x"))
    maker.variant("x", {}, row)
    plan = maker.plan()
    for at in range(0, 8, 2):
        read.clear()
        make(plan, store, [step.key for step in row[at : at + 2]])
        parents = [store.peek(step.key).blob for step in row[max(0, at - 1) : at]]
        assert blobs(read) == [f"blobs/{blob}" for blob in parents]
        asked = [name for name in read if name.startswith("records/")]
        assert len(asked) == (3 if at else 2)


def test_a_parent_of_many_is_read_once(store, read):
    maker = PlanMaker()
    root = maker.step("root", "r", [], "x")
    leaves = [maker.step("leaf", str(at), [root], str(at)) for at in range(200)]
    plan = maker.plan()
    make(plan, store, [root.key])
    read.clear()
    make(plan, store, [leaf.key for leaf in leaves])
    assert len(blobs(read)) == 1


def test_the_picture_of_missing_outputs_is_read_once(store, read, encoded):
    maker = PlanMaker()
    step = maker.step("hero", "p", [], "all")
    for kind in ("jpeg", "webp", "png"):
        maker.variant(kind, {"kind": kind}, [step], path=f"{kind}.x", format=kind)
    plan, engine = maker.plan(), WatchedEngine()
    make(replace(plan, outputs=()), store)
    read.clear()
    outcome = make(plan, store, (), output_keys(plan), engine)
    assert (engine.loads, len(blobs(read))) == (0, 1)
    assert encoded == ["jpeg.x", "webp.x", "png.x"]
    assert outcome.steps[step.key].state is State.CACHED


@pytest.mark.parametrize("with_files", [True, False])
def test_of_what_another_has_made_meanwhile_only_lacking_files_are_made(
    store, products, read, encoded, with_files
):
    """Its maker may have died between the picture and the file."""
    plan, engine = product_plan(products[:1]), WatchedEngine()
    make(plan if with_files else replace(plan, outputs=()), store)
    read.clear()
    encoded.clear()
    outcome = make(plan, store, engine=engine)
    assert engine.loads == 0
    assert len(encoded) == len(blobs(read)) == (0 if with_files else 1)
    assert {end.state for end in outcome.steps.values()} == {State.CACHED}


def test_a_damaged_picture_is_made_again_with_its_outputs(store, products):
    plan, engine = product_plan(products), WatchedEngine()
    first = make(plan, store)
    (step, own), *_ = keyed_outputs(plan).items()
    spoil(store.root / "blobs" / first.steps[step].record.blob)
    (output,) = own
    (store.root / "outputs" / output).unlink()
    assert todo(plan, store) == ((), (output,))
    outcome = make(plan, store, (), [output], engine)
    assert [request.id for batch in engine.asked for request in batch] == [step]
    assert outcome.steps[step].state is State.DONE
    assert todo(plan, store) == ((), ())


def test_ancestors_are_looked_up_only_where_a_damaged_one_needs_them(store, products, read):
    maker, row = PlanMaker(), []
    for at in range(5):
        row.append(maker.step("s", str(at), row[-1:], "x"))
    plan, keys = maker.plan(), [step.key for step in row]
    first = make(plan, store, keys[:4])
    for key in keys[1:4]:
        spoil(store.root / "blobs" / first.steps[key].record.blob)
    engine = WatchedEngine()
    read.clear()
    outcome = make(plan, store, keys[4:], engine=engine)
    assert outcome.ending is Ending.COMPLETE
    assert engine.prompts == ["1", "2", "3", "4"]
    assert f"records/{keys[0]}" in read
    assert [end.state.value for end in outcome.steps.values()] == ["cached", *["done"] * 4]


def test_what_is_not_asked_for_is_not_made(store, products, encoded):
    plan = product_plan(products)
    make(replace(plan, outputs=()), store)
    make(plan, store, (), output_keys(plan)[1:2])
    assert encoded == ["product=p1.png"]


def test_the_second_writer_of_a_step_makes_its_outputs_of_the_winners_picture(store, products):
    plan = product_plan(products[:1])
    last = list(plan.steps)[-1]

    def someone_else_is_quicker(requests):
        if requests[0].id == last:
            make(twisted(plan, last), store)

    make(plan, store, engine=WatchedEngine(someone_else_is_quicker))
    record = store.find(last)
    assert record.params["prompt"] == "other"
    (key,) = output_keys(plan)
    file = OutputStore(store).find(key, record.blob)
    with (
        Image.open(store.root / "blobs" / file.blob) as output,
        Image.open(store.root / "blobs" / record.blob) as picture,
    ):
        assert output.convert("RGB").tobytes() == picture.convert("RGB").tobytes()


def test_one_can_stop_between_two_files(store, products, encoded):
    plan = product_plan(products)
    make(replace(plan, outputs=()), store)
    outcome = make(plan, store, (), output_keys(plan), cancelled=lambda: True)
    assert outcome.ending is Ending.INTERRUPTED
    assert encoded == []


def test_a_full_disk_is_told_as_the_end(store, products, monkeypatch):
    plan = product_plan(products)
    make(replace(plan, outputs=()), store)

    def full(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic, "write_all", full)
    outcome = make(plan, store, (), output_keys(plan))
    assert (outcome.ending, outcome.store_failed) == (Ending.STOPPED, True)
    assert "free some space" in outcome.why


def test_nothing_to_do_asks_nothing(store, products):
    engine = WatchedEngine()
    outcome = make(product_plan(products), store, (), engine=engine)
    assert (outcome.ending, dict(outcome.steps), engine.loads) == (Ending.COMPLETE, {}, 0)
    assert not store.root.exists()


# --- delivering


def test_a_run_tells_of_the_whole_plan_and_counts_it(store, products):
    plan = product_plan(products)
    make(plan, store, list(plan.steps)[:2])
    events: list = []
    finished = run(plan, store.root, on_event=events.append)
    assert [event for event in events if isinstance(event, Started)] == [Started(6, 4)]
    settled = {event.key: event.outcome.state for event in events if isinstance(event, Settled)}
    assert Counter(settled.values()) == {State.CACHED: 2, State.DONE: 4}
    counts = {state: count for state, count in finished.manifest.counts.items() if count}
    assert counts == {State.CACHED: 2, State.DONE: 4}


def test_a_finished_run_reads_copies_and_computes_nothing(
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
    asked = Counter(name.partition("/")[0] for name in read)
    del asked["claims"], asked["gc.lock"]
    assert asked == {"records": 6, "runs": 1}
    assert again.manifest.outputs == first.manifest.outputs


def test_a_file_that_was_damaged_in_the_store_is_told_and_made_again(store, products):
    plan = product_plan(products)
    outcome = make(plan, store)
    key = output_keys(plan)[1]
    (step,) = (step for step, own in keyed_outputs(plan).items() if key in own)
    file = OutputStore(store).find(key, outcome.steps[step].record.blob)
    blob = store.root / "blobs" / file.blob
    spoil(blob)
    told = publish(plan, outcome, store, run_folder(plan, store.objects)).manifest.outputs[1]
    assert told.problem == (
        "product=p1.png: its file was damaged in the store; run again to remake it"
    )
    again = run(plan, store.root)
    assert again.manifest.whole
    assert (Path(again.folder) / "product=p1.png").read_bytes() == blob.read_bytes()


def test_of_two_names_of_one_file_both_must_be_there(store):
    maker = PlanMaker()
    step = maker.step("hero", "p", [], "all")
    for name in ("a", "b"):
        maker.variant(name, {"name": name}, [step], path=f"{name}.png")
    finished = run(maker.plan(), store.root)
    (store.root / "outputs" / output_keys(maker.plan())[0]).unlink()
    (Path(finished.folder) / "b.png").unlink()
    assert run(maker.plan(), store.root).manifest.whole


def test_a_damaged_picture_that_was_not_reached_is_not_said_to_be_there(store, products):
    plan = product_plan(products[:1])
    last = list(plan.steps)[-1]
    spoil(store.root / "blobs" / make(plan, store).steps[last].record.blob)
    (output,) = keyed_outputs(plan)[last]
    (store.root / "outputs" / output).unlink()

    class Loading:
        @staticmethod
        def load():
            raise KeyboardInterrupt

    outcome = make(plan, store, (), [output], Loading)
    assert outcome.ending is Ending.INTERRUPTED
    assert outcome.steps[last].state is State.PENDING
