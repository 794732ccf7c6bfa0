import math

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from kontext_engine.api import Cancelled, ModelError
from kontext_engine.sampling import Conditions, Hold, Prompt, Shift, denoise, sigma_schedule

FLUX = {"use_dynamic_shifting": True, "shift": 3.0}


def test_mu_is_linear_in_the_targets_tokens():
    shift = Shift.from_config(FLUX)
    assert shift.mu(256) == pytest.approx(0.5)
    assert shift.mu(4096) == pytest.approx(1.15)
    assert shift.mu(2176) == pytest.approx(0.825)


def test_schedule_by_hand():
    # Two steps at 256 tokens: t = 1, 1/2; t' = e^.5 / (e^.5 + 1/t - 1).
    sigmas = sigma_schedule(2, 256, Shift.from_config(FLUX))
    assert sigmas.tolist() == pytest.approx([1.0, math.e**0.5 / (math.e**0.5 + 1), 0.0])


@pytest.mark.parametrize(
    "config",
    [
        FLUX,
        {"use_dynamic_shifting": False, "shift": 3.0},
        {"use_dynamic_shifting": False, "shift": 1.0},
        FLUX | {"base_shift": 0.25, "max_shift": 2.0, "base_image_seq_len": 16},
        FLUX | {"time_shift_type": "linear"},
    ],
)
@pytest.mark.parametrize("steps", [1, 4, 28])
def test_schedule_equals_the_schedulers(config, steps):
    assert_schedules_agree(config, steps)


def test_a_stretched_schedule_equals_the_schedulers():
    assert_schedules_agree(FLUX | {"shift_terminal": 0.02}, 4)
    # Of a single step the peer divides zero by zero; there is nothing to stretch.
    one = sigma_schedule(1, 1024, Shift.from_config(FLUX | {"shift_terminal": 0.02}))
    assert one.tolist() == [1.0, 0.0]


def assert_schedules_agree(config, steps):
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(config)
    shift = Shift.from_config(dict(scheduler.config))
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=shift.mu(1024))
    ours = sigma_schedule(steps, 1024, shift)
    torch.testing.assert_close(ours, scheduler.sigmas, atol=1e-6, rtol=0)


@pytest.mark.parametrize("option", ["use_karras_sigmas", "use_beta_sigmas", "invert_sigmas"])
def test_a_schedule_that_is_not_fluxs_is_refused(option):
    with pytest.raises(ModelError, match=option):
        Shift.from_config({option: True})


def conditions(**changes):
    text = Prompt(torch.zeros(2, 1, 4), torch.zeros(2, 4))
    return Conditions(text, torch.zeros(3, 3), **changes)


def test_a_constant_velocity_is_integrated_exactly():
    goal, noise = torch.full((2, 3, 4), 5.0), torch.randn(2, 3, 4)

    def transformer(hidden_states, **_):
        return (noise - goal,)

    latents = denoise(transformer, noise, sigma_schedule(7, 3, Shift()), conditions())
    torch.testing.assert_close(latents, goal)


def test_only_the_targets_tokens_are_predicted_and_context_stays_clean():
    context = torch.full((2, 2, 4), 9.0)
    seen = []

    def transformer(hidden_states, **_):
        seen.append(hidden_states)
        return (torch.cat([torch.ones(2, 3, 4), torch.full((2, 2, 4), math.nan)], dim=1),)

    sigmas = sigma_schedule(3, 3, Shift())
    latents = denoise(transformer, torch.zeros(2, 3, 4), sigmas, conditions(context=context))
    torch.testing.assert_close(latents, -torch.ones(2, 3, 4))
    assert all(torch.equal(visual[:, 3:], context) for visual in seen)


def test_true_guidance_extrapolates_each_request_by_its_own_scale():
    def transformer(hidden_states, encoder_hidden_states, **_):
        return (encoder_hidden_states.mean(dim=(1, 2), keepdim=True).expand(2, 3, 4),)

    steering = Conditions(
        prompt=Prompt(torch.ones(2, 1, 4), torch.zeros(2, 4)),
        negative=Prompt(torch.full((2, 1, 4), 0.5), torch.zeros(2, 4)),
        ids=torch.zeros(3, 3),
        scale=torch.tensor([2.0, 4.0]),
    )
    latents = denoise(transformer, torch.zeros(2, 3, 4), sigma_schedule(2, 3, Shift()), steering)
    # v = .5 + scale * (1 - .5), integrated from t = 1 to 0.
    assert latents[:, 0, 0].tolist() == pytest.approx([-1.5, -2.5])


def test_what_the_step_callback_raises_stops_within_one_step():
    calls = []

    def transformer(hidden_states, **_):
        calls.append(1)
        return (hidden_states,)

    def stop(step):
        if step == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        denoise(
            transformer, torch.zeros(2, 3, 4), sigma_schedule(9, 3, Shift()), conditions(), stop
        )
    assert len(calls) == 2


def test_what_is_held_is_the_noised_source_at_every_level():
    noise, source = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    free = torch.zeros(2, 3, 4)
    free[0, 0], free[1, :, 1] = 1.0, 1.0
    sigmas, seen = sigma_schedule(5, 3, Shift.from_config(FLUX)), []

    def transformer(hidden_states, timestep, **_):
        seen.append(hidden_states)
        return (torch.full((2, 3, 4), 7.0),)

    hold = Hold(source, free)
    latents = denoise(transformer, noise, sigmas, conditions(), hold=hold)
    loose = denoise(transformer, noise, sigmas, conditions())
    kept = free == 0
    for sigma, tokens in zip(sigmas, [*seen[:5], latents], strict=True):
        assert torch.equal(tokens[kept], ((1.0 - sigma) * source + sigma * noise)[kept])
    assert torch.equal(latents[kept], source[kept])
    assert torch.equal(latents[~kept], loose[~kept])  # this velocity does not look around
