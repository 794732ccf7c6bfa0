"""What a step hands on, the next step leaves at its size: for every size, and every way to fit."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kontext_engine.catalogue import HUB_MODELS
from kontext_engine.geometry import (
    MAX_ASPECT,
    Fit,
    Size,
    geometry_version,
    model_size,
    plan_geometry,
)

MINI, MEGAPIXEL = 128 * 128, 1024 * 1024
AREAS = pytest.mark.parametrize("area", [MINI, MEGAPIXEL])
MATCHED = [Fit.CROP, Fit.PAD, Fit.STRETCH]


def sizes(most):
    sides = st.integers(1, most)
    return st.builds(Size, sides, sides).filter(lambda s: max(s) <= MAX_ASPECT * min(s))


def output(source, fit, area):
    known = {"area": area, "multiple": 16, "default": Size(128, 128)}
    return plan_geometry([source], None, fit, **known).output


@AREAS
@settings(max_examples=5_000, deadline=None)
@given(source=sizes(6000))
def test_match_is_a_fixed_point(area, source):
    made = model_size(source, area, 16)
    assert model_size(made, area, 16) == made


@AREAS
@settings(max_examples=2_000, deadline=None)
@given(source=sizes(3000), fits=st.lists(st.sampled_from(MATCHED), min_size=2, max_size=5))
def test_a_chain_settles(area, source, fits):
    made = [source]
    for fit in fits:
        made.append(output(made[-1], fit, area))
    # A pad hands on its own aspect, which a later crop or stretch brings to multiples, once.
    assert len(set(made[1:])) <= 2
    for fit in MATCHED:
        once = output(source, fit, area)
        assert output(once, fit, area) == once


@AREAS
@settings(max_examples=1_000, deadline=None)
@given(source=sizes(3000))
def test_pad_keeps_the_aspect_to_a_pixel(area, source):
    made = output(source, Fit.PAD, area)
    assert abs(made.width * source.height - made.height * source.width) <= max(source) * 0.5 + 1


@AREAS
@settings(max_examples=1_000, deadline=None)
@given(width=st.integers(1, 200), height=st.integers(1, 200))
def test_a_source_in_multiples_near_the_area_keeps_its_size(area, width, height):
    source = Size(16 * width, 16 * height)
    near = (source.width - 8) * (source.height - 8) <= area
    near &= area <= (source.width + 8) * (source.height + 8)
    if near and max(source) <= MAX_ASPECT * min(source):
        assert model_size(source, area, 16) == source


def test_the_sizes_that_models_were_trained_at_are_kept():
    (spec,) = [HUB_MODELS["black-forest-labs/FLUX.1-Kontext-dev"]]
    assert [size for size in spec.sizes if model_size(size, MEGAPIXEL, 16) != size] == []


@pytest.mark.parametrize(
    ("source", "fit", "requested", "version"),
    [
        ((1600, 1200), Fit.CROP, None, 1),
        ((1600, 1200), Fit.PAD, None, 1),
        ((128, 128), Fit.CROP, None, 1),
        ((224, 80), Fit.CROP, None, 2),  # was 208x80
        ((79, 224), Fit.PAD, None, 2),  # was 73x208
        ((224, 80), Fit.CROP, Size(128, 128), 1),
        ((224, 80), Fit.WHOLE, Size(128, 128), 2),
    ],
)
def test_only_sizes_that_moved_have_a_new_version(source, fit, requested, version):
    assert geometry_version([Size(*source)], requested, fit, area=MINI, multiple=16) == version


def test_a_reference_that_keeps_its_size_has_a_new_version_too():
    contexts = [Size(128, 128), Size(224, 80)]
    assert geometry_version(contexts, None, Fit.CROP, area=MINI, multiple=16) == 2
