import random
from functools import partial

import pytest

from kontext_engine.api import RequestError
from kontext_engine.geometry import (
    Fit,
    GeometryError,
    GeometryRecord,
    Placement,
    Size,
    model_size,
    place,
    plan_geometry,
)

MINI = {"area": 128 * 128, "multiple": 16, "default": Size(128, 128)}


@pytest.mark.parametrize(
    ("source", "area", "expected"),
    [
        ((500, 500), 128 * 128, (128, 128)),
        ((1600, 1200), 128 * 128, (144, 112)),
        ((1200, 1600), 128 * 128, (112, 144)),
        ((1920, 1080), 1024 * 1024, (1360, 768)),
        ((8, 1), 128 * 128, (368, 48)),
        ((3, 3), 16 * 16, (16, 16)),
    ],
)
def test_model_size_is_the_nearest_multiples_of_the_area_and_aspect(source, area, expected):
    assert model_size(Size(*source), area, 16) == expected


def test_without_a_size_the_source_is_covered_and_a_few_pixels_are_cut():
    record = plan_geometry([Size(1600, 1200)], None, Fit.CROP, **MINI)
    assert record.target == record.output == (144, 112)
    # 112 / 1200 < 144 / 1600 = 0.09, the larger scale: 1600x1200 becomes 150x112.
    (placement,) = record.contexts
    assert placement.scaled == (149, 112)
    assert placement.box == (2, 0, 146, 112)
    assert placement.size == record.target
    assert 0 < placement.lost < 0.05


def test_padding_without_a_size_is_cut_back_from_the_output():
    record = plan_geometry([Size(300, 200)], None, Fit.PAD, **MINI)
    assert record.target == (160, 112)  # 156.8 x 104.5 to the nearest multiples
    (placement,) = record.contexts
    assert placement.scaled == (160, 107)
    assert placement.box == (0, -3, 160, 109)
    assert placement.lost == 0
    assert record.output == (160, 107)
    assert record.output_box == (0, 3, 160, 110)
    assert record.output_box == placement.content


def test_stretch_scales_each_side():
    record = plan_geometry([Size(300, 200)], None, Fit.STRETCH, **MINI)
    assert record.contexts == (
        Placement(Size(300, 200), Size(160, 112), (0, 0, 160, 112), "stretch"),
    )


@pytest.mark.parametrize("fit", [Fit.CROP, Fit.PAD, Fit.STRETCH])
def test_a_requested_size_is_the_output_and_the_first_context_follows_it(fit):
    record = plan_geometry([Size(100, 100), Size(100, 200)], Size(192, 96), fit, **MINI)
    assert record.target == record.output == (192, 96)
    assert record.output_box == (0, 0, 192, 96)
    first, second = record.contexts
    assert first.size == (192, 96)
    assert first.fit is fit
    assert second.size == model_size(Size(100, 200), 128 * 128, 16) == (96, 176)


def test_whole_keeps_the_first_contexts_aspect_too():
    record = plan_geometry([Size(100, 100)], Size(192, 96), Fit.WHOLE, **MINI)
    assert record.target == record.output == (192, 96)
    assert record.contexts[0].size == (128, 128)
    assert record.contexts[0].lost == 0


def test_no_context_takes_the_default_or_the_requested_size():
    assert plan_geometry([], None, Fit.CROP, **MINI) == GeometryRecord(
        Size(128, 128), Size(128, 128)
    )
    assert plan_geometry([], Size(64, 96), Fit.PAD, **MINI).output == (64, 96)


@pytest.mark.parametrize("fit", [Fit.CROP, Fit.PAD])
def test_no_placement_changes_the_aspect_by_more_than_rounding(fit):
    for width in range(40, 300, 37):
        for height in range(40, 300, 41):
            source, target = Size(width, height), Size(160, 112)
            placed = place(source, target, fit)
            assert placed.size == target
            scale = placed.scaled.width / width, placed.scaled.height / height
            # Half a pixel of rounding on each side is all that may differ.
            assert abs(scale[0] * width - scale[1] * width) <= 0.5 + 0.5 * width / height
            inside = (placed.scaled.width <= 160, placed.scaled.height <= 112)
            covers = (placed.scaled.width >= 160, placed.scaled.height >= 112)
            assert all(covers if fit is Fit.CROP else inside)


@pytest.mark.parametrize(
    ("contexts", "requested", "message"),
    [
        ([], (100, 128), "size 100x128: both sides must be multiples of 16; the nearest is 96x128"),
        ([], (8, 8), "size 8x8: both sides must be multiples of 16; the nearest is 16x16"),
        ([], (0, 16), "size 0x16: both sides must be positive"),
        ([], (320, 320), "size 320x320: 102400 pixels are more than 4 times the 16384"),
        ([], (256, 16), "the size asked for is 256x16: sides differ by more than 8 to 1"),
        ([(1000, 3)], None, "context picture 1 is 1000x3: sides differ by more than 8 to 1"),
        ([(9, 9), (0, 5)], None, "context picture 2 is 0x5: both sides must be at least 1 pixel"),
    ],
)
def test_sizes_that_cannot_be_made_are_refused(contexts, requested, message):
    sizes = [Size(*size) for size in contexts]
    with pytest.raises(GeometryError) as caught:
        plan_geometry(sizes, Size(*requested) if requested else None, Fit.CROP, **MINI)
    assert message in str(caught.value)
    assert isinstance(caught.value, RequestError)
    assert isinstance(caught.value, ValueError)


def test_the_largest_area_is_allowed():
    assert plan_geometry([], Size(256, 256), Fit.CROP, **MINI).target == (256, 256)


@pytest.mark.parametrize(("area", "longest"), [(128 * 128, 400), (1024 * 1024, 2200)])
def test_what_match_has_made_keeps_its_size(area, longest):
    model = {"area": area, "multiple": 16, "default": Size(16, 16)}
    drawn = random.Random(area)
    sizes = [Size(drawn.randint(8, longest), drawn.randint(8, longest)) for _ in range(10_000)]
    for fit in Fit:
        match = partial(plan_geometry, requested=None, fit=fit, **model)
        for size in sizes if fit in (Fit.CROP, Fit.PAD) else sizes[:1000]:
            if max(size) <= 8 * min(size):
                made = match([size]).output
                again = match([made])
                assert again.output == again.contexts[0].scaled == made, (size, fit)


@pytest.mark.parametrize(
    ("source", "area", "kept"),
    [
        ((224, 80), 128 * 128, True),  # the wide header of a chain that once shrank to 208x80
        ((160, 112), 128 * 128, True),
        ((256, 256), 128 * 128, False),
        ((1360, 768), 1024 * 1024, True),
        ((1344, 784), 1024 * 1024, True),  # not the nearest, but near the area
        ((1344, 896), 1024 * 1024, False),
        ((1360, 770), 1024 * 1024, False),
    ],
)
def test_a_source_in_multiples_near_the_models_area_keeps_its_size(source, area, kept):
    assert (model_size(Size(*source), area, 16) == source) is kept


@pytest.mark.parametrize(
    ("contexts", "requested", "fit", "version"),
    [
        ([(500, 500)], None, "crop", 1),
        ([(224, 80)], None, "crop", 2),
        ([(224, 80)], (128, 128), "crop", 1),
        ([(224, 80)], (128, 128), "whole", 2),
        ([(500, 500), (224, 80)], None, "crop", 2),
        ([(79, 224)], None, "pad", 2),
        ([(79, 224)], None, "crop", 1),
        ([], None, "crop", 1),
    ],
)
def test_sizes_that_moved_are_told_from_those_that_did_not(contexts, requested, fit, version):
    sizes = [Size(*size) for size in contexts]
    asked = Size(*requested) if requested else None
    ways = [plan_geometry(sizes, asked, Fit(fit), **MINI, version=v) for v in (1, 2)]
    assert (ways[0] == ways[1]) is (version == 1)
