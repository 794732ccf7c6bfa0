"""What a chain of edits does to its pictures, put upon the contexts of training.

In a chain the context is itself a model's picture. Clean targets behind such contexts teach to hand
on what is meant, and not to copy what was lost.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from kontext_engine.conditioning import grid_of, pack, unpack
from kontext_engine.training.corpus import Earlier

# Times from which a context is drawn in one go: later ones leave little of the model's own in it,
# and at 1 it would show another place than the target does.
REDRAWN = (0.5, 0.95)


def worn(context: Tensor, share: float, source: torch.Generator) -> Tensor:
    """Context latents (b, c, h, w) of which about ``share`` are blurred and made noisy.

    It costs nothing, and helps as far as blur and white noise resemble a model's faults.
    """
    count = len(context)
    chosen, blur, noise = torch.rand((3, count, 1, 1, 1), generator=source)
    white = torch.randn(context.shape, generator=source)
    soft = torch.lerp(
        context, functional.avg_pool2d(context, 3, 1, 1, count_include_pad=False), 0.5 * blur
    )
    return torch.where(chosen < share, soft + 0.3 * noise * white, context)


@torch.no_grad()
def redrawn(
    contexts: Tensor,
    earlier: Earlier | None,
    share: float,
    source: torch.Generator,
    ask: Callable[[Tensor, Tensor, Earlier], Tensor],
) -> Tensor:
    """Context latents (b, c, h, w) of which about ``share`` are drawn by the model itself.

    Of the edit that leads to a context, the picture is taken from some noise in one go: about as
    soft as a sampler's result, with the model's own faults, and it shows what the true one shows.
    ``ask`` gives the velocity (b, tokens, c * 4) of noisy tokens at times (b,) under an edit.
    """
    count = 0 if earlier is None else round(share * len(earlier.rows))
    if earlier is None or not count:
        return contexts
    earlier = earlier.first(count)
    rows = list(earlier.rows)
    noise = torch.randn(earlier.context.shape, generator=source)
    first, last = REDRAWN
    times = first + (last - first) * torch.rand(count, generator=source)
    amount = times[:, None, None, None]
    noisy = torch.lerp(contexts[rows], noise, amount)
    told = ask(pack(noisy), times, earlier)
    drawn = contexts.clone()
    drawn[rows] = noisy - amount * unpack(told, grid_of(noisy))
    return drawn
