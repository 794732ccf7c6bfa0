"""The autoencoder's training: crops by step, exact resume, and a decoder refined alone."""

import copy
import math
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from kontext_engine.training import autoencoder as module
from kontext_engine.training import checkpoint, crops
from kontext_engine.training.autoencoder import AutoencoderRun, new_autoencoder, train_autoencoder
from kontext_engine.training.crops import CropSource
from kontext_engine.training.errors import TrainingError
from kontext_engine.training.reconstruction import agreement, work
from kontext_engine.training.studio import Family
from tests.training.test_flow import assert_adams, assert_bitwise_equal, assert_muons, stepped

UNSEEN = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)


NARROW = (8, 8, 16, 16)


def narrow_autoencoder(_=None):
    """The miniature's architecture with an eighth of its channels."""
    full = new_autoencoder().config
    return AutoencoderKL.from_config(full, block_out_channels=NARROW)


@pytest.fixture(autouse=True)
def small_scale(monkeypatch):
    monkeypatch.setattr(crops, "RING", 3)
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


def train_and_pull(run, small, **given):
    """As if the plug were pulled at the first checkpoint."""

    def pull(*_):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        train_autoencoder(run, small, UNSEEN, report=pull, **given)


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
    train_and_pull(broken, small)
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


def test_another_autoencoder_learns_the_latents_of_a_teacher(small, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        teacher = narrow_autoencoder()
    teacher.register_to_config(shift_factor=0.1, scaling_factor=20.0)  # untrained, they are small
    kept = {name: value.clone() for name, value in teacher.state_dict().items()}
    run = run_in(tmp_path / "long", steps=60, peak=1e-2, save_every=30)
    pixels = CropSource(small, 50).batch(0, 8, 16)
    learned = train_autoencoder(run, small, UNSEEN, teacher=teacher)
    first = train_autoencoder(run_in(tmp_path / "short", steps=1), small, UNSEEN, teacher=teacher)
    assert agreement(first, teacher, pixels) < 0 < agreement(learned, teacher, pixels) < 1
    assert (learned.config["shift_factor"], learned.config["scaling_factor"]) == (0.1, 20.0)
    assert_bitwise_equal(teacher.state_dict(), kept)
    # The decoder draws from the teacher's latents, not from what its own encoder makes.
    loss, decoded = module._loss(learned, teacher, pixels, 0, run)
    moved = copy.deepcopy(learned)
    torch.nn.init.zeros_(moved.encoder.conv_out.weight)
    other, same = module._loss(moved, teacher, pixels, 0, run)
    assert torch.equal(decoded, same)
    assert other > loss


def test_a_teacher_of_another_shape_is_refused(small, tmp_path):
    full = new_autoencoder().config
    teacher = AutoencoderKL.from_config(full, block_out_channels=NARROW, latent_channels=4)
    with pytest.raises(TrainingError) as caught:
        train_autoencoder(run_in(tmp_path), small, UNSEEN, teacher=teacher)
    assert str(caught.value) == (
        "--latents: latents of 4 channels for 8 x 8 pixels; expected latents of 16 channels for "
        "8 x 8 pixels: name another model"
    )


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
        losses.append(loss[0].item())
        return loss

    monkeypatch.setattr(module, "_loss", noted)
    run = run_in(tmp_path, steps=16, save_every=8, warmup=4, peak=1e-2)
    train_autoencoder(run, Flat(), UNSEEN, report=lambda *row: told.append(row))
    assert np.mean(losses[-4:]) < 0.6 * np.mean(losses[:2])
    assert [step for step, _, _ in told] == [8, 16]
    assert all(math.isfinite(measured.psnr) for _, _, measured in told)


def test_a_loss_that_is_no_number_stops_training(small, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KL_WEIGHT", math.nan)
    with pytest.raises(FloatingPointError, match="at step 0; lower --peak and resume"):
        train_autoencoder(run_in(tmp_path), small, UNSEEN)
    assert not list(tmp_path.iterdir())


def test_the_architecture_is_eightfold_with_sixteen_channels_and_light():
    model = new_autoencoder()
    assert model.encode(torch.zeros(1, 3, 32, 48)).latent_dist.mode().shape == (1, 16, 4, 6)
    assert 2.0e6 < sum(p.numel() for p in model.parameters()) < 3.5e6
    assert sum(work(model)) <= 3.7  # GFLOP of one picture there and back


def test_a_critic_sharpens_the_decoder_and_resumes_to_the_bit(small, tmp_path):
    narrow_autoencoder().save_pretrained(tmp_path / "vae")
    init = tmp_path / "vae"

    def run(name, **options):
        return run_in(tmp_path / name, decoder_only=True, **{"critic": 0.5} | options)

    straight = train_autoencoder(run("straight"), small, UNSEEN, init=init)
    train_and_pull(run("broken"), small, init=init)
    resumed = train_autoencoder(run("broken"), small, UNSEEN, init=init)
    assert_bitwise_equal(resumed.state_dict(), straight.state_dict())
    ends = [checkpoint.load_newest(tmp_path / name) for name in ("straight", "broken")]
    assert_bitwise_equal(*ends)
    # It has a say, and learns.
    alone = train_autoencoder(run("alone", critic=0.0), small, UNSEEN, init=init)
    name = "decoder.conv_out.weight"
    assert not torch.equal(alone.state_dict()[name], straight.state_dict()[name])
    assert "critic" not in checkpoint.load_newest(tmp_path / "alone")
    assert ends[0]["critic"]["optimizer"]["state"][0]["step"] == 4


def test_a_checkpoint_of_other_widths_is_refused(small, tmp_path, monkeypatch):
    run = run_in(tmp_path, steps=2)
    train_autoencoder(run, small, UNSEEN)
    full = new_autoencoder().config
    wider = AutoencoderKL.from_config(full, block_out_channels=(16, 16, 16, 16))
    monkeypatch.setattr(module, "new_autoencoder", lambda _: wider)
    with pytest.raises(TrainingError, match="of another model; give the --widths it was begun"):
        train_autoencoder(replace(run, steps=3), small, UNSEEN)


def test_a_run_is_ended_early_by_fewer_steps_and_an_earlier_fall(small, tmp_path):
    """The plateau up to there is the longer run's own, so nothing trained is lost."""
    long = run_in(tmp_path / "long", steps=400, warmup=1, decay_from=0.5)
    train_and_pull(long, small)
    rates = []
    step = module.learning_rate

    def noted(*args, **options):
        rates.append(step(*args, **options))
        return rates[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "learning_rate", noted)
        train_autoencoder(replace(long, steps=6, decay_from=2 / 6), small, UNSEEN)
    assert rates[0] == long.peak
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.3 * long.peak


def test_muon_steps_the_kernels_and_adamw_both_ends():
    moved = stepped(narrow_autoencoder().to(memory_format=torch.channels_last))
    kernel = moved["decoder.mid_block.resnets.0.conv1.weight"]
    assert_muons(kernel.permute(0, 2, 3, 1).flatten(1))
    for name in ("encoder.conv_in.weight", "decoder.conv_out.weight", "decoder.conv_norm_out.bias"):
        assert_adams(moved[name])
