"""Beginning from another model's weights, whose words and latents may be others."""

import numpy as np
import pytest
import torch

from kontext_engine.conditioning import pack
from kontext_engine.training.inherit import carry_ends, inherit
from kontext_engine.training.miniature import new_miniature
from kontext_engine.training.shards import encode
from kontext_engine.training.tokenizers import build_tokenizers
from tests.training.test_autoencoder import narrow_autoencoder

SENTENCE = "put the subject on a sandy beach"


@pytest.fixture
def other_words(tmp_path):
    build_tokenizers([SENTENCE, "zebra crossing"], tmp_path, 32, 32)
    return tmp_path


def test_words_keep_their_meaning_in_another_vocabulary(narrow, other_words):
    former = narrow()
    with torch.random.fork_rng():
        torch.manual_seed(9)
        model = new_miniature(other_words)
    assert len(model.tokenizer_2) != len(former.tokenizer_2)
    assert inherit(model, former) == []
    states = []
    for one in (model, former):
        ids = torch.tensor([one.tokenizer_2(SENTENCE).input_ids])
        clip = torch.tensor([one.tokenizer(SENTENCE).input_ids])
        with torch.no_grad():
            states.append((one.text_encoder_2(ids)[0], one.text_encoder(clip).pooler_output))
    for mine, theirs in zip(*states, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)
    mine, theirs = (one.transformer.state_dict() for one in (model, former))
    assert all(torch.equal(mine[name], value) for name, value in theirs.items())


def test_what_has_another_shape_begins_anew_and_is_named(narrow, tokenizers, monkeypatch):
    former = narrow()
    monkeypatch.setattr("kontext_engine.training.miniature.BLOCKS", (1, 2))
    model = new_miniature(tokenizers)
    anew = inherit(model, former)
    assert anew
    assert all(name.startswith("transformer.single_transformer_blocks.1.") for name in anew)


def test_words_of_another_width_begin_anew(narrow, tokenizers, monkeypatch):
    former = narrow()
    monkeypatch.setattr("kontext_engine.training.miniature.POOLED", 64)
    anew = inherit(new_miniature(tokenizers), former)
    assert "text_encoder.embeddings.token_embedding.weight" in anew


def test_ends_follow_the_latents_to_another_autoencoder(narrow, studio):
    """Latents that are those of before, turned and stretched: the same velocity, turned alike."""
    model = narrow()
    torch.nn.init.normal_(model.transformer.proj_out.weight, std=0.1)
    before = {k: v.clone() for k, v in model.transformer.state_dict().items()}
    former, new = narrow_autoencoder(), narrow_autoencoder()
    new.load_state_dict(former.state_dict())
    former.register_to_config(shift_factor=0.2, scaling_factor=1.5)
    new.register_to_config(shift_factor=-0.1, scaling_factor=3.0)
    pictures = [np.random.default_rng(k).integers(0, 256, (8, 64, 64, 3), np.uint8) for k in (0, 1)]
    explained = carry_ends(model, new, former, pictures)
    assert explained == pytest.approx(1.0, abs=1e-3)
    old, now = (pack(encode(one, pictures[0])) for one in (former, new))
    ends = model.transformer
    with torch.no_grad():
        wanted = old @ before["x_embedder.weight"].T + before["x_embedder.bias"]
        assert torch.allclose(ends.x_embedder(now), wanted, atol=2e-2)
        hidden = torch.randn(5, before["proj_out.weight"].shape[1])
        was = hidden @ before["proj_out.weight"].T + before["proj_out.bias"]
        assert torch.allclose(ends.proj_out(hidden), 2 * was, atol=2e-2)
