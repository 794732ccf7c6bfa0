"""Latents as tokens: packing, unpacking and position ids (arXiv 2506.15742, section 3).

Shapes: b batch, c latent channels, h and w the latent grid (pixels / 8 for Flux's VAE), n tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kontext_engine.spec import ContextIds

PATCH = 2  # latents are packed 2x2 into tokens


class Grid(NamedTuple):
    """A picture's tokens: rows and columns."""

    rows: int
    columns: int

    @property
    def tokens(self) -> int:
        """How many tokens the picture is."""
        return self.rows * self.columns


def grid_of(latents: Tensor) -> Grid:
    """The token grid of latents (…, h, w)."""
    return Grid(latents.shape[-2] // PATCH, latents.shape[-1] // PATCH)


def pack(latents: Tensor) -> Tensor:
    """(b, c, h, w) to tokens (b, h/2 * w/2, c * 4); within a token: channel, row, column."""
    batch, channels, height, width = latents.shape
    split = latents.reshape(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return split.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * PATCH * PATCH)


def unpack(tokens: Tensor, grid: Grid) -> Tensor:
    """Tokens (b, rows * columns, c * 4) back to latents (b, c, rows * 2, columns * 2)."""
    batch, _, width = tokens.shape
    channels = width // (PATCH * PATCH)
    split = tokens.reshape(batch, grid.rows, grid.columns, channels, PATCH, PATCH)
    stacked = split.permute(0, 3, 1, 4, 2, 5)
    return stacked.reshape(batch, channels, grid.rows * PATCH, grid.columns * PATCH)


def pack_mask(mask: Tensor, scale: int) -> Tensor:
    """A pixel mask (b, 1, height, width) as tokens (b, n, scale * scale * 4), for Fill models.

    Each latent pixel's scale x scale block of mask pixels becomes its channels, then packed.
    """
    batch, _, height, width = mask.shape
    blocks = mask.reshape(batch, height // scale, scale, width // scale, scale)
    channels = blocks.permute(0, 2, 4, 1, 3)
    return pack(channels.reshape(batch, scale * scale, height // scale, width // scale))


def grid_ids(grid: Grid, time: int, column: int = 0) -> Tensor:
    """Position ids (n, 3) of one picture: (t, h, w), row by row, columns from ``column`` on."""
    ids = torch.zeros(grid.rows, grid.columns, 3)
    ids[..., 0] = time
    ids[..., 1] = torch.arange(grid.rows)[:, None]
    ids[..., 2] = torch.arange(grid.columns)[None, :] + column
    return ids.reshape(-1, 3)


def position_ids(target: Grid, contexts: Sequence[Grid], mode: ContextIds) -> Tensor:
    """Ids (n, 3) of the target's tokens and then each context's, float32 on the CPU.

    The target has t = 0. ``INDEX``: context i has t = i, i = 1..N, its own grid from 0 (section 3
    of the paper). ``OFFSET``: every context has t = 1, and each begins at the column past the
    previous one, which suits weights that were trained with one context.
    """
    parts = [grid_ids(target, time=0)]
    column = 0
    for index, grid in enumerate(contexts, start=1):
        if mode is ContextIds.INDEX:
            parts.append(grid_ids(grid, time=index))
        else:
            parts.append(grid_ids(grid, time=1, column=column))
            column += grid.columns
    return torch.cat(parts)
