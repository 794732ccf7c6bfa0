"""The autoencoder's training: crops by step, exact resume, and a decoder refined alone."""

import math
import os
import signal

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from kontext_engine.training import autoencoder as module
from kontext_engine.training import checkpoint
from kontext_engine.training.autoencoder import (
    AutoencoderRun,
    CropSource,
    new_autoencoder,
    psnr,
    train_autoencoder,
)
from kontext_engine.training.studio import Family
from tests.training.test_flow import assert_bitwise_equal

UNSEEN = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)


NARROW = (8, 8, 16, 16)


def narrow_autoencoder():
    """The miniature's architecture with an eighth of its channels."""
    full = new_autoencoder().config
    return AutoencoderKL.from_config(full, block_out_channels=NARROW)


@pytest.fixture(autouse=True)
def small_scale(monkeypatch):
    monkeypatch.setattr(module, "RING", 3)
    monkeypatch.setattr(module, "new_autoencoder", narrow_autoencoder)


class Small:
    """A studio whose pictures are small, so that a ring of them is rendered at once."""

    def __init__(self, studio):
        self.studio = studio

    def family(self, seed, _):
        return self.studio.family(seed, (40, 32))


@pytest.fixture
def small(studio):
    return Small(studio)


def run_in(folder, **options):
    settings = {"steps": 4, "batch": 2, "crop": 16, "warmup": 2, "save_every": 2} | options
    return AutoencoderRun(folder, **settings)


def test_crops_are_a_function_of_the_step(small):
    walked = CropSource(small, seed=3)
    batches = [walked.batch(step, 3, 16) for step in range(10)]
    assert batches[0].shape == (3, 3, 16, 16)
    assert batches[0].dtype == torch.float32
    assert min(float(b.min()) for b in batches) >= -1.0
    assert max(float(b.max()) for b in batches) <= 1.0
    assert torch.equal(CropSource(small, seed=3).batch(9, 3, 16), batches[9])
    assert not torch.equal(batches[8], batches[9])
    assert not torch.equal(CropSource(small, seed=4).batch(9, 3, 16), batches[9])


def test_a_resumed_run_equals_an_undisturbed_one_to_the_bit(small, tmp_path):
    straight = train_autoencoder(run_in(tmp_path / "straight"), small, UNSEEN)
    # A run of four steps that is stopped after two: the learning rate knows the whole length.
    broken = run_in(tmp_path / "broken")

    class Pulled(Exception):
        pass

    def pull(*_):
        raise Pulled

    with pytest.raises(Pulled):
        train_autoencoder(broken, small, UNSEEN, report=pull)
    assert checkpoint.load_newest(broken.folder)["step"] == 2
    resumed = train_autoencoder(broken, small, UNSEEN)
    assert_bitwise_equal(resumed.state_dict(), straight.state_dict())
    assert_bitwise_equal(
        checkpoint.load_newest(broken.folder), checkpoint.load_newest(tmp_path / "straight")
    )


def test_ctrl_c_saves_a_whole_step(small, tmp_path):
    class Pressed(Small):
        def family(self, seed, size):
            os.kill(os.getpid(), signal.SIGINT) if seed == 3 else None
            return super().family(seed, size)

    run = run_in(tmp_path, steps=20, save_every=50)
    with pytest.raises(KeyboardInterrupt):
        train_autoencoder(run, Pressed(small.studio), UNSEEN)
    assert checkpoint.load_newest(tmp_path)["step"] == 5  # a new family comes in after four steps


def test_the_decoder_alone_is_refined_and_latents_stay(small, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        start = narrow_autoencoder()
    start.save_pretrained(tmp_path / "vae")
    run = run_in(tmp_path / "decoder", decoder_only=True)
    refined = train_autoencoder(run, small, UNSEEN, init=tmp_path / "vae")
    assert_bitwise_equal(refined.encoder.state_dict(), start.encoder.state_dict())
    before, after = start.decoder.state_dict(), refined.decoder.state_dict()
    assert sum(not torch.equal(before[name], after[name]) for name in after) > len(after) / 2
    state = checkpoint.load_newest(run.folder)
    encoder = {k.removeprefix("encoder."): v for k, v in state["model"].items() if "encoder." in k}
    assert_bitwise_equal(encoder, dict(start.encoder.state_dict()))


def test_untrained_weights_follow_the_seed(small, tmp_path):
    runs = [train_autoencoder(run_in(tmp_path / n, steps=1), small, UNSEEN) for n in "ab"]
    assert_bitwise_equal(runs[0].state_dict(), runs[1].state_dict())


def test_the_loss_falls_and_is_measured_at_checkpoints(tmp_path, monkeypatch):
    class Flat:
        """One colour throughout: crops do not differ, so the loss has no noise of its own."""

        def family(self, seed, _):
            return Family(None, (), np.full((2, 32, 32, 3), (200, 40, 120), np.uint8), seed)

    told, losses, loss_of = [], [], module._loss

    def noted(*args):
        loss = loss_of(*args)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(module, "_loss", noted)
    run = run_in(tmp_path, steps=16, save_every=8, warmup=4, peak=1e-2)
    train_autoencoder(run, Flat(), UNSEEN, report=lambda *row: told.append(row))
    assert np.mean(losses[-4:]) < 0.6 * np.mean(losses[:2])
    assert [step for step, _, _ in told] == [8, 16]
    assert all(math.isfinite(decibel) for _, _, decibel in told)


def test_a_loss_that_is_no_number_stops_training(small, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KL_WEIGHT", math.nan)
    with pytest.raises(FloatingPointError, match="at step 0; lower --peak and resume"):
        train_autoencoder(run_in(tmp_path), small, UNSEEN)
    assert not list(tmp_path.iterdir())


def test_psnr_is_that_of_the_definition():
    class Off:
        def encode(self, pixels):
            self.pixels, self.latent_dist = pixels, self
            return self

        def mode(self):
            return None

        def decode(self, _):
            self.sample = self.pixels + 0.2  # a tenth of the range
            return self

    assert psnr(Off(), torch.zeros(2, 3, 4, 4)) == pytest.approx(20.0, abs=1e-3)


def test_the_architecture_is_eightfold_with_sixteen_channels():
    model = new_autoencoder()
    assert model.encode(torch.zeros(1, 3, 32, 48)).latent_dist.mode().shape == (1, 16, 4, 6)
    assert 2.0e6 < sum(p.numel() for p in model.parameters()) < 3.5e6
