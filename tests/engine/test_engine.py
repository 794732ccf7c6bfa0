import json
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kontext_engine.api import (
    Cancelled,
    EditFailure,
    EditRequest,
    EditResult,
    EngineOptions,
    InBatch,
    Phase,
)
from kontext_engine.engine import KontextEngine
from kontext_engine.geometry import Fit, Size
from kontext_engine.spec import ContextIds, NumericsProfile
from tests.engine.tiny import FULL, gradient, levels, save_tiny_model


def edit(id_="a", **changes: Any) -> EditRequest:
    plain = EditRequest(id_, "Make the red shoe blue", 1, 3, (gradient((64, 64)),))
    return replace(plain, **changes)


def answers(engine, requests, on_step=None):
    return {answer.id: answer for answer in engine.run(requests, on_step)}


def picture(engine, request):
    (answer,) = engine.run([request])
    assert isinstance(answer, EditResult), answer
    return answer.image


def varied_edits():
    """Eight edits of one shape that differ in all that may differ within a batch."""
    prompts = ["Make the red shoe blue", "remove the mask", "a watch at night", ""]
    return [
        edit(
            f"e{number}",
            prompt=prompts[number % 4],
            seed=number,
            guidance=1.0 + number,
            contexts=(gradient((64, 64), float(number)),),
        )
        for number in range(8)
    ]


def assert_same_pictures(alone, together):
    """Contract 4, float32: at most one level of 255, in at most 0.006 % of values."""
    differences = np.stack([levels(alone[id_].image, together[id_].image) for id_ in alone])
    assert differences.max() <= 1
    assert (differences > 0).mean() <= 6e-5


def test_a_request_gives_the_same_picture_in_any_batch(full_spec):
    edits = varied_edits()
    alone = answers(KontextEngine.load(full_spec, EngineOptions(max_batch=1)), edits)
    together = answers(KontextEngine.load(full_spec, EngineOptions(max_batch=8)), edits)
    reordered = answers(KontextEngine.load(full_spec, EngineOptions(max_batch=3)), edits[::-1])
    assert_same_pictures(alone, together)
    assert_same_pictures(alone, reordered)
    everyone = [np.asarray(answer.image).tobytes() for answer in alone.values()]
    assert len(set(everyone)) == 8
    assert [tuple(answer.batch) for answer in alone.values()] == [(0, 1)] * 8
    # Where a request was computed, among whatever mates, decides the last bits, too.
    again = KontextEngine.load(full_spec, EngineOptions(max_batch=1))
    for made, number in product((together, reordered), range(8)):
        before = made[f"e{number}"]
        (after,) = again.run([replace(edits[number], batch=before.batch)])
        assert after.batch == before.batch
        assert after.image.tobytes() == before.image.tobytes()


def test_true_guidance_in_a_batch_is_each_requests_own(full_spec):
    edits = [
        replace(request, true_cfg=1.5 + number / 2, negative_prompt=negative)
        for number, (request, negative) in enumerate(
            zip(varied_edits()[:3], ["night", "a mask", None], strict=True)
        )
    ]
    edits.append(edit("without"))
    alone = answers(KontextEngine.load(full_spec, EngineOptions(max_batch=1)), edits)
    together = answers(KontextEngine.load(full_spec, EngineOptions(max_batch=8)), edits)
    assert_same_pictures(alone, together)
    plain = answers(KontextEngine.load(full_spec), varied_edits()[:1])["e0"]
    assert levels(plain.image, alone["e0"].image).max() > 10


def test_neither_global_randomness_nor_history_enters(full_engine):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = picture(full_engine, edit())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    picture(full_engine, edit(seed=9, contexts=()))
    assert picture(full_engine, edit()).tobytes() == first.tobytes()


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a watch"},
        {"seed": 2},
        {"steps": 4},
        {"guidance": 4.0},
        {"contexts": ()},
        {"contexts": (gradient((64, 64), 2.0),)},
        {"contexts": (gradient((64, 64)), gradient((32, 64)))},
        {"true_cfg": 3.0, "negative_prompt": "night"},
    ],
)
def test_everything_asked_for_moves_the_picture(change, full_engine):
    moved = levels(picture(full_engine, edit()), picture(full_engine, edit(**change)))
    assert moved.max() >= 5


def test_several_contexts_by_index_and_by_offset(full_spec, tmp_path):
    two = edit(contexts=(gradient((64, 64)), gradient((96, 48), 2.0)))
    offset = KontextEngine.load(full_spec)
    index = KontextEngine.load(
        save_tiny_model(tmp_path / "index", replace(FULL, context_ids=ContextIds.INDEX))
    )
    (made,) = offset.run([two])
    assert [placement.size for placement in made.geometry.contexts] == [(64, 64), (96, 48)]
    assert levels(made.image, picture(index, two)).max() >= 5
    # One context has the same positions either way.
    assert levels(picture(offset, edit()), picture(index, edit())).max() == 0


def test_sizes_come_back_as_asked(full_engine):
    wide, pad = gradient((90, 60)), gradient((300, 200))
    cases = {
        "follow": edit("follow", contexts=(wide,)),
        "size": edit("size", contexts=(wide,), size=Size(32, 96)),
        "pad": edit("pad", contexts=(pad,), fit=Fit.PAD),
        "text": edit("text", contexts=()),
    }
    made = answers(full_engine, list(cases.values()))
    assert {name: answer.image.size for name, answer in made.items()} == {
        "follow": (80, 48),
        "size": (32, 96),
        "pad": (72, 48),
        "text": (64, 64),
    }
    assert all(answer.image.size == answer.geometry.output for answer in made.values())


def test_requests_are_grouped_by_shape_and_steps_and_split(full_spec):
    engine = KontextEngine.load(full_spec, EngineOptions(max_batch=2))
    batches = []

    def on_step(progress):
        if progress.phase is Phase.ENCODE:
            batches.append(progress.ids)

    requests = [
        edit("a"),
        edit("b", steps=2),
        edit("c"),
        edit("d", size=Size(96, 48)),
        edit("e", true_cfg=2.0),
        edit("f"),
        edit("g", contexts=()),
    ]
    assert len(answers(engine, requests, on_step)) == 7
    assert batches == [("a", "c"), ("f",), ("b",), ("d",), ("e",), ("g",)]


def test_progress_is_told_after_each_step(full_engine):
    told = []
    answers(full_engine, [edit()], told.append)
    assert [(progress.phase, progress.step) for progress in told] == [
        (Phase.ENCODE, 0),
        (Phase.DENOISE, 1),
        (Phase.DENOISE, 2),
        (Phase.DENOISE, 3),
        (Phase.DECODE, 3),
    ]
    assert {(progress.ids, progress.steps) for progress in told} == {(("a",), 3)}


def test_cancelling_stops_within_one_step_and_keeps_what_was_done(full_spec):
    engine = KontextEngine.load(full_spec, EngineOptions(max_batch=1))
    steps = []

    def on_step(progress):
        steps.append((progress.ids, progress.step))
        if progress.ids == ("b",) and progress.step == 2:
            raise Cancelled("stop")

    done = []
    with pytest.raises(Cancelled):
        for answer in engine.run([edit("a"), edit("b"), edit("c")], on_step):
            done.append(answer.id)
    assert done == ["a"]
    assert steps[-1] == (("b",), 2)
    assert isinstance(answers(engine, [edit("b")])["b"], EditResult)


def test_a_bad_request_fails_alone(full_engine):
    made = answers(
        full_engine,
        [
            edit("good"),
            edit("size", size=Size(100, 64)),
            edit("many", contexts=(gradient((64, 64)),) * 4),
            edit("steps", steps=0),
            edit("seed", seed=-1),
            edit("guidance", guidance=float("nan")),
            edit("thin", contexts=(gradient((1000, 3)),)),
            edit("mask", mask=Image.new("L", (64, 48))),
            edit("nothing to hold", mask=Image.new("L", (64, 64)), contexts=()),
            edit("not on the target", mask=Image.new("L", (64, 64)), fit=Fit.WHOLE),
        ],
    )
    reasons = {name: getattr(answer, "reason", None) for name, answer in made.items()}
    assert reasons == {
        "good": None,
        "size": "size 100x64: both sides must be multiples of 16; the nearest is 96x64",
        "many": "4 context pictures: tiny takes at most 3",
        "steps": "steps: 0 is not between 1 and 1000",
        "seed": "seed: -1 is not between 0 and 2^63 - 1",
        "guidance": "guidance: nan is not a finite number of at least 0",
        "thin": "context picture 1 is 1000x3: sides differ by more than 8 to 1, "
        "which the model cannot place; crop it first",
        "mask": "mask: its size 64x48 is not the context picture's, 64x64",
        "nothing to hold": "mask: there is no context picture that lies on the target",
        "not on the target": "mask: there is no context picture that lies on the target",
    }


def test_a_context_that_breaks_while_decoding_fails_alone(full_engine, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / "cut.png"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:4000])
    with Image.open(path) as cut:  # the header is fine; the pixels fail when they are first read
        made = answers(full_engine, [edit("good"), edit("cut", contexts=(cut,))])
    assert isinstance(made["good"], EditResult)
    assert made["cut"].reason.startswith("context picture 1: damaged (")


def test_numbers_that_overflow_fail_their_request_only(full_spec, monkeypatch):
    engine = KontextEngine.load(full_spec)
    decode = engine._codec.decode

    def poisoned(latents):
        pixels = decode(latents).clone()
        pixels[1] = float("nan")
        return pixels

    monkeypatch.setattr(engine._codec, "decode", poisoned)
    made = answers(engine, [edit("a"), edit("b", seed=2), edit("c", seed=3)])
    assert [type(made[id_]) for id_ in "abc"] == [EditResult, EditFailure, EditResult]
    assert "not finite" in made["b"].reason


def test_out_of_memory_halves_the_batch_then_fails_alone(full_spec, monkeypatch):
    engine = KontextEngine.load(full_spec, EngineOptions(max_batch=8))
    expected = answers(engine, varied_edits())
    decode, sizes = engine._codec.decode, []

    def scarce(latents):
        sizes.append(len(latents))
        if len(latents) > 2:
            raise torch.OutOfMemoryError("no room")
        return decode(latents)

    monkeypatch.setattr(engine._codec, "decode", scarce)
    assert_same_pictures(expected, answers(engine, varied_edits()))
    assert sizes == [8, 4, 2, 2, 4, 2, 2]
    (alone,) = engine.run([replace(varied_edits()[0], batch=InBatch(4, 6))])
    assert alone.batch == (0, 1)

    monkeypatch.setattr(engine._codec, "decode", lambda latents: scarce(latents.repeat(3, 1, 1, 1)))
    made = answers(engine, varied_edits()[:2])
    assert all(isinstance(answer, EditFailure) and answer.retryable for answer in made.values())
    assert made["e0"].reason.startswith("out of memory at 64x64 alone")


def test_the_call_log_counts_computations(full_spec, tmp_path):
    log = tmp_path / "logs" / "calls.jsonl"
    engine = KontextEngine.load(full_spec, EngineOptions(max_batch=2, call_log=str(log)))
    answers(engine, [edit("a"), edit("b"), edit("c"), edit("bad", steps=0)])
    answers(engine, [edit("a")])
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["event"], line["id"]) for line in lines] == [
        ("failed", "bad"),
        ("start", "a"),
        ("start", "b"),
        ("done", "a"),
        ("done", "b"),
        ("start", "c"),
        ("done", "c"),
        ("start", "a"),
        ("done", "a"),
    ]
    assert all(line["pid"] and line["time"] for line in lines)


def test_embeddings_and_latents_are_computed_once(full_spec, monkeypatch):
    engine = KontextEngine.load(full_spec)
    calls = []
    encode, embed = engine._codec.encode, engine._text._embed
    monkeypatch.setattr(engine._codec, "encode", lambda x: (calls.append("vae"), encode(x))[1])
    monkeypatch.setattr(engine._text, "_embed", lambda x: (calls.append(x), embed(x))[1])
    answers(engine, [edit("a"), edit("b", seed=2)])
    answers(engine, [edit("c", steps=2), edit("d", prompt="other", size=Size(96, 48))])
    assert calls == ["Make the red shoe blue", "vae", "other", "vae"]


def test_notes_tell_what_was_ignored_or_cut(full_engine, plain_engine):
    (made,) = plain_engine.run([edit(guidance=3.0, contexts=(gradient((8, 8)),))])
    assert made.notes == ("guidance 3 was ignored: tiny has no guidance input",)
    (made,) = plain_engine.run([edit(contexts=(gradient((8, 8)),))])
    assert made.notes == ()
    (made,) = full_engine.run([edit(negative_prompt="night", size=Size(96, 48))])
    assert made.notes == (
        "the negative prompt was ignored: it acts only with true_cfg above 1",
        "context picture 1: 50% of its area was cut off to bring 64x64 to 96x48 "
        "(fit: crop; fit: whole would keep it all)",
    )
    (made,) = full_engine.run([edit(size=Size(96, 48), fit=Fit.STRETCH)])
    assert made.notes == ("context picture 1 was stretched from 64x64 to 96x48 (fit: stretch)",)
    (made,) = full_engine.run([edit(prompt="shoe " * 40)])
    assert made.notes == ("the prompt is longer than 24 tokens: its end was ignored",)
    (made,) = full_engine.run([edit(contexts=(gradient((1, 1)),))])
    assert made.notes == (
        "context picture 1 is only 1x1: it was enlarged 64 times; "
        "a larger original would show more",
    )


def test_bfloat16_makes_the_same_kind_of_picture(full_spec):
    rough = KontextEngine.load(full_spec, EngineOptions(NumericsProfile(dtype="bfloat16")))
    exact = KontextEngine.load(full_spec)
    request = varied_edits()[0]
    close = levels(picture(rough, request), picture(exact, request)).mean()
    other = levels(picture(exact, replace(request, seed=9)), picture(exact, request)).mean()
    assert 0 < close < other / 4


def test_what_a_mask_leaves_black_is_held_on_the_source(full_spec, monkeypatch):
    """All held, the source comes out as the autoencoder has it; half held, its half of latents."""
    engine, latents = KontextEngine.load(full_spec), []
    decode = engine._codec.decode
    monkeypatch.setattr(engine._codec, "decode", lambda x: latents.append(x) or decode(x))
    source = gradient((64, 64))
    own = engine._encode(source)
    scale = engine._codec.scale
    half = Image.new("L", (64, 64))
    half.paste(255, (32 + scale - 1, 0, 64, 64))  # begins within a latent pixel, which is free
    two = (source, gradient((96, 48), 2.0))
    for mask, contexts in ((Image.new("L", (64, 64)), (source,)), (half, (source,)), (half, two)):
        picture(engine, edit(mask=mask, contexts=contexts))
    everything, one, several = latents
    middle = 32 // scale
    assert torch.allclose(everything, own, atol=1e-6)
    for made in (one, several):
        assert torch.allclose(made[..., :middle], own[..., :middle], atol=1e-6)
        assert (made[..., middle:] - own[..., middle:]).abs().amax(dim=(0, 1, 2)).min() > 1e-3
    latents.clear()
    picture(engine, edit(mask=Image.new("L", (64, 64), 255)))
    picture(engine, edit())
    assert torch.equal(*latents)


def test_held_requests_do_not_depend_on_their_mates(full_spec):
    masks = [Image.new("L", (64, 64)) for _ in range(3)]
    for number, mask in enumerate(masks):
        mask.paste(255, (8 * number, 8, 8 * number + 30, 50))
    edits = [replace(one, mask=mask) for one, mask in zip(varied_edits(), masks, strict=False)]
    edits.append(varied_edits()[3])
    alone = answers(KontextEngine.load(full_spec, EngineOptions(max_batch=1)), edits)
    together = answers(KontextEngine.load(full_spec, EngineOptions(max_batch=8)), edits)
    assert_same_pictures(alone, together)
