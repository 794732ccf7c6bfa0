"""Carrying out plans with an engine that is watched: what is asked, what fails, what is kept."""

from __future__ import annotations

import errno
import os
from dataclasses import replace

import pytest

from flows.run.events import Denoising, EngineLoading, Retrying, Settled, Started
from flows.run.execute import Limits, run_plan
from flows.run.outcome import Ending, State
from flows.store import atomic
from flows.store.local import LocalStore
from kontext_engine.api import EditFailure, EngineOptions
from kontext_engine.errors import ModelError, RequestError
from kontext_engine.fake import FakeFaults
from kontext_engine.spec import NumericsProfile

from .samples import (
    PlanMaker,
    WatchedEngine,
    decoded,
    draw_picture,
    product_plan,
    source,
    ten_products,
)


@pytest.fixture
def products(tmp_path):
    return ten_products(tmp_path / "in")


def states(outcome, plan) -> dict[str, str]:
    return {plan.steps[key].label: end.state.value for key, end in outcome.steps.items()}


def test_everything_is_made_in_full_batches(store, products):
    engine = WatchedEngine()
    outcome = run_plan(product_plan(products), store, engine.load)
    assert outcome.ending is Ending.COMPLETE
    assert outcome.counts == {State.DONE: 20} | dict.fromkeys(
        (State.CACHED, State.FAILED, State.BLOCKED, State.PENDING), 0
    )
    assert [len(batch) for batch in engine.asked] == [10, 10]
    assert engine.loads == 1


def test_a_broken_input_fails_alone(store, products):
    products[3].write_bytes(b"not a picture at all")
    plan = product_plan(products)
    outcome = run_plan(plan, store, WatchedEngine().load)
    assert outcome.ending is Ending.FAILED
    found = states(outcome, plan)
    assert found.pop("place[product=p3]") == "failed"
    assert found.pop("snow[product=p3]") == "blocked"
    assert set(found.values()) == {"done"}
    failed_key, failed = next(
        (key, end) for key, end in outcome.steps.items() if end.state is State.FAILED
    )
    assert failed.reason.startswith("p3.png (input 'product'): not a picture that can be read")
    blocked = next(end for end in outcome.steps.values() if end.state is State.BLOCKED)
    assert blocked.reason == "needs 'place[product=p3]', which failed"
    assert blocked.blocked_by == failed_key
    assert store.last_failure(failed_key).reason == failed.reason


def test_a_mended_input_is_made_by_the_next_run(store, products):
    sound = products[3].read_bytes()
    products[3].write_bytes(b"not a picture at all")
    run_plan(product_plan(products), store, WatchedEngine().load)
    products[3].write_bytes(sound)
    engine = WatchedEngine()
    outcome = run_plan(product_plan(products), store, engine.load)
    assert outcome.ending is Ending.COMPLETE
    assert len(engine.prompts) == 2


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: draw_picture(path, 99), "the file changed while the run was going on"),
        (lambda path: path.unlink(), "the file is gone; put it back"),
    ],
)
def test_a_source_that_is_not_the_planned_one_fails(store, products, spoil, reason):
    plan = product_plan(products[:2])
    spoil(products[0])
    outcome = run_plan(plan, store, WatchedEngine().load)
    failed = [end.reason for end in outcome.steps.values() if end.state is State.FAILED]
    assert len(failed) == 1
    assert reason in failed[0]
    assert str(products[0].parent) not in failed[0]
    assert outcome.counts[State.DONE] == 2


def test_a_refused_request_fails_at_once_and_blocks_its_descendants(store, products):
    engine = WatchedEngine(faults=FakeFaults(prompts=("on a beach",)))
    outcome = run_plan(product_plan(products[:3]), store, engine.load)
    assert len(engine.prompts) == 3
    assert (outcome.counts[State.FAILED], outcome.counts[State.BLOCKED]) == (3, 3)


def test_a_passing_failure_is_tried_again_and_then_parked(store, products):
    events = []
    engine = WatchedEngine(faults=FakeFaults(prompts=("beach",), retryable=True))
    outcome = run_plan(
        product_plan(products[:1]), store, engine.load, on_event=events.append,
        limits=Limits(attempts=4),
    )  # fmt: skip
    assert len(engine.prompts) == 4
    failed = next(end for end in outcome.steps.values() if end.state is State.FAILED)
    assert (failed.attempts, failed.reason) == (4, "failed on purpose")
    assert [e.attempt for e in events if isinstance(e, Retrying)] == [1, 2, 3]


def test_a_call_that_breaks_once_charges_nobody(store, products):
    calls = []

    def trouble(requests):
        calls.append(len(requests))
        if len(calls) == 1:
            raise RuntimeError("CUDA error: unspecified launch failure\nmore")

    engine = WatchedEngine(trouble)
    plan = product_plan(products[:3])
    outcome = run_plan(plan, store, engine.load)
    assert outcome.ending is Ending.COMPLETE
    # the call that broke is repeated in halves; what follows goes together again
    assert calls == [3, 1, 2, 3]
    assert {end.attempts for end in outcome.steps.values()} == {1}
    assert {end.record.attempts for end in outcome.steps.values()} == {1}


def test_one_poisoned_step_is_found_and_its_mates_are_made(store, products):
    def trouble(requests):
        if any(request.seed == 13 for request in requests):
            raise RuntimeError("boom")

    maker = PlanMaker()
    for number, path in enumerate(products[:4]):
        step = maker.step("place", "beach", [source(path)], path.stem, seed=10 + number)
        maker.variant(path.stem, {}, [step])
    plan = maker.plan()
    outcome = run_plan(plan, store, WatchedEngine(trouble).load)
    assert states(outcome, plan) == {
        "place[p0]": "done",
        "place[p1]": "done",
        "place[p2]": "done",
        "place[p3]": "failed",
    }
    failed = next(end for end in outcome.steps.values() if end.state is State.FAILED)
    assert (failed.reason, failed.attempts) == ("RuntimeError: boom", 3)


def test_a_request_that_the_engine_rejects_alone_is_not_repeated(store, products):
    def trouble(requests):
        raise RequestError("size 7x7: not a multiple of 16")

    engine = WatchedEngine(trouble)
    outcome = run_plan(product_plan(products[:1]), store, engine.load)
    assert len(engine.asked) == 1
    assert "size 7x7: not a multiple of 16" in [end.reason for end in outcome.steps.values()]


def test_an_engine_that_gives_no_answer_is_asked_again(store, products):
    engine = WatchedEngine()
    answers = engine.run
    lost = []

    def forgetful(requests, on_step=None):
        for answer in answers(requests, on_step):
            if not lost:
                lost.append(answer.id)
                continue
            yield answer

    engine.run = forgetful
    outcome = run_plan(product_plan(products[:2]), store, engine.load)
    assert outcome.ending is Ending.COMPLETE
    assert outcome.steps[lost[0]].attempts == 2


def test_strange_answers_are_ignored(store, products, caplog):
    engine = WatchedEngine()
    answers = engine.run

    def confused(requests, on_step=None):
        yield EditFailure("nobody", "who is this?")
        for answer in answers(requests, on_step):
            yield answer
            yield answer

    engine.run = confused
    outcome = run_plan(product_plan(products[:1]), store, engine.load)
    assert outcome.counts[State.DONE] == 2
    assert "'nobody', which was not asked" in caplog.text


def test_a_cancelled_run_keeps_what_is_stored_and_goes_on_later(store, products):
    plan = product_plan(products)
    done = []
    stop = []

    def listen(event):
        if isinstance(event, Settled):
            done.append(event.key)
        if isinstance(event, Denoising) and len(done) >= 8:
            stop.append(event)

    first = run_plan(
        plan, store, WatchedEngine().load, on_event=listen, cancelled=lambda: bool(stop)
    )
    assert first.ending is Ending.INTERRUPTED
    assert first.counts[State.DONE] == len(done) == 8
    assert first.counts[State.PENDING] == 12
    engine = WatchedEngine()
    second = run_plan(plan, store, engine.load)
    assert second.ending is Ending.COMPLETE
    asked = {request.id for batch in engine.asked for request in batch}
    assert asked == set(plan.steps) - set(done)


def test_a_resumed_chain_equals_an_undisturbed_one(store, tmp_path, products):
    plan = product_plan(products[:3])
    whole = run_plan(plan, LocalStore(tmp_path / "whole"), WatchedEngine().load)
    half = replace(plan, steps=dict(list(plan.steps.items())[::2]), outputs=(), variants=())
    run_plan(half, store, WatchedEngine().load)
    resumed = run_plan(plan, store, WatchedEngine().load)
    assert resumed.counts[State.CACHED] == 3
    for key in plan.steps:
        ours, theirs = resumed.steps[key].record, whole.steps[key].record
        assert ours.blob == theirs.blob


def test_a_child_reads_the_winners_picture(store, products):
    """Another process stores the parent first, with other pixels: our child must follow it."""
    plan = product_plan(products[:1])
    parent, child = plan.steps
    other = WatchedEngine()

    def someone_else_is_quicker(requests):
        if requests[0].id == parent:
            twisted = replace(
                plan, steps={parent: replace(
                    plan.steps[parent], params=replace(plan.steps[parent].params, prompt="other")
                )}, outputs=(),
            )  # fmt: skip
            run_plan(twisted, LocalStore(store.root), other.load)

    ours = run_plan(plan, store, WatchedEngine(someone_else_is_quicker).load)
    alone = run_plan(plan, LocalStore(store.root.parent / "alone"), WatchedEngine().load)
    assert ours.steps[parent].record.params["prompt"] == "other"
    assert ours.steps[parent].record.blob != alone.steps[parent].record.blob
    assert ours.steps[child].record.blob != alone.steps[child].record.blob


def test_a_damaged_record_is_remade_with_nothing_else(store, products):
    plan = product_plan(products)
    before = run_plan(plan, store, WatchedEngine().load)
    key = list(plan.steps)[4]
    record = before.steps[key].record
    (store.root / "records" / key).write_bytes(b"rotten")
    engine = WatchedEngine()
    after = run_plan(plan, LocalStore(store.root), engine.load)
    assert [request.id for batch in engine.asked for request in batch] == [key]
    assert after.steps[key].record.blob == record.blob
    assert decoded(store, after.steps[key].record) == decoded(store, record)
    assert len(list((store.root / "quarantine").iterdir())) >= 2


@pytest.mark.parametrize("rot", [None, b"rotten", b""])
def test_a_parent_that_is_damaged_or_gone_is_remade_where_it_is_read(store, products, rot):
    plan = product_plan(products[:1])
    parent, child = plan.steps
    made = run_plan(plan, store, WatchedEngine().load)
    blob = store.root / "blobs" / made.steps[parent].record.blob
    (store.root / "records" / child).unlink()
    if rot is None:
        blob.unlink()
    else:
        blob.write_bytes(rot)
    engine = WatchedEngine()
    assert run_plan(plan, store, engine.load).ending is Ending.COMPLETE
    assert engine.prompts == ["put it on a beach", "make it snow"]


def test_a_parent_that_rots_each_time_is_given_up(store, products):
    plan = product_plan(products[:1])

    def rot(event):
        if isinstance(event, Settled) and event.outcome.state is State.DONE:
            (store.root / "blobs" / event.outcome.record.blob).write_bytes(b"rotten")

    unheld = Limits(pixels=0)
    outcome = run_plan(plan, store, WatchedEngine().load, on_event=rot, limits=unheld)
    assert outcome.ending is Ending.FAILED
    assert outcome.counts[State.FAILED] == 1


def test_a_full_disk_stops_the_run_with_what_is_made(store, products, monkeypatch):
    writes = []
    write = atomic.write_all

    def fill(descriptor, data):
        writes.append(data)
        if len(writes) > 20:  # ten thumbnails of sources, then three a picture
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(descriptor, data)

    plan = replace(product_plan(products), outputs=())
    monkeypatch.setattr(atomic, "write_all", fill)
    outcome = run_plan(plan, store, WatchedEngine().load)
    monkeypatch.undo()
    assert outcome.ending is Ending.STOPPED
    assert outcome.why.startswith(f"{store.root}: no space left on device; free some space")
    assert outcome.counts[State.DONE] == 3
    assert run_plan(plan, store, WatchedEngine().load).counts[State.CACHED] == 3


def test_a_disk_that_is_full_for_the_engines_log_is_told_and_stops_nothing(store, products, caplog):
    engine = WatchedEngine(options=EngineOptions(call_log="/dev/full"))
    outcome = run_plan(product_plan(products), store, engine.load)
    assert outcome.counts[State.DONE] == 20
    told = [text for text in caplog.messages if "/dev/full: the engine's log cannot" in text]
    assert {text.partition(";")[0] for text in told} == {
        "/dev/full: the engine's log cannot be written (no space left on device)"
    }


def test_a_place_that_cannot_be_written_stops_before_a_model_is_loaded(tmp_path, products):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tmp").write_text("in the way")
    engine = WatchedEngine()
    outcome = run_plan(product_plan(products), LocalStore(tmp_path / "out"), engine.load)
    assert outcome.ending is Ending.STOPPED
    assert "a file is in the way of a folder" in outcome.why
    assert engine.loads == 0


def test_an_interrupt_while_the_model_loads_is_a_clean_end(store, products):
    plan = product_plan(products)
    run_plan(product_plan(products[:2]), store, WatchedEngine().load)

    def load():
        raise KeyboardInterrupt

    outcome = run_plan(plan, store, load)
    assert outcome.ending is Ending.INTERRUPTED
    assert (outcome.counts[State.CACHED], outcome.counts[State.PENDING]) == (4, 16)


def test_a_model_that_does_not_load_stops_the_run(store, products):
    def load():
        raise ModelError("models/mini: no transformer folder; expected a diffusers model")

    outcome = run_plan(product_plan(products), store, load)
    assert outcome.ending is Ending.STOPPED
    assert outcome.why == (
        "model 'fake' could not be loaded: models/mini: no transformer folder; expected a "
        "diffusers model"
    )
    assert outcome.counts[State.PENDING] == 20


def test_an_engine_with_other_numerics_weights_or_text_length_is_refused(store, products):
    plan = product_plan(products[:1])
    other = replace(plan, numerics=NumericsProfile(dtype="bfloat16"))
    outcome = run_plan(other, store, WatchedEngine().load)
    assert outcome.ending is Ending.STOPPED
    assert "start it with the plan's numerics" in outcome.why
    for changed in ({"digest": "0" * 64}, {"text_tokens": 65}):
        other = replace(plan, model=replace(plan.model, **changed))
        outcome = run_plan(other, store, WatchedEngine().load)
        assert "weights of model 'fake', or its kontext.json, changed since" in outcome.why


def test_many_large_sources_are_opened_a_few_at_a_time(store, products):
    engine = WatchedEngine()
    limits = Limits(pixels=3 * 64 * 48)
    outcome = run_plan(product_plan(products), store, engine.load, limits=limits)
    assert outcome.ending is Ending.COMPLETE
    assert max(map(len, engine.asked)) == 4


def test_a_picture_that_many_steps_look_at_is_opened_once(store, products):
    maker = PlanMaker()
    for scene in ("beach", "street", "forest"):
        step = maker.step("place", scene, [source(products[0])], scene)
        maker.variant(scene, {"scene": scene}, [step])
    engine = WatchedEngine()
    run_plan(maker.plan(), store, engine.load)
    assert len({id(request.contexts[0]) for request in engine.asked[0]}) == 1


def test_events_tell_the_story(store, products):
    events = []
    run_plan(product_plan(products[:1]), store, WatchedEngine().load, on_event=events.append)
    kinds = [type(event).__name__ for event in events if not isinstance(event, Denoising)]
    assert kinds == ["Started", "EngineLoading", "EngineLoaded", "Settled", "Settled"]
    assert events[0] == Started(total=2, missing=2)
    assert events[1] == EngineLoading("fake")


def test_records_hold_what_went_in_and_nothing_of_the_machine(store, products):
    plan = product_plan(products[:1])
    outcome = run_plan(plan, store, WatchedEngine().load)
    place, snow = (end.record for end in outcome.steps.values())
    assert place.sources == (source(products[0]).digest,)
    assert (snow.sources, snow.parents) == ((), (place.key,))
    assert place.params["prompt"] == "put it on a beach"
    assert (place.model, place.model_digest) == ("fake", plan.model.digest)
    assert place.numerics["dtype"] == "float32"
    assert place.geometry["contexts"][0]["source"] == [64, 48]
    text = (store.root / "records" / place.key).read_text()
    assert str(products[0].parent) not in text
    assert os.uname().nodename not in text
