"""Distillation: the student asks at a sampler's times, the critic sees what changes."""

import pytest
import torch

from kontext_engine.sampling import Shift, sigma_schedule
from kontext_engine.training.critic import critic_loss
from kontext_engine.training.distill import Distiller, DistillRun, Heads
from kontext_engine.training.miniature import SCHEDULER
from kontext_engine.training.times import STEPS, few_step_times
from tests.training.norms import NORMS
from tests.training.test_flow import assert_bitwise_equal

pytestmark = NORMS


@pytest.fixture
def distiller(narrow, corpus, tmp_path):
    def make(steps=4, **given):
        model = narrow()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            torch.nn.init.normal_(model.transformer.proj_out.weight, std=0.1)
        run = DistillRun(tmp_path / "run", steps, batch=2, warmup=1, ahead=1, redrawn=0.5, **given)
        return Distiller(model, corpus, run)

    return make


def copied(modules):
    return {name: value.clone() for name, value in modules.state_dict().items()}


def test_times_are_those_of_samplers_of_few_steps():
    shift = Shift.from_config(SCHEDULER)
    asked = {float(t) for n in STEPS for t in sigma_schedule(n, 64, shift)[:-1]}
    times = few_step_times(3000, 64, torch.Generator().manual_seed(0))
    assert {float(t) for t in times} == asked
    # All three begin at 1: the sampler of one step there alone, of two half and of four a quarter.
    assert float((times == 1).float().mean()) == pytest.approx((1 + 1 / 2 + 1 / 4) / 3, abs=0.04)


def test_the_student_and_the_critic_learn_and_nothing_else(distiller):
    trainer = distiller()
    before = [copied(one) for one in (trainer.modules, trainer.teacher, trainer.heads)]
    for _ in range(2):
        trainer.step()
    after = [copied(one) for one in (trainer.modules, trainer.teacher, trainer.heads)]
    for name, value in before[0].items():
        moved = not torch.equal(value, after[0][name])
        assert not moved or name.startswith("transformer."), name
    assert not torch.equal(
        before[0]["transformer.proj_out.weight"], after[0]["transformer.proj_out.weight"]
    )
    assert_bitwise_equal(before[1], after[1])
    assert any(not torch.equal(value, after[2][name]) for name, value in before[2].items())


def test_the_critic_has_no_say_before_it_has_learned(distiller):
    """The first step is that of reconstruction alone; the second is not."""
    with_critic, without = distiller(), distiller(adversarial=0.0)
    for step in range(2):
        with_critic.step()
        without.step()
        same = all(
            torch.equal(a, b)
            for a, b in zip(
                with_critic.modules.parameters(), without.modules.parameters(), strict=True
            )
        )
        assert same == (step == 0)


def test_a_resumed_distillation_goes_on_bit_for_bit(distiller):
    straight = distiller()
    for step in range(4):
        straight.step()
        if step == 1:
            straight.save()
    resumed = distiller()
    assert resumed.resume()
    assert resumed.done == 2
    for _ in range(2):
        resumed.step()
    assert_bitwise_equal(resumed._state(), straight._state())


def test_what_is_copied_does_not_teach_the_critic():
    told, lie = torch.zeros(1, 4), torch.zeros(1, 4)
    lie[0, 3] = 3.0  # taken for a target, where nothing counts
    weights = torch.tensor([[2.0, 1.0, 1.0, 0.0]])
    assert critic_loss(told, lie, weights) == critic_loss(told, torch.zeros(1, 4), weights)
    assert critic_loss(told, lie) > critic_loss(told, told)


def test_heads_learn_to_tell_where_a_token_is_no_targets():
    """Two blocks' features, of which the second alone differs, and in one token in four."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        heads = Heads(2, 16)
        optimizer = torch.optim.AdamW(heads.parameters(), lr=1e-2)
        for _ in range(120):
            true = [torch.randn(8, 4, 16) for _ in range(2)]
            made = [true[0], true[1].clone()]
            made[1][:, 3, :8] += 2.0
            critic_loss(heads(true), heads(made)).backward()
            optimizer.step()
            optimizer.zero_grad()
    on_true, on_made = heads(true), heads(made)
    assert on_true.shape == (8, 4)
    assert torch.equal(on_true[:, :3], on_made[:, :3])
    assert (on_true[:, 3] > on_made[:, 3] + 0.5).float().mean() > 0.8
