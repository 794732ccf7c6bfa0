import pytest
import torch

from kontext_engine.conditioning import Grid, grid_of, pack, pack_mask, position_ids, unpack
from kontext_engine.spec import ContextIds

# Written by hand from the definition: target t = 0, each picture's grid row by row from 0.
TARGET_2X3 = [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 0], [0, 1, 1], [0, 1, 2]]


def test_target_alone():
    assert position_ids(Grid(2, 3), [], ContextIds.INDEX).tolist() == TARGET_2X3


def test_index_counts_contexts_in_time_each_from_its_own_origin():
    ids = position_ids(Grid(2, 3), [Grid(1, 2), Grid(2, 1)], ContextIds.INDEX)
    first = [[1, 0, 0], [1, 0, 1]]
    second = [[2, 0, 0], [2, 1, 0]]
    assert ids.tolist() == TARGET_2X3 + first + second


def test_offset_keeps_time_one_and_moves_each_grid_past_the_previous():
    ids = position_ids(Grid(2, 3), [Grid(1, 2), Grid(2, 1), Grid(1, 1)], ContextIds.OFFSET)
    first = [[1, 0, 0], [1, 0, 1]]
    second = [[1, 0, 2], [1, 1, 2]]
    third = [[1, 0, 3]]
    assert ids.tolist() == TARGET_2X3 + first + second + third


def test_both_ways_agree_for_one_context():
    index, offset = (position_ids(Grid(4, 2), [Grid(3, 5)], mode) for mode in ContextIds)
    assert torch.equal(index, offset)


def test_a_token_holds_a_patch_by_channel_row_column():
    latents = torch.arange(2 * 2 * 4).reshape(1, 2, 2, 4)
    assert pack(latents).tolist() == [[[0, 1, 4, 5, 8, 9, 12, 13], [2, 3, 6, 7, 10, 11, 14, 15]]]


@pytest.mark.parametrize("shape", [(1, 16, 8, 8), (3, 1, 2, 6), (2, 4, 10, 4)])
def test_unpacking_inverts_packing(shape):
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    grid = grid_of(latents)
    assert pack(latents).shape == (shape[0], grid.tokens, shape[1] * 4)
    assert torch.equal(unpack(pack(latents), grid), latents)


def test_a_masks_pixels_become_the_channels_of_their_token():
    mask = torch.zeros(1, 1, 8, 8)
    mask[0, 0, 0:4, 4:8] = 1  # scale 2: exactly the upper right token of four
    tokens = pack_mask(mask, scale=2)
    assert tokens.shape == (1, 4, 16)
    assert tokens[0].sum(dim=1).tolist() == [0, 16, 0, 0]
