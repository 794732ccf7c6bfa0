"""The model folder: loads in diffusers' pipeline and in the engine, with the same pictures."""

import json

import numpy as np
import pytest
import torch
from diffusers import FluxKontextPipeline

from kontext_engine.api import EditRequest
from kontext_engine.catalogue import resolve_model
from kontext_engine.engine import KontextEngine
from kontext_engine.geometry import Size
from kontext_engine.training import miniature
from kontext_engine.training.autoencoder import new_autoencoder
from kontext_engine.training.miniature import (
    SCHEDULER,
    TEXT_TOKENS,
    new_miniature,
    read_miniature,
    write_model,
)
from tests.engine.tiny import amplify, drawn, gradient, levels, peer_of
from tests.training.test_flow import assert_bitwise_equal
from tests.training.trainee import NARROW

STEPS = 3
SIZE = Size(64, 48)


@pytest.fixture(scope="module")
def written(tmp_path_factory, tokenizers):
    """(modules, autoencoder, folder): random weights, loud enough that every input matters."""
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        for name, value in NARROW.items():
            patch.setattr(miniature, name, value)
        torch.manual_seed(2)
        model, autoencoder = new_miniature(tokenizers), new_autoencoder()
        torch.nn.init.normal_(model.transformer.proj_out.weight, std=0.1)
        amplify(model.transformer, 2.0)
        amplify(model.text_encoder, 4.0)
        amplify(autoencoder, 1.5)
    autoencoder.register_to_config(shift_factor=0.06, scaling_factor=1.4)
    folder = tmp_path_factory.mktemp("written") / "model"
    write_model(folder, model, autoencoder, torch.bfloat16)
    return model, autoencoder, folder


@pytest.fixture(scope="module")
def peer(written):
    return peer_of(FluxKontextPipeline, written[2], dtype=torch.float32)


@pytest.mark.parametrize("editing", [True, False])
def test_pipeline_and_engine_make_the_same_picture(editing, written, peer):
    engine = KontextEngine.load(resolve_model(written[2]))
    prompt, contexts = "put the cup on a sandy beach", (gradient(SIZE),) if editing else ()
    (ours,) = engine.run([EditRequest("a", prompt, 5, STEPS, contexts, size=SIZE)])
    (theirs,) = drawn(
        peer,
        SIZE,
        STEPS,
        image=contexts[0] if editing else None,
        prompt=prompt,
        max_sequence_length=TEXT_TOKENS,
        generator=torch.Generator().manual_seed(5),
    )
    assert ours.image.size == theirs.size == SIZE
    assert levels(ours.image, theirs).max() <= 1
    assert np.asarray(theirs).std() > 10
    (other,) = engine.run([EditRequest("a", "make it night", 5, STEPS, contexts, size=SIZE)])
    assert levels(ours.image, other.image).max() > 1


def test_a_bfloat16_folder_is_the_rounded_model_and_the_model_stays_as_it_is(written):
    model, autoencoder, folder = written
    read = read_miniature(folder)
    rounded = {k: v.bfloat16().float() for k, v in model.modules().state_dict().items()}
    assert_bitwise_equal(dict(read.modules().state_dict()), rounded)
    assert {p.dtype for p in (*model.modules().parameters(), *autoencoder.parameters())} == {
        torch.float32
    }
    # Not even rounded and widened again: these may be the averaged weights of a running training.
    assert any(not torch.equal(v, rounded[k]) for k, v in model.modules().state_dict().items())


def test_the_folder_says_what_it_is(written):
    folder = written[2]
    assert json.loads((folder / "model_index.json").read_text())["_class_name"] == (
        "FluxKontextPipeline"
    )
    saved = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    assert saved.items() >= SCHEDULER.items()
    spec = resolve_model(folder)
    assert (spec.name, spec.text_tokens, spec.default_steps) == ("kontext-mini", TEXT_TOKENS, 4)
    assert Size(128, 128) in spec.sizes
    assert spec.multiple == 16
    assert not spec.guidance_embedded


def test_writing_again_replaces_the_folder_as_a_whole(written, tmp_path):
    model, autoencoder, _ = written
    folder = tmp_path / "model"
    write_model(folder, model, autoencoder, torch.float32)
    (folder / "left-over.txt").write_text("of the former")
    write_model(folder, model, autoencoder, torch.float32)
    assert not (folder / "left-over.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert_bitwise_equal(
        dict(read_miniature(folder).modules().state_dict()), dict(model.modules().state_dict())
    )


def test_the_full_miniature_has_the_size_it_is_to_have(tokenizers):
    model = new_miniature(tokenizers)
    count = sum(p.numel() for p in model.transformer.parameters())
    assert 6.5e6 < count < 8.0e6
    autoencoder = sum(p.numel() for p in new_autoencoder().parameters())
    everything = sum(p.numel() for p in model.modules().parameters()) + autoencoder
    assert 2 * everything < 40e6  # bytes in bfloat16
    assert model.text_encoder.config.eos_token_id != 2  # that would fall into legacy pooling
    assert float(model.transformer.proj_out.weight.detach().abs().max()) == 0.0
