"""What a request's mask means to a model: Fill models see it, Kontext models are held by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from kontext_engine.codec import to_tensor
from kontext_engine.conditioning import pack
from kontext_engine.picture import place_picture
from kontext_engine.prepare import Prepared
from kontext_engine.sampling import Hold


def mask_tensor(item: Prepared) -> Tensor:
    """A request's mask on the target (1, 1, height, width): 1 where to paint, 0 where to keep."""
    mask = item.request.mask
    if mask is None:
        raise ValueError(f"{item.request.id} has no mask")
    placed = place_picture(mask.convert("L").convert("RGB"), item.geometry.contexts[0])
    return (to_tensor([placed])[:, :1] > 0.0).float()


def hold_of(batch: Sequence[Prepared], latents: Callable[[Prepared], Tensor], scale: int) -> Hold:
    """What requests with masks hold of their first contexts; ``scale``: pixels to a latent one.

    ``latents`` gives a request's first context, placed, as latents (1, c, h, w).
    """
    sources, free = [], []
    for item in batch:
        source = latents(item).float()
        cells = free_cells(mask_tensor(item), scale).to(source)
        sources.append(pack(source))
        free.append(pack(cells.expand_as(source)))
    return Hold(torch.cat(sources), torch.cat(free))


def free_cells(mask: Tensor, scale: int) -> Tensor:
    """A mask's pixels (b, 1, height, width) as latent ones: any part to paint makes them free."""
    return max_pool2d(mask, scale)
