"""The sampler: Euler steps on the rectified flow, as a pure function over tensors.

No files, no device moves, no printing; randomness comes in as noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kontext_engine.errors import ModelError


@dataclass(frozen=True, slots=True)
class Shift:
    """How the noise schedule follows the resolution; fields as in a scheduler's configuration."""

    use_dynamic_shifting: bool = False
    shift: float = 1.0
    base_shift: float = 0.5
    max_shift: float = 1.15
    base_image_seq_len: int = 256
    max_image_seq_len: int = 4096
    time_shift_type: str = "exponential"
    shift_terminal: float | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Shift:
        """Read a FlowMatchEulerDiscreteScheduler's configuration.

        Raises:
            ModelError: the configuration asks for a schedule that is not Flux's.
        """
        for name in (
            "invert_sigmas",
            "use_karras_sigmas",
            "use_exponential_sigmas",
            "use_beta_sigmas",
            "stochastic_sampling",
        ):
            if config.get(name):
                raise ModelError(f"scheduler: '{name}' is set; only Flux's schedule is supported")
        known = {item.name for item in fields(cls)}
        return cls(**{key: value for key, value in config.items() if key in known})

    def mu(self, tokens: int) -> float:
        """The exponent of the shift: linear in the *target's* tokens, 0.5 at 256, 1.15 at 4096."""
        slope = (self.max_shift - self.base_shift) / (
            self.max_image_seq_len - self.base_image_seq_len
        )
        return self.base_shift + slope * (tokens - self.base_image_seq_len)


def sigma_schedule(steps: int, tokens: int, shift: Shift) -> Tensor:
    """Noise levels (steps + 1,) from 1 to 0, float32 on the CPU.

    t' = e^mu / (e^mu + 1/t - 1) for t = 1 .. 1/steps, then 0 (the flux repository's
    ``time_shift``); with static shifting e^mu is the configured ``shift``.

    Args:
        steps: denoise steps, at least 1.
        tokens: the target's token count.
        shift: the model's schedule.
    """
    times = np.linspace(1.0, 1.0 / steps, steps)
    if not shift.use_dynamic_shifting:
        factor = shift.shift
    elif shift.time_shift_type == "linear":
        factor = shift.mu(tokens)
    else:
        factor = float(np.exp(shift.mu(tokens)))
    sigmas = factor / (factor + (1.0 / times - 1.0))
    if shift.shift_terminal and steps > 1:  # a single step has nothing to stretch
        remaining = 1.0 - sigmas
        sigmas = 1.0 - remaining * ((1.0 - shift.shift_terminal) / remaining[-1])
    return torch.from_numpy(np.append(sigmas, 0.0)).float()


@dataclass(frozen=True, slots=True)
class Prompt:
    """Text conditioning: T5's states (b, l, width) and CLIP's pooled state (b, width)."""

    states: Tensor
    pooled: Tensor


@dataclass(frozen=True, slots=True)
class Conditions:
    """All that steers a batch besides its noise; everything on the transformer's device.

    ``ids`` (n + m, 3) are the positions of the target's n tokens and the contexts' m;
    ``context`` (b, m, c) the clean context tokens appended to the sequence; ``channels``
    (b, n, k) what is concatenated on the channel axis instead (Fill, Canny, Depth);
    ``guidance`` (b,) the embedded guidance, of models that have one; ``negative`` and ``scale``
    (b,) switch true classifier-free guidance on.
    """

    prompt: Prompt
    ids: Tensor
    context: Tensor | None = None
    channels: Tensor | None = None
    guidance: Tensor | None = None
    negative: Prompt | None = None
    scale: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """What stays on its own trajectory: the clean ``source`` tokens (b, n, c), float32.

    ``free`` (b, n, c) is 1 where the model decides, 0 where the source does.
    """

    source: Tensor
    free: Tensor

    def held(self, tokens: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """The tokens with the source, noised to level ``sigma``, where it is held."""
        return torch.where(self.free > 0, tokens, (1.0 - sigma) * self.source + sigma * noise)


# The part of diffusers' FluxTransformer2DModel that is used: keywords in, (prediction,) out.
Transformer = Callable[..., tuple[Tensor, ...]]


def velocity(
    transformer: Transformer, tokens: Tensor, sigma: Tensor, conditions: Conditions
) -> Tensor:
    """The model's velocity (b, n, c) at noise level ``sigma`` (a scalar), float32.

    With a negative prompt: v = v_neg + scale * (v_pos - v_neg), each by a pass of its own.
    """
    positive = _predict(transformer, tokens, sigma, conditions, conditions.prompt)
    if conditions.negative is None or conditions.scale is None:
        return positive
    negative = _predict(transformer, tokens, sigma, conditions, conditions.negative)
    return negative + conditions.scale[:, None, None] * (positive - negative)


def _predict(
    transformer: Transformer, tokens: Tensor, sigma: Tensor, conditions: Conditions, prompt: Prompt
) -> Tensor:
    visual = tokens.to(prompt.states.dtype)
    if conditions.channels is not None:
        visual = torch.cat([visual, conditions.channels], dim=2)
    if conditions.context is not None:
        visual = torch.cat([visual, conditions.context], dim=1)
    (prediction,) = transformer(
        hidden_states=visual,
        timestep=sigma.expand(tokens.shape[0]),
        guidance=conditions.guidance,
        pooled_projections=prompt.pooled,
        encoder_hidden_states=prompt.states,
        txt_ids=conditions.ids.new_zeros(prompt.states.shape[1], 3),
        img_ids=conditions.ids,
        return_dict=False,
    )
    return prediction[:, : tokens.shape[1]].float()


def denoise(
    transformer: Transformer,
    noise: Tensor,
    sigmas: Tensor,
    conditions: Conditions,
    on_step: Callable[[int], None] | None = None,
    hold: Hold | None = None,
) -> Tensor:
    """From noise to latent tokens: x += (t_next - t) * v, from t = 1 (noise) to 0.

    What is held is set, after each step, to the source at that step's level: the model sees what
    is to stay as it will be, and paints the rest beside it.

    Args:
        transformer: the velocity model.
        noise: packed noise (b, n, c), float32; the trajectory stays float32 whatever the model's
            precision.
        sigmas: noise levels (steps + 1,), on the noise's device.
        conditions: what steers the batch.
        on_step: called with the number of steps done; what it raises stops the loop.
        hold: what is not the model's to decide.

    Returns:
        Packed latents (b, n, c), float32.
    """
    tokens = noise
    for step in range(len(sigmas) - 1):
        flow = velocity(transformer, tokens, sigmas[step], conditions)
        tokens = tokens + (sigmas[step + 1] - sigmas[step]) * flow
        if hold is not None:
            tokens = hold.held(tokens, noise, sigmas[step + 1])
        if on_step is not None:
            on_step(step + 1)
    return tokens
