"""What a model has drawn, as crops for its decoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kontext_engine.evaluation.score import change_mask
from kontext_engine.training import autoencoder as module
from kontext_engine.training.autoencoder import AutoencoderRun, train_autoencoder
from kontext_engine.training.crops import EDITS, Drawn, draw
from kontext_engine.training.shards import encode
from tests.training.norms import NORMS
from tests.training.test_autoencoder import UNSEEN, Small, narrow_autoencoder

pytestmark = NORMS

SIZE = (40, 32)


@pytest.fixture
def autoencoder():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = narrow_autoencoder().eval()
    made.register_to_config(shift_factor=0.5, scaling_factor=2.0)
    return made


def test_edits_are_drawn_as_the_engine_does(narrow, autoencoder, studio):
    model = narrow()
    torch.nn.init.zeros_(model.transformer.proj_out.bias)
    drawn = draw(model, autoencoder, studio, range(7, 9), (32, 32))
    count = 2 * EDITS
    assert drawn.latents.shape == (count, 16, 4, 4)
    assert drawn.truths.shape == (count, 32, 32, 3)
    assert drawn.kept.shape == (count, 32, 32)
    assert 0.05 < drawn.kept.mean() < 1
    # Untrained it has no velocity at all: what comes out is its noise, in the decoder's scale.
    noise = torch.randn((EDITS, 16, 4, 4), generator=torch.Generator().manual_seed(8))
    assert torch.allclose(drawn.latents[EDITS:], noise / 2.0 + 0.5, atol=1e-5)
    again = draw(model, autoencoder, studio, range(8, 9), (32, 32))
    assert torch.equal(again.latents, drawn.latents[EDITS:])
    assert np.array_equal(again.truths, drawn.truths[EDITS:])


def test_a_model_is_asked_with_words_and_the_source(narrow, autoencoder, studio, monkeypatch):
    """A transformer that hands on its context draws the source itself."""
    model, asked = narrow(), []

    class Copying(torch.nn.Module):
        def forward(self, hidden_states, encoder_hidden_states, timestep, **_):
            tokens = hidden_states.shape[1] // 2
            own, context = hidden_states[:, :tokens], hidden_states[:, tokens:]
            asked.append(encoder_hidden_states)
            return (torch.cat([(own - context) / timestep[:, None, None], context], 1),)

    model.transformer = Copying()
    drawn = draw(model, autoencoder, studio, range(3, 4), (32, 32))
    looks = encode(autoencoder, studio.family(3, (32, 32)).pictures) / 2.0 + 0.5
    apart = (drawn.latents[:, None] - looks[None]).abs().amax(dim=(2, 3, 4))
    nearest = apart.argmin(1)
    assert apart.amin(1).max() < 1e-3
    # What is told to be kept is what source and truth have in common.
    for k, look in enumerate(nearest):
        source = studio.family(3, (32, 32)).pictures[look]
        assert np.array_equal(drawn.kept[k], ~change_mask(source, drawn.truths[k][None]))
    assert len({tuple(one.flatten().tolist()) for one in asked[0]}) == EDITS  # each has its words


def test_crops_of_latents_and_pixels_lie_in_one_place():
    row, column = np.indices((4, 5)).astype(np.float32)
    place = np.stack([row, column] + [np.zeros_like(row)] * 14)
    large = place.repeat(8, axis=1).repeat(8, axis=2)
    truths = np.stack([large[0], large[1], large[0]], axis=2).astype(np.uint8) * 10
    drawn = Drawn(torch.from_numpy(place)[None], truths[None], (large[0] > 1)[None])
    seen = set()
    for step in range(150):
        latents, pixels, kept = drawn.batch(step, 2, 16, seed=0)
        assert latents.shape == (2, 16, 2, 2)
        assert pixels.shape == (2, 3, 16, 16)
        levels = (pixels + 1) * 127.5
        for k in range(2):
            assert torch.allclose(levels[k, 0, ::8, ::8], latents[k, 0] * 10, atol=0.1)
            assert torch.allclose(levels[k, 1, ::8, ::8], latents[k, 1] * 10, atol=0.1)
            assert torch.equal(kept[k, 0, ::8, ::8], latents[k, 0] > 1)
        seen.add((float(latents[0, 0, 0, 0]), float(latents[0, 1, 0, 0])))
    assert seen == {(float(y), float(x)) for y in range(3) for x in range(4)}
    assert torch.equal(drawn.batch(3, 2, 16, seed=0)[0], drawn.batch(3, 2, 16, seed=0)[0])


def test_a_decoder_learns_from_what_was_drawn_where_that_is_kept(studio, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "new_autoencoder", narrow_autoencoder)
    narrow_autoencoder().save_pretrained(tmp_path / "vae")
    run = AutoencoderRun(tmp_path / "run", steps=4, batch=4, crop=16, warmup=1, decoder_only=True)
    truths = np.full((1, 32, 40, 3), 255, np.uint8)
    kept = np.ones((1, 32, 40), bool)
    drawn = Drawn(torch.zeros(1, 16, 4, 5), truths, kept)
    ways = {
        name: train_autoencoder(
            AutoencoderRun(**{**_fields(run), "folder": tmp_path / name}),
            Small(studio), UNSEEN, init=tmp_path / "vae", drawn=one,
        )
        for name, one in (("without", None), ("with", drawn))
    }  # fmt: skip
    latents, pixels, mask = drawn.batch(0, 2, 16, 0)
    losses = {
        name: module._drawn_loss(one, latents, pixels, mask, run).item()
        for name, one in ways.items()
    }
    assert losses["with"] < losses["without"]
    hardly = module._drawn_loss(ways["with"], latents, pixels, ~mask, run).item()
    assert hardly < 0.2 * losses["with"]
    for name, value in ways["with"].encoder.state_dict().items():
        assert torch.equal(value, ways["without"].encoder.state_dict()[name])


def _fields(run):
    return {name: getattr(run, name) for name in run.__dataclass_fields__}
