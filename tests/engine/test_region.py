"""What must stay of a picture, stays: over random masks, boxes and sources with alpha."""

import numpy as np
import pytest
from PIL import Image

from flows.run.pictures import decode_png, encode_png
from kontext_engine.errors import PictureError
from kontext_engine.geometry import Fit, Size
from kontext_engine.region import (
    box_levels,
    crop_box,
    differing,
    mask_levels,
    on_white,
    paste,
    protect,
)

RANDOM = np.random.default_rng(16)


def source(width=40, height=30, alpha=False):
    pixels = RANDOM.integers(0, 256, (height, width, 4), np.uint8)
    if alpha:  # clear, solid and in between, in patches
        pixels[..., 3] = np.kron(RANDOM.choice([0, 90, 255], (5, 5)), np.ones((6, 8)))[
            :height, :width
        ]
    else:
        pixels[..., 3] = 255
    return Image.fromarray(pixels)


def random_mask(width=40, height=30):
    white = np.zeros((height, width), np.uint8)
    for level in (255, 128, 255):
        left, top = RANDOM.integers(0, width - 12), RANDOM.integers(0, height - 12)
        w, h = RANDOM.integers(8, 28), RANDOM.integers(8, 24)
        white[top : top + h, left : left + w] = level
    white[-1, -1], white[0, 0] = 0, 255
    return white


def inverse(size):
    return Image.new("RGB", size, (1, 254, 3))


@pytest.mark.parametrize("number", range(200))
def test_no_kept_pixel_differs(number):
    picture = source(alpha=number % 5 == 0)
    white, keeps = random_mask(), bool(number % 2)
    feather = int(RANDOM.integers(0, 4))
    guard = protect(picture, white, keeps=keeps, feather=feather)
    box = crop_box(guard.share, 16 * 16)
    left, top, right, bottom = box
    made = Image.fromarray(RANDOM.integers(0, 256, (32, 32, 3), np.uint8))
    result = decode_png(encode_png(paste(guard, made, box)))  # as it is stored
    assert differing(guard, result) == 0
    # Counted once more, without the module's own words for it.
    old, new = np.asarray(picture), np.asarray(result.convert("RGBA"))
    stays = (white == 255) if keeps else (white == 0)
    solid = stays & ((old[..., 3] == 255) | (not keeps))
    assert np.array_equal(old[solid], new[solid])
    assert guard.counts.kept == int(solid.sum()) > 0
    fully = made.resize((right - left, bottom - top), Image.Resampling.LANCZOS)
    changed = guard.share == 255
    expected = np.zeros_like(old)
    expected[top:bottom, left:right, :3] = np.asarray(fully)
    assert changed.any()
    assert np.array_equal(expected[changed][:, :3], new[changed][:, :3])
    if keeps:
        assert result.mode == "RGB"
        clear = stays & (old[..., 3] == 0)
        assert (guard.share[clear] == 255).all()
        part = stays & (old[..., 3] > 0) & (old[..., 3] < 255)
        assert guard.counts.mixed == int(part.sum())
        if feather == 0:  # its own colour over the new ground
            alpha = old[part][:, 3:].astype(float) / 255
            over = old[part][:, :3] * alpha + expected[part][:, :3] * (1 - alpha)
            assert np.abs(over - new[part][:, :3]).max(initial=0) <= 1
    else:
        assert np.array_equal(old[..., 3], new[..., 3])


def test_the_proof_can_fail():
    picture = source()
    guard = protect(picture, box_levels((0, 0, 20, 30), Size(40, 30)), keeps=True, feather=0)
    stored = paste(guard, inverse((40, 30)), (0, 0, 40, 30))
    assert differing(guard, stored) == 0
    stored.putpixel((3, 4), tuple(255 - value for value in stored.getpixel((3, 4))))
    assert differing(guard, stored) == 1
    assert differing(guard, stored.resize((20, 15))) == guard.counts.kept == 600
    see_through = stored.convert("RGBA")
    see_through.putalpha(254)
    assert differing(guard, see_through) == 600


@pytest.mark.parametrize("feather", [1, 2, 7, 16])
def test_a_feather_lies_on_the_changed_side_and_ends_where_it_says(feather):
    white = box_levels((0, 0, 50, 60), Size(120, 60))
    share = protect(source(120, 60), white, keeps=True, feather=feather).share
    row = share[30].astype(int)
    assert (row[:50] == 0).all()
    assert (np.diff(row) >= 0).all()
    assert 0 < row[50] < 255
    assert (row[50 + feather + feather % 2 :] == 255).all()


@pytest.mark.parametrize(
    ("box", "crop"),
    [
        ((1000, 800, 1400, 1200), (900, 700, 1500, 1300)),  # a fourth of it on each side
        ((0, 0, 400, 400), (0, 0, 600, 600)),  # moved inside
        ((3990, 2990, 4000, 3000), (3984, 2984, 4000, 3000)),
        ((0, 1000, 4000, 1010), (0, 505, 4000, 1505)),  # no thinner than can be placed
        ((100, 100, 3900, 2900), (0, 0, 4000, 3000)),
    ],
)
def test_a_small_region_is_edited_on_a_crop_with_a_margin(box, crop):
    share = box_levels(box, Size(4000, 3000))
    assert crop_box(share, 1024 * 1024) == crop
    assert crop_box(share[:500, :500] | 1, 1024 * 1024) == (0, 0, 500, 500)


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (Image.new("L", (40, 30)), "the mask is empty"),
        (Image.new("L", (40, 30), 255), "the mask is full"),
        (Image.new("L", (20, 30), 255), "the mask is 20x30 and the picture 40x30"),
        (Image.new("RGB", (40, 30), "red"), "the mask is coloured"),
    ],
)
@pytest.mark.parametrize("keeps", [True, False])
def test_a_mask_without_meaning_is_refused(mask, told, keeps):
    with pytest.raises(PictureError, match=told):
        protect(source(), mask_levels(mask, Size(40, 30), None), keeps=keeps, feather=0)


def test_a_masks_white_is_its_grey_or_the_alpha_of_one_colour():
    levels = Image.linear_gradient("L").resize((40, 30))
    size = Size(40, 30)
    assert np.array_equal(mask_levels(levels, size, None), np.asarray(levels))
    assert np.array_equal(mask_levels(levels.convert("RGB"), size, None), np.asarray(levels))
    ink = Image.new("RGBA", size, (9, 9, 9, 0))
    ink.putalpha(levels)
    assert np.array_equal(mask_levels(ink, size, None), np.asarray(levels))
    with pytest.raises(PictureError, match="colours and transparency"):
        mask_levels(source(alpha=True), size, None)
    stretched = mask_levels(levels.resize((80, 30)), size, Fit.STRETCH)
    assert stretched.shape == (30, 40)


def test_what_cannot_be_done_is_said():
    with pytest.raises(PictureError, match="wider than what may change"):
        white = box_levels((10, 10, 20, 20), Size(40, 30))
        protect(source(), white, keeps=False, feather=12)
    for box in [(5, 5, 5, 9), (-1, 0, 5, 5), (0, 0, 41, 5)]:
        with pytest.raises(PictureError, match="empty or reaches outside"):
            box_levels(box, Size(40, 30))


def test_on_white_is_what_the_reader_makes():
    half = Image.new("RGBA", (2, 2), (0, 0, 0, 128))
    assert on_white(half).getpixel((0, 0)) == (127, 127, 127)
    plain = Image.new("RGB", (2, 2))
    assert on_white(plain) is plain
