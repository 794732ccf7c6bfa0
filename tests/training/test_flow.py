"""The flow-matching trainer: what counts in the loss, and resuming to the bit."""

import math
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from kontext_engine.conditioning import pack
from kontext_engine.sampling import Prompt, Shift
from kontext_engine.training import checkpoint
from kontext_engine.training.corpus import Batch, Corpus
from kontext_engine.training.errors import TrainingError
from kontext_engine.training.flow import (
    FlowRun,
    FlowTrainer,
)
from kontext_engine.training.losses import LEAST, change_weights
from kontext_engine.training.meter import Meter
from kontext_engine.training.miniature import SCHEDULER
from kontext_engine.training.optimizers import Optimizers
from kontext_engine.training.shards import Shard
from kontext_engine.training.times import EARLY, noise_times
from tests.training.norms import NORMS

pytestmark = NORMS


def flat(state):
    """A state's tensors and numbers by their path."""
    if isinstance(state, dict):
        return {f"{k}.{n}": v for k, part in state.items() for n, v in flat(part).items()}
    if isinstance(state, list | tuple):
        return flat(dict(enumerate(state)))
    return {"": state}


def assert_bitwise_equal(a, b):
    a, b = flat(a), flat(b)
    assert a.keys() == b.keys()
    for name, value in a.items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == b[name].dtype
            assert torch.equal(value, b[name]), name
        else:
            assert value == b[name], name


def state_of(trainer):
    return {
        "modules": trainer.modules.state_dict(),
        "average": trainer.average.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "step": trainer.done,
    }


def test_a_resumed_run_equals_an_undisturbed_one_to_the_bit(narrow, corpus, tmp_path):
    def trainer(folder):
        # Warm-up, plateau and decay all lie within six steps.
        return FlowTrainer(narrow(), corpus, FlowRun(tmp_path / folder, 6, batch=3, warmup=2))

    straight = trainer("straight")
    straight.train()
    first = trainer("broken")
    for _ in range(4):
        first.step()
    first.save()
    first.step()  # lost: it was not saved
    second = trainer("broken")
    assert second.resume()
    assert second.done == 4
    second.train()
    assert_bitwise_equal(state_of(second), state_of(straight))
    assert_bitwise_equal(
        checkpoint.load_newest(tmp_path / "broken"), checkpoint.load_newest(tmp_path / "straight")
    )
    with pytest.raises(AssertionError):
        assert_bitwise_equal(state_of(first), state_of(straight))


def test_ctrl_c_ends_after_a_whole_step_and_the_same_command_goes_on(narrow, corpus, tmp_path):
    def trainer(folder):
        return FlowTrainer(narrow(), corpus, FlowRun(tmp_path / folder, 4, batch=2, warmup=2))

    class Pressed(Corpus):
        def batch(self, step, count):
            if step == 1:
                os.kill(os.getpid(), signal.SIGINT)
            return super().batch(step, count)

    stopped = trainer("stopped")
    stopped.corpus = Pressed(corpus._shards, seed=1)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    assert signal.getsignal(signal.SIGINT) is handler
    assert stopped.done == 2
    again, straight = trainer("stopped"), trainer("straight")
    assert again.resume()
    again.train()
    straight.train()
    assert_bitwise_equal(state_of(again), state_of(straight))


def test_a_run_begun_from_other_weights_is_not_gone_on_with(narrow, corpus, tmp_path):
    run = FlowRun(tmp_path / "run", 1, batch=2, begun_from="one")
    FlowTrainer(narrow(), corpus, run).train()
    other = FlowTrainer(narrow(), corpus, replace(run, begun_from="another"))
    with pytest.raises(TrainingError, match=r"run: the run there began from other weights"):
        other.resume()
    assert other.done == 0
    elsewhere = FlowTrainer(narrow(), corpus, replace(run, latents="of another autoencoder"))
    with pytest.raises(TrainingError, match="learned other latents than the corpus holds now"):
        elsewhere.resume()
    assert elsewhere.done == 0
    assert FlowTrainer(narrow(), corpus, run).resume()


def test_a_checkpoint_of_another_model_is_refused(narrow, corpus, tmp_path, monkeypatch):
    run = FlowRun(tmp_path / "run", 1, batch=2)
    FlowTrainer(narrow(), corpus, run).train()
    monkeypatch.setattr("kontext_engine.training.miniature.POOLED", 64)
    with pytest.raises(TrainingError, match="of another model; move that folder away"):
        FlowTrainer(narrow(), corpus, run).resume()


def test_without_a_checkpoint_there_is_nothing_to_resume(narrow, corpus, tmp_path):
    assert not FlowTrainer(narrow(), corpus, FlowRun(tmp_path, 4)).resume()


def test_checkpoints_reports_and_grids_come_when_they_are_due(narrow, corpus, tmp_path):
    run = FlowRun(tmp_path, 6, batch=2, warmup=1, save_every=2, grid_every=3)
    trainer = FlowTrainer(narrow(), corpus, run)
    reports, grids = [], []
    trainer.train(reports.append, every=3, on_grid=lambda step, model: grids.append((step, model)))
    assert [(r.step, r.steps) for r in reports] == [(3, 6), (6, 6)]
    assert all(math.isfinite(r.means["loss"]) for r in reports)
    assert [step for step, _ in grids] == [3, 6]
    shown, kept = grids[1][1].modules().state_dict(), trainer.average.module.state_dict()
    assert_bitwise_equal(shown, kept)
    assert not grids[1][1].transformer.training
    assert [step for step, _ in checkpoint.listed(tmp_path)] == [4, 6]


def test_a_loss_that_is_no_number_stops_before_it_spoils_the_weights(narrow, shard, tmp_path):
    latents = shard.latents.copy()
    latents[:] = np.inf
    broken = Corpus([Shard(shard.size, latents, shard.nouns, shard.looks)])
    trainer = FlowTrainer(narrow(), broken, FlowRun(tmp_path / "run", 5, batch=2))
    before = {k: v.clone() for k, v in trainer.modules.state_dict().items()}
    with pytest.raises(FloatingPointError, match=r"at step 0; lower --peak and resume"):
        trainer.train()
    assert_bitwise_equal(trainer.modules.state_dict(), before)
    assert not (tmp_path / "run").exists()


def test_all_three_modules_learn_and_the_loss_falls(narrow, shard, tmp_path):
    """Latents that do not vary are learned soon."""
    still = np.ones_like(shard.latents)
    corpus = Corpus([Shard(shard.size, still, shard.nouns, shard.looks)], seed=0)
    trainer = FlowTrainer(narrow(), corpus, FlowRun(tmp_path, 60, batch=4, peak=4e-3, warmup=5))
    before = {k: v.clone() for k, v in trainer.modules.state_dict().items()}
    losses = [trainer.step() for _ in range(16)]
    # At first v = 0, so the loss is the second moment of eps - 1.
    assert np.mean(losses[:3]) == pytest.approx(2.0, abs=0.15)
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:3])
    for part in ("transformer", "text_encoder", "text_encoder_2"):
        moved = [
            not torch.equal(value, before[name])
            for name, value in trainer.modules.state_dict().items()
            if name.startswith(part + ".") and value.is_floating_point()
        ]
        assert np.mean(moved) > 0.9, part


class Oracle(nn.Module):
    """Stands for the transformer: answers with the true velocity, or what ``answer`` makes of it.

    It knows the clean target, takes the noise from z_t = (1 - t) x + t eps, and says something
    absurd about the context's tokens.
    """

    def __init__(self, clean, answer):
        super().__init__()
        self.clean, self.answer, self.seen = pack(clean), answer, []
        self.weight = nn.Parameter(torch.zeros(2, 2))

    def forward(self, hidden_states, timestep, **_):
        self.seen.append(hidden_states)
        count = self.clean.shape[1]
        t = timestep[:, None, None]
        eps = (hidden_states[:, :count] - (1 - t) * self.clean) / t
        absurd = torch.full_like(hidden_states[:, count:], 1e6)
        return (torch.cat([self.answer(eps, self.clean), absurd], dim=1),)


def losses_of(trainer, batch, answer):
    oracle = Oracle(batch.target, answer)
    trainer.modules["transformer"] = oracle
    with torch.no_grad():
        times, losses, _ = trainer._losses(batch)
    return times, losses, oracle.seen[0]


@pytest.fixture
def exact(narrow, corpus, tmp_path):
    """A trainer whose prompts are float32 zeros, so that nothing is rounded to bfloat16."""
    trainer = FlowTrainer(narrow(), corpus, FlowRun(tmp_path, 10, batch=4, wear=0.0))
    trainer._embed = lambda prompts: Prompt(
        torch.zeros(len(prompts), 3, 8), torch.zeros(len(prompts), 8)
    )
    return trainer


def made_batch(context):
    source = torch.Generator().manual_seed(3)
    target, other = torch.randn(2, 4, 16, 8, 12, generator=source)
    return Batch(target, (other,) if context else (), ("a",) * 4, ("recolour",) * 4)


@pytest.mark.parametrize("context", [True, False])
def test_the_loss_is_that_of_eps_minus_x_on_the_targets_tokens_alone(exact, context):
    batch = made_batch(context)
    times, right, seen = losses_of(exact, batch, lambda eps, x: eps - x)
    assert right.shape == times.shape == (4,)
    assert right.max() < 1e-6  # in spite of the absurd answer for the context
    _, wrong, _ = losses_of(exact, batch, lambda eps, x: x - eps)
    _, nothing, _ = losses_of(exact, batch, lambda eps, x: torch.zeros_like(x))
    assert torch.allclose(wrong, 4 * nothing, rtol=1e-4)
    _, only_noise, _ = losses_of(exact, batch, lambda eps, _: eps)
    assert torch.allclose(only_noise, pack(batch.target).pow(2).mean(dim=(1, 2)), rtol=1e-3)
    count = pack(batch.target).shape[1]
    assert seen.shape[1] == (2 * count if context else count)
    if context:  # the context goes in clean
        assert torch.equal(seen[:, count:], pack(batch.contexts[0]))


def test_noise_and_times_follow_the_step_alone(exact):
    batch = made_batch(context=True)
    first = losses_of(exact, batch, lambda eps, _: eps)
    torch.manual_seed(5)
    again = losses_of(exact, batch, lambda eps, _: eps)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    exact.done = 1
    later = losses_of(exact, batch, lambda eps, _: eps)
    assert not torch.equal(later[0], first[0])
    assert not torch.equal(later[2], first[2])


def times_of(early, tokens=64):
    return noise_times(20_000, tokens, early, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("tokens", [16, 64, 4096])
def test_times_are_logit_normal_and_shifted_for_the_targets_tokens(tokens):
    """t' = e^mu / (e^mu + 1/t - 1), so logit t' is normal around mu (arXiv 2506.15742, 3)."""
    times = times_of(0.0, tokens)
    assert times.min() > 0
    assert times.max() < 1
    logits = torch.logit(times.double())
    mu = Shift.from_config(SCHEDULER).mu(tokens)
    assert float(logits.mean()) == pytest.approx(mu, abs=0.03)
    assert float(logits.std()) == pytest.approx(1.0, abs=0.02)


def test_some_times_are_those_of_a_samplers_first_steps():
    times = times_of(1.0)
    assert EARLY[0] <= times.min() < times.max() <= EARLY[1]
    assert float(times.mean()) == pytest.approx(sum(EARLY) / 2, abs=0.003)
    assert float((times_of(0.4) != times_of(0.0)).float().mean()) == pytest.approx(0.4, abs=0.01)


def test_the_meter_means_by_time_and_category_and_starts_anew():
    meter = Meter()
    meter.add(torch.tensor([0.05, 0.15, 1.0]), torch.tensor([1.0, 3.0, 8.0]), ("add", "box", "add"))
    assert meter.read() == {"loss": 4.0, "t0.0": 2.0, "t0.8": 8.0, "add": 4.5, "box": 3.0}
    meter.add(torch.tensor([0.5]), torch.tensor([2.0]), ("box",))
    assert meter.read() == {"loss": 2.0, "t0.4": 2.0, "box": 2.0}


def stepped(module):
    """How far one step on random gradients moves each parameter."""
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    for p in module.parameters():
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(1))
    Optimizers(module, 0.01, weight_decay=0.0).step(0.01)
    assert all(p.grad is None for p in module.parameters())
    return {name: p.detach() - before[name] for name, p in module.named_parameters()}


def assert_muons(moved):
    """Muon's step has nearly equal singular values, whatever the gradient."""
    values = torch.linalg.svdvals(moved)
    assert values.min() > 0.4 * values.max()


def assert_adams(moved):
    """AdamW's first step has nearly equal entries."""
    size = moved.abs()
    assert torch.quantile(size.flatten()[:100_000], 0.01) > 0.0099
    assert size.max() < 0.0101


def test_muon_steps_the_blocks_and_adamw_tables_ends_and_vectors(narrow):
    moved = stepped(narrow().modules())
    assert_muons(moved["transformer.transformer_blocks.0.attn.to_q.weight"])
    for name in (
        "transformer.proj_out.weight",
        "transformer.proj_out.bias",
        "transformer.x_embedder.weight",
        "text_encoder.embeddings.token_embedding.weight",
        "text_encoder_2.shared.weight",
    ):
        assert_adams(moved[name])


def test_a_state_of_another_optimizer_is_refused(narrow):
    modules = narrow().modules()
    other = torch.optim.AdamW(modules.parameters()).state_dict()
    with pytest.raises(TrainingError, match="another optimizer"):
        Optimizers(modules, 0.01, 0.0).load_state_dict(other)


def test_what_an_edit_changes_and_what_stays_have_their_shares_of_the_loss():
    context = torch.zeros(3, 10, 4)
    target = context.clone()
    target[0, :2] = 30.0  # a local edit: two tokens of ten
    target[1, :8] = 30.0  # a new background: the subject stays
    target[2] = 30.0  # all changes
    weights = change_weights(target, context, share=0.6)
    assert torch.allclose(weights.mean(dim=1), torch.ones(3))
    shares = weights / weights.sum(dim=1, keepdim=True)
    assert shares[0, :2].sum() == pytest.approx(0.6, abs=0.002)
    assert shares[1, :8].sum() == pytest.approx(0.6, abs=0.002)
    assert torch.allclose(weights[2], torch.ones(10))
    assert torch.equal(change_weights(target, None, 0.6), torch.ones(3, 10))


def test_a_tiny_change_is_not_weighed_up_without_bound():
    context = torch.zeros(1, 100, 4)
    target = context.clone()
    target[0, 0] = 30.0
    weights = change_weights(target, context, share=0.6)
    assert weights[0, 0] == pytest.approx(0.6 / LEAST / weights_sum(1, 99), rel=0.01)
    unchanged = change_weights(context, context, share=0.6)
    assert torch.allclose(unchanged, torch.ones(1, 100))


def weights_sum(changed, kept):
    """The mean before it is brought to one: ``changed`` tokens below the least share."""
    count = changed + kept
    return (0.6 * changed / LEAST + 0.4 * kept / (kept / count)) / count


def test_a_trainer_wears_contexts_and_never_targets(exact):
    exact.run = FlowRun(exact.run.folder, 10, batch=4, wear=1.0)
    batch = made_batch(context=True)
    _, losses, seen = losses_of(exact, batch, lambda eps, x: eps - x)
    assert losses.max() < 1e-6
    count = pack(batch.target).shape[1]
    assert not torch.equal(seen[:, count:], pack(batch.contexts[0]))


def test_a_trainer_draws_some_contexts_by_the_edits_that_lead_to_them(narrow, corpus, tmp_path):
    """Without a gradient, and the edit itself is still held to its clean target."""
    trainer = FlowTrainer(narrow(), corpus, FlowRun(tmp_path, 4, batch=8, wear=0.0, redrawn=0.5))
    batch = next(b for b in map(corpus.batch, range(50), [8] * 50) if len(b.contexts) == 1)
    asked = []

    def watch(_module, _given, named, _made):
        asked.append((named["hidden_states"], torch.is_grad_enabled()))

    trainer.modules["transformer"].register_forward_hook(watch, with_kwargs=True)
    trainer._losses(batch)
    ((led, with_gradient), (edited, edits_gradient)) = asked
    assert (with_gradient, edits_gradient) == (False, True)
    earlier, tokens = batch.earlier, pack(batch.target).shape[1]
    count = round(0.5 * len(earlier.rows))
    assert torch.equal(led[:, tokens:], pack(earlier.context[:count]))
    same = (edited[:, tokens:] == pack(batch.contexts[0])).flatten(1).all(1)
    assert [row for row in range(8) if not same[row]] == list(earlier.rows[:count])
    trainer.run = replace(trainer.run, redrawn=0.0)
    trainer._losses(batch)
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("factor", "told"), [(1.02, ""), (2.0, "100% off"), (math.nan, "nan% off")]
)
def test_compiled_blocks_are_taken_only_with_the_gradients_of_plain_ones(
    factor, told, narrow, corpus, tmp_path, monkeypatch
):
    """What a compiler gets wrong shows in the gradients, and long before in nothing else."""
    trainer = FlowTrainer(narrow(), corpus, FlowRun(tmp_path, 2, batch=2))

    def compile_with_a_fault(transformer, **_):
        for one in transformer.parameters():
            one.register_hook(lambda gradient: gradient * factor)

    kind = type(trainer.modules["transformer"])
    monkeypatch.setattr(kind, "compile_repeated_blocks", compile_with_a_fault)
    if told:
        with pytest.raises(TrainingError, match=f"--compile: .* {told}; expected 10% at most"):
            trainer.compile()
    else:
        trainer.compile()
    assert all(p.grad is None for p in trainer.modules.parameters())
    assert trainer.done == 0
