"""A work list: pictures and files that are missing, and what it takes to make them."""

from __future__ import annotations

import errno
import os
from dataclasses import replace

import pytest
from PIL import Image

from flows.execution.outcome import Ending, State
from flows.execution.work import Missing, do_work, look_for_missing
from flows.outputs import keyed_outputs
from flows.store import atomic
from flows.store.local import LocalStore
from flows.store.outputs import OutputStore
from flows.thumbs import Thumbnail
from kontext_engine.fake import FakeFaults

from .samples import PlanMaker, WatchedEngine, product_plan, source, ten_products


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "out")


@pytest.fixture
def products(tmp_path):
    return ten_products(tmp_path / "in")[:3]


def make(plan, store, keys=None, **more):
    engine = WatchedEngine()
    outcome = do_work(plan, list(plan.steps) if keys is None else keys, store, engine.load, **more)
    return outcome, engine


def output_keys(plan) -> list[str]:
    return [key for own in keyed_outputs(plan).values() for key in own]


# --- looking


def test_everything_is_missing_at_first_and_outputs_come_with_their_steps(store, products):
    plan = product_plan(products)
    assert look_for_missing(plan, store) == Missing(tuple(plan.steps), ())


def test_nothing_is_missing_of_what_is_made_and_no_picture_is_read(store, products, read):
    plan = product_plan(products)
    make(plan, store)
    read.clear()
    assert look_for_missing(plan, store) == Missing((), ())
    assert {name.partition("/")[0] for name in read} == {"records", "outputs"}


def test_an_output_without_its_record_or_its_file_is_missing(store, products):
    plan = product_plan(products)
    make(plan, store)
    first, second, _third = output_keys(plan)
    (store.root / "outputs" / first).unlink()
    planned = keyed_outputs(plan)
    (step,) = (key for key, own in planned.items() if second in own)
    file = OutputStore(store).find(second, store.find(step).blob)
    (store.root / "blobs" / file.blob).unlink()
    assert look_for_missing(plan, store) == Missing((), (first, second))


def test_a_recipe_of_another_name_lacks_its_outputs_only(store, products, encoded):
    make(product_plan(products), store)
    plan = replace(product_plan(products), recipe="another")
    missing = look_for_missing(plan, store)
    assert missing == Missing((), tuple(output_keys(plan)))
    encoded.clear()
    outcome, engine = make(plan, store, (), outputs=missing.outputs)
    assert engine.loads == 0
    assert len(encoded) == 3
    assert outcome.ending is Ending.COMPLETE
    assert look_for_missing(plan, store) == Missing((), ())


def test_a_file_of_a_picture_that_has_become_another_is_missing(store, products):
    plan = product_plan(products[:1])
    make(plan, store)
    last = list(plan.steps)[-1]
    old = store.find(last)
    (store.root / "records" / last).unlink()
    twisted = replace(plan.steps[last], params=replace(plan.steps[last].params, prompt="other"))
    other = replace(plan, steps={**plan.steps, last: twisted}, outputs=())
    make(other, store)
    assert store.find(last).blob != old.blob
    missing = look_for_missing(plan, store)
    assert missing == Missing((), tuple(output_keys(plan)))
    make(plan, store, (), outputs=missing.outputs)
    (key,) = output_keys(plan)
    assert OutputStore(store).find(key, old.blob) is None
    assert OutputStore(store).find(key, store.find(last).blob)


# --- doing


def test_of_what_is_asked_everything_is_made_and_stored(store, products, read, encoded):
    plan = product_plan(products)
    keys = list(plan.steps)[:2]
    outcome, engine = make(plan, store, keys)
    assert engine.prompts == ["put it on a beach", "make it snow"]
    assert list(outcome.steps) == keys
    assert encoded == ["product=p0.png"]
    missing = look_for_missing(plan, store)
    assert missing == Missing(tuple(list(plan.steps)[2:]), ())
    for name in (
        Thumbnail.of(source(products[0]).digest, 64, 48).name,
        *(
            Thumbnail.of(end.record.blob, end.record.width, end.record.height).name
            for end in outcome.steps.values()
        ),
    ):
        assert (store.root / name).is_file()


def test_an_output_is_encoded_from_the_picture_in_hand(store, products, read):
    plan = product_plan(products)
    outcome, _ = make(plan, store)
    last = {end.record.blob for end in list(outcome.steps.values())[1::2]}
    assert all(read[f"blobs/{blob}"] == 0 for blob in last)


def test_the_picture_of_missing_outputs_is_read_once(store, products, read, encoded):
    maker = PlanMaker()
    step = maker.step("hero", "p", [], "all")
    for kind in ("jpeg", "webp", "png"):
        maker.variant(kind, {"kind": kind}, [step], path=f"{kind}.x", format=kind)
    plan = maker.plan()
    outcome, _ = make(replace(plan, outputs=()), store)
    blob = outcome.steps[step.key].record.blob
    read.clear()
    outcome, engine = make(plan, store, (), outputs=look_for_missing(plan, store).outputs)
    assert (engine.loads, read[f"blobs/{blob}"]) == (0, 1)
    assert encoded == ["jpeg.x", "webp.x", "png.x"]
    assert outcome.steps[step.key].state is State.CACHED


def test_of_a_step_that_another_has_made_meanwhile_the_outputs_are_made(store, products, encoded):
    """Its maker may have died between the picture and the file."""
    plan = product_plan(products[:1])
    make(replace(plan, outputs=()), store)
    outcome, engine = make(plan, store)
    assert engine.loads == 0
    assert encoded == ["product=p0.png"]
    assert {end.state for end in outcome.steps.values()} == {State.CACHED}


def test_a_damaged_picture_is_made_again_with_its_outputs(store, products):
    plan = product_plan(products)
    first, _ = make(plan, store)
    (step, own), *_ = keyed_outputs(plan).items()
    blob = store.root / "blobs" / first.steps[step].record.blob
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    (output,) = own
    (store.root / "outputs" / output).unlink()
    assert look_for_missing(plan, store) == Missing((), (output,))
    outcome, engine = make(plan, store, (), outputs=(output,))
    assert [request.id for batch in engine.asked for request in batch] == [step]
    assert outcome.steps[step].state is State.DONE
    assert look_for_missing(plan, store) == Missing((), ())


def test_what_is_not_asked_for_is_not_made(store, products, encoded):
    plan = product_plan(products)
    make(replace(plan, outputs=()), store)
    wanted = output_keys(plan)[1]
    make(plan, store, (), outputs=(wanted,))
    assert encoded == ["product=p1.png"]


def test_the_second_writer_of_a_step_makes_its_outputs_of_the_winners_picture(store, products):
    plan = product_plan(products[:1])
    last = list(plan.steps)[-1]

    def someone_else_is_quicker(requests):
        if requests[0].id == last:
            step = plan.steps[last]
            twisted = replace(step, params=replace(step.params, prompt="other"))
            make(replace(plan, steps={**plan.steps, last: twisted}, outputs=()), store)

    do_work(plan, list(plan.steps), store, WatchedEngine(someone_else_is_quicker).load)
    record = store.find(last)
    assert record.params["prompt"] == "other"
    (key,) = output_keys(plan)
    file = OutputStore(store).find(key, record.blob)
    with (
        Image.open(store.root / "blobs" / file.blob) as output,
        Image.open(store.root / "blobs" / record.blob) as picture,
    ):
        assert output.convert("RGB").tobytes() == picture.convert("RGB").tobytes()


def test_a_failing_step_ends_nothing_else_and_tells(store, products):
    plan = product_plan(products)
    engine = WatchedEngine(faults=FakeFaults(prompts=("beach",)))
    outcome = do_work(plan, list(plan.steps)[:2], store, engine.load)
    assert [end.state for end in outcome.steps.values()] == [State.FAILED, State.BLOCKED]


def test_one_can_stop_between_two_files(store, products, encoded):
    plan = product_plan(products)
    make(replace(plan, outputs=()), store)
    outcome, _ = make(plan, store, (), outputs=output_keys(plan), cancelled=lambda: True)
    assert outcome.ending is Ending.INTERRUPTED
    assert encoded == []


def test_a_full_disk_is_told_as_the_end(store, products, monkeypatch):
    plan = product_plan(products)
    make(replace(plan, outputs=()), store)

    def full(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic, "write_all", full)
    outcome, _ = make(plan, store, (), outputs=output_keys(plan))
    assert outcome.ending is Ending.STOPPED
    assert outcome.store_failed
    assert "free some space" in outcome.why


def test_nothing_to_do_asks_nothing(store, products):
    outcome, engine = make(product_plan(products), store, ())
    assert (outcome.ending, dict(outcome.steps), engine.loads) == (Ending.COMPLETE, {}, 0)
    assert not store.root.exists()
