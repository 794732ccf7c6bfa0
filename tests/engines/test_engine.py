"""One engine process behind the engine's protocol: its answers, its deaths, its being stopped."""

from __future__ import annotations

import io
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from flows.engines.errors import EngineDied, EngineStalled
from flows.engines.loading import load_kontext
from flows.engines.messages import sendable
from flows.engines.options import ProcessOptions
from flows.engines.pool import EnginePool
from flows.engines.pooled import PooledEngine
from kontext_engine.api import EditFailure, EngineOptions
from kontext_engine.catalogue import resolve_model
from kontext_engine.errors import Cancelled, ModelError
from kontext_engine.fake import FAKE_SPEC, FakeEngine
from kontext_engine.geometry import Size
from kontext_engine.spec import NumericsProfile
from tests.threads import one_thread  # noqa: F401 - on which bitwise equality is promised

from .samples import (
    OTHER_SPEC,
    SCRIPTED,
    eventually,
    gone,
    limited,
    orders_are_out,
    pixels,
    request,
)


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    shape = (height, width, len(Image.new(mode, (1, 1)).getbands()))
    values = np.random.default_rng(width).integers(0, 256, shape, np.uint8)
    return Image.fromarray(values.squeeze(), mode if mode == "L" else None)


def damaged_picture() -> Image.Image:
    """One whose file is cut off; opened, not read."""
    buffer = io.BytesIO()
    noise(64, 64).save(buffer, "PNG")
    return Image.open(io.BytesIO(buffer.getvalue()[:2000]))


@pytest.fixture
def engine(pool):
    return PooledEngine(pool, FAKE_SPEC)


def pid_of(pool) -> int:
    """The process's, once it is up."""
    assert eventually(lambda: pool.stats()[0].pid)
    return pool.stats()[0].pid


def test_the_answers_are_those_of_the_same_engine_in_process(engine):
    picture = noise(70, 50)
    asked = [
        request("a", contexts=(picture,)),
        request("b", contexts=(picture, noise(64, 64)), size=Size(64, 48)),
        request("c", size=Size(63, 63)),
    ]
    here, there = [], []
    mine = {answer.id: answer for answer in FakeEngine().run(asked, here.append)}
    theirs = {answer.id: answer for answer in engine.run(asked, there.append)}
    assert here == there
    assert mine["c"] == theirs["c"]
    assert isinstance(mine["c"], EditFailure)
    for id_ in ("a", "b"):
        assert mine[id_].image.tobytes() == theirs[id_].image.tobytes()
        assert mine[id_].geometry == theirs[id_].geometry


def test_a_damaged_picture_fails_alone(engine):
    asked = [request("a", contexts=(damaged_picture(),)), request("b", contexts=(noise(64, 64),))]
    answers = {answer.id: answer for answer in engine.run(asked)}
    assert answers["a"].reason.startswith("context picture 1: damaged (")
    assert answers["b"].image.size == (64, 64)


def test_pictures_are_sent_once_each_without_what_no_engine_reads():
    picture, mask = noise(40, 30, "RGBA"), noise(40, 30, "L")
    picture.info["exif"] = b"where the studio is"
    asked = [request("a", contexts=(picture,), mask=mask), request("b", contexts=(picture,))]
    (first, second), failed = sendable(asked)
    assert not failed
    assert first.contexts[0] is second.contexts[0]
    assert first.contexts[0].tobytes() == picture.convert("RGB").tobytes()
    assert first.mask.tobytes() == mask.tobytes()
    assert first.contexts[0].info == {}
    assert replace(first, contexts=(), mask=None) == request("a")


WORKING = "while working on step"


@pytest.mark.parametrize(
    ("deed", "kind", "words"),
    [
        ("KILL@2", EngineDied, f"died of signal 9 (killed; out of memory?) {WORKING} 2 of 4 of a"),
        (
            "BREAK",
            EngineDied,
            f"failed {WORKING} 1 of 4 of a: RuntimeError: CUDA error: an illegal memory access was "
            "encountered",
        ),
        *(
            (
                f"{deed}@3",
                EngineStalled,
                f"gave no sign of life for 10 s {WORKING} 3 of 4 of a, and was killed",
            )
            for deed in ("SLEEP", "FREEZE")
        ),
    ],
)
def test_how_a_process_ended_and_at_what_is_told_by_name(deed, kind, words):
    with EnginePool(1, limited(silence=10.0)) as pool:
        pid = pid_of(pool)
        with pytest.raises(EngineDied) as died:
            list(PooledEngine(pool, FAKE_SPEC).run([request("a", deed)]))
        assert (type(died.value), died.value.began) == (kind, True)
        assert str(died.value) == f"engine 1 (pid {pid}) {words}"
        assert gone(pid)


def test_answers_given_before_the_death_are_kept(engine):
    asked = [request("a", steps=2), request("b", "KILL", steps=4)]
    answers = engine.run(asked)
    assert next(answers).id == "a"
    with pytest.raises(EngineDied, match=r"on step 1 of 4 of b$"):
        next(answers)


def test_cancelling_stops_within_a_step_and_keeps_the_model(pool, engine, tmp_path):
    gate, marks = tmp_path / "gate", tmp_path / "marks"

    def stop(progress):
        if progress.step == 3:
            raise Cancelled("enough")

    # Into its fourth step it goes before it can know; there it waits until it was told, and for as
    # long as its thread that listens may need to read that.
    slow = request("a", f"MARK:{marks} GATE:{gate}@4 DOZE:1@4", steps=1000)
    with pytest.raises(Cancelled):
        list(engine.run([slow], stop))
    orders_are_out()
    gate.touch()
    assert pixels(engine.run([request("b")]))
    steps = [int(line.split()[1]) for line in marks.read_text().splitlines()]
    assert steps == list(range(1, len(steps) + 1))
    assert 2 <= len(steps) <= 5  # told of its third, which it may then end without marking it
    assert (pool.stats()[0].loads, pool.stats()[0].restarts) == (1, 0)


def test_whoever_leaves_early_leaves_a_free_engine(engine, tmp_path):
    gate, marks = tmp_path / "gate", tmp_path / "marks"
    slow = request("b", f"MARK:{marks} GATE:{gate}", steps=1000)
    answers = engine.run([request("a", steps=2), slow])
    assert next(answers).id == "a"
    assert eventually(marks.exists)
    answers.close()
    orders_are_out()
    gate.touch()
    assert pixels(engine.run([request("c")])).keys() == {"c"}
    assert len(marks.read_text().splitlines()) < 1000


def test_another_model_or_numerics_swaps_it_and_counts(pool):
    bf16 = NumericsProfile(dtype="bfloat16")
    for spec, numerics in [(FAKE_SPEC, None), (OTHER_SPEC, None), (OTHER_SPEC, bf16)] * 2:
        for _ in range(2):
            made = pixels(PooledEngine(pool, spec, numerics).run([request("a")]))
            options = EngineOptions(numerics or NumericsProfile())
            assert made == pixels(FakeEngine(spec, options).run([request("a")]))
    assert pool.stats()[0].loads == 6


def test_a_model_that_cannot_be_loaded_is_told_and_the_process_lives(pool, engine):
    absent = PooledEngine(pool, replace(FAKE_SPEC, name="absent"))
    for ask in (absent.load, lambda: list(absent.run([request("a")]))):
        with pytest.raises(ModelError, match=r"^model 'absent' is not on this machine$"):
            ask()
    with pytest.raises(ModelError, match=r"^calls\.jsonl: no space$"):
        list(engine.run([request("a", "REFUSE")]))
    assert pixels(engine.run([request("a")]))
    assert pool.stats()[0].restarts == 0


def test_signals_to_the_group_are_left_to_the_parent(pool, engine):
    engine.load()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid_of(pool), number)
    assert pixels(engine.run([request("a")]))
    assert pool.stats()[0].restarts == 0


def test_what_a_process_is_started_with():
    options = replace(SCRIPTED, gpu="3", threads=2)
    given = {"HOME": "/h", "AWS_SECRET_ACCESS_KEY": "s", "PREFECT_API_KEY": "k"}
    made = options.environment(given)
    assert made.pop("PYTHONPATH")
    assert made == {
        "HOME": "/h", "CUDA_VISIBLE_DEVICES": "3", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2",
    }  # fmt: skip


def test_other_weights_than_planned_are_not_loaded():
    with pytest.raises(ModelError, match="are not those that the run was planned with"):
        load_kontext(replace(resolve_model("kontext-mini"), digest="0" * 64), EngineOptions())


def test_the_shipped_miniature_is_loaded_once_and_paints_the_same():
    from kontext_engine.engine import KontextEngine

    spec = resolve_model("kontext-mini")
    picture = noise(128, 128)
    asked = [
        [request("a", "a red bag", steps=2, contexts=(picture,)), request("b", "snow", steps=1)],
        [request("c", "make it a forest", steps=2, contexts=(picture,))],
    ]
    own = KontextEngine.load(spec, EngineOptions())
    # On one thread each: in how many parts a sum is taken decides the last bits.
    with EnginePool(1, ProcessOptions(threads=1)) as pool:
        for requests in asked:
            assert pixels(PooledEngine(pool, spec).run(requests)) == pixels(own.run(requests))
        assert pool.stats()[0].loads == 1
