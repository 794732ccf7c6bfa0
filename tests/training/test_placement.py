"""Placement: whatever a subject's shape and wherever it stands, a family is rendered whole."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kontext_engine.training.cutouts import Cutout
from kontext_engine.training.looks import Look
from kontext_engine.training.placement import POSES, Stage, over, shadow

SHAPES = [(4, 128), (16, 128), (40, 128), (128, 128), (128, 40), (128, 4)]  # (width, height)
# The shipped sizes, smaller and longer ones.
SIZES = [(128, 128), (112, 144), (144, 112), (64, 64), (48, 192), (192, 48)]
LOOKS = [
    Look("snow", pose=pose, style=style, weather=weather, thing=thing, side=side, occluder=cover)
    for pose in (None, *POSES)
    for style, weather in ((None, None), ("ink", None), (None, "rain"))
    for thing, side in ((None, None), ("cactus", "left"), ("cactus", "right"))
    for cover in (None, "pizza")
]


@pytest.fixture(scope="module", params=SHAPES, ids=lambda shape: f"{shape[0]}x{shape[1]}")
def subject(request, tmp_path_factory):
    """An opaque red bar of a shape, with drawings of it in the set's other styles."""
    folder = tmp_path_factory.mktemp("shapes")
    width, height = request.param
    name = f"bar-{width}-{height}"
    for style in ("assets", "flat", "ink"):
        (folder / style).mkdir()
        bar = Image.new("RGBA", (width, height), (200, 30, 30, 255))
        bar.save(folder / style / f"{name}.webp", lossless=True)
    return Cutout(name, name, name, "Objects", folder / "assets" / f"{name}.webp")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_family_is_rendered_whatever_the_subjects_shape(subject, size, studio):
    for seed in range(3):
        pictures = studio.family(seed, size, subject, LOOKS).pictures
        assert pictures.shape == (len(LOOKS), size[1], size[0], 3)
        bare = studio.family(seed, size, subject, [Look("snow", empty=True)]).pictures[0]
        for pose in POSES:
            shown = pictures[LOOKS.index(Look("snow", pose=pose))]
            red = (shown[..., 0].astype(int) - shown[..., 1] > 80) & (shown != bare).any(-1)
            assert red.any(), (seed, pose)  # and it is seen


@settings(deadline=None)
@given(
    size=st.sampled_from(SIZES),
    left=st.integers(-300, 300), top=st.integers(-300, 300),
    width=st.integers(1, 300), height=st.integers(1, 300),
)  # fmt: skip
def test_a_shadow_of_whatever_stands_anywhere_darkens_what_is_seen_of_it(
    size, left, top, width, height
):
    canvas = np.full((size[1], size[0], 3), 0.8, np.float32)
    shaded = shadow(canvas, (left, top, left + width, top + height))
    assert shaded.shape == canvas.shape
    assert (shaded <= canvas).all() and (shaded >= 0.55 * 0.8 - 1e-6).all()
    assert (canvas == np.float32(0.8)).all()
    x, foot = round(left + width / 2), top + height
    if 0 <= x < size[0] and 0 <= foot < size[1]:
        assert shaded[foot, x, 0] < 0.6


@settings(deadline=None)
@given(left=st.integers(-40, 40), top=st.integers(-40, 40))
def test_what_overhangs_is_cut(left, top):
    canvas = np.zeros((16, 24, 3), np.float32)
    shown = over(canvas, np.ones((10, 12, 4), np.float32), (left, top))
    seen = np.zeros((16, 24), bool)
    seen[max(0, top) : max(0, top + 10), max(0, left) : max(0, left + 12)] = True
    assert np.array_equal(shown[..., 0] == 1, seen)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_where_a_thing_may_stand_is_within_the_picture(size):
    """Even beside a subject whose foot is far below it."""
    width, height = size
    subject = Cutout("x", "x", "x", "Objects", Path("x.webp"))
    actor = np.zeros((1, 1, 4), np.float32)
    stage = Stage(size, 0, actor, (0, 0, width, 2 * height), (0, 0, 0), subject)
    for side in ("left", "right"):
        x0, y0, x1, y1 = stage.spot(side)
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
