"""Times at which training asks the model: 0 is the picture, 1 is noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kontext_engine.sampling import Shift, sigma_schedule
from kontext_engine.training.miniature import SCHEDULER

EARLY = (0.7, 1.0)  # times of a sampler's first steps: the noise hides what the picture shows
STEPS = (1, 2, 4)  # of the samplers that a student is for


def noise_times(count: int, tokens: int, early: float, source: torch.Generator) -> Tensor:
    """Times (count,) in 0..1: logit-normal, shifted for the target's token count (arXiv
    2506.15742, section 3); of which about ``early`` are uniform over ``EARLY`` instead.

    What a picture shows where its context shows something else is settled in a sampler's
    first steps. Shifted for few tokens, one time in ten would lie there, and behind less
    noise the target itself tells what the context should have.
    """
    t = torch.sigmoid(torch.randn(count, generator=source))
    factor = math.exp(Shift.from_config(SCHEDULER).mu(tokens))
    shifted = factor * t / (1 + (factor - 1) * t)
    chosen, spread = torch.rand((2, count), generator=source)
    first, last = EARLY
    return torch.where(chosen < early, first + (last - first) * spread, shifted)


def few_step_times(count: int, tokens: int, source: torch.Generator) -> Tensor:
    """Times (count,) at which samplers of 1, 2 and 4 steps ask the model, each sampler as often."""
    shift = Shift.from_config(SCHEDULER)
    schedules = [sigma_schedule(steps, tokens, shift)[:-1] for steps in STEPS]
    which = torch.randint(len(STEPS), (count,), generator=source).tolist()
    place = torch.rand(count, generator=source).tolist()
    return torch.stack(
        [schedules[k][int(at * len(schedules[k]))] for k, at in zip(which, place, strict=True)]
    )
