import json
from dataclasses import fields, replace

import pytest
from PIL import Image

from kontext_engine.api import (
    Cancelled,
    EditFailure,
    EditRequest,
    EditResult,
    EngineOptions,
    Phase,
)
from kontext_engine.fake import FakeEngine, FakeFaults
from kontext_engine.geometry import Fit, Size

BASE = EditRequest("a", "make it snow", 1, 3, (Image.new("RGB", (40, 20), (9, 8, 7)),))
CHANGES = {
    "prompt": "make it rain",
    "seed": 2,
    "steps": 4,
    "contexts": (Image.new("RGB", (40, 20), (9, 8, 6)),),
    "size": Size(64, 128),
    "fit": Fit.STRETCH,
    "guidance": 1.0,
    "negative_prompt": "night",
    "true_cfg": 2.0,
    "mask": Image.new("L", (40, 20)),
}


def picture(request, **options):
    (answer,) = FakeEngine(**options).run([request])
    assert isinstance(answer, EditResult), answer
    return answer.image.tobytes()


def test_the_picture_is_a_function_of_the_request_alone():
    assert picture(BASE) == picture(replace(BASE, id="b"))
    assert picture(BASE) == picture(BASE, options=EngineOptions(max_batch=1))


@pytest.mark.parametrize("name", CHANGES)
def test_every_field_changes_the_picture(name):
    assert picture(BASE) != picture(replace(BASE, **{name: CHANGES[name]}))


def test_no_field_is_forgotten():
    # A cut and a look are no pictures of the model's; a batch moves none of these.
    own = {"id", "cutout", "cutter", "judge", "batch"}
    assert set(CHANGES) | own == {item.name for item in fields(EditRequest)}


def test_faults_sizes_and_refusals():
    faults = FakeFaults(frozenset({"b"}), ("poison",), retryable=True)
    requests = [
        BASE,
        replace(BASE, id="b"),
        replace(BASE, id="c", prompt="a poison bottle"),
        replace(BASE, id="d", size=Size(50, 50)),
        replace(BASE, id="e", size=Size(32, 64)),
    ]
    answers = {answer.id: answer for answer in FakeEngine(faults=faults).run(requests)}
    assert answers["b"] == EditFailure("b", "failed on purpose", retryable=True)
    assert answers["c"] == EditFailure("c", "failed on purpose", retryable=True)
    assert answers["d"].reason.startswith("size 50x50: both sides must be multiples of 16")
    assert answers["e"].image.size == (32, 64)
    assert answers["a"].geometry.contexts[0].source == (40, 20)


def test_progress_cancellation_and_the_call_log(tmp_path):
    log = tmp_path / "calls.jsonl"
    engine = FakeEngine(options=EngineOptions(max_batch=1, call_log=str(log)))
    told = []

    def on_step(progress):
        told.append((progress.ids[0], progress.phase, progress.step))
        if progress.ids == ("b",) and progress.step == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        list(engine.run([BASE, replace(BASE, id="b")], on_step))
    assert told == [
        ("a", Phase.ENCODE, 0),
        ("a", Phase.DENOISE, 1),
        ("a", Phase.DENOISE, 2),
        ("a", Phase.DENOISE, 3),
        ("a", Phase.DECODE, 3),
        ("b", Phase.ENCODE, 0),
        ("b", Phase.DENOISE, 1),
    ]
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(event["event"], event["id"]) for event in events] == [
        ("start", "a"),
        ("done", "a"),
        ("start", "b"),
    ]
