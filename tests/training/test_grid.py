"""The validation grid: the same 24 held-out edits for ever, drawn by any engine."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from kontext_engine.fake import FakeEngine, FakeFaults
from kontext_engine.training.errors import TrainingError
from kontext_engine.training.grid import captions, draw_grid, held_out_items

PROMPTS = [
    "the background should be a sunny beach by the sea",
    "the slightly smiling face should be blue",
    "cover the scene in falling snow",
    "take the maple leaf off",
    "the background should be a city street at night",
    "make it dark at night",
    "the call me hand should be red",
    "take the snowflake off",
    "the background should be snowy hills",
    "the person shrugging should be gold",
    "make the picture black and white",
    "the background should be an orange sunset sky",
    "the background should be a sandy beach",
    "the object should be blue",
    "cover the scene in falling snow",
    "take the maple leaf off",
    "the background should be a dark street with lit windows",
    "make it dark at night",
    "the object should be red",
    "take the snowflake off",
    "the background should be a snowy winter landscape",
    "the satellite antenna should be gold",
    "make the picture black and white",
    "the background should be an orange sunset sky",
]
CAPTIONS = [
    "an image of a cat on a sandy beach",
    "an image of a rocket in outer space",
    "an image of a teddy bear in a snowy landscape",
    "an image of a cactus among sand dunes",
    "an image of a penguin on a pink backdrop",
    "an image of a rabbit in a meadow",
]


@pytest.fixture(scope="module")
def items(cutouts):
    return held_out_items(cutouts)


def pixels(picture):
    return np.asarray(picture, int)


def test_the_grid_asks_what_was_fixed_before_training(items):
    assert [item.prompt for item in items] == PROMPTS
    assert captions() == CAPTIONS
    assert Counter(item.category for item in items) == {
        "background": 8, "recolour": 6, "weather": 6, "uncover": 4,
    }  # fmt: skip


def test_every_item_shows_another_subject_and_a_true_change(items):
    for item in items:
        assert item.source.size == item.truth.size == (128, 128)
        changed = (pixels(item.source) != pixels(item.truth)).any(axis=-1).mean()
        assert changed > (0.4 if item.category in ("background", "weather") else 0.02)
    sources = {item.source.tobytes() for item in items}
    assert len(sources) == 24


def test_a_grid_shows_source_result_and_truth_of_each(items, tmp_path):
    draw_grid(FakeEngine(), items[:3], tmp_path / "grid.png", steps=2)
    with Image.open(tmp_path / "grid.png") as sheet:
        shown = pixels(sheet)
    # Nine cells, four in a row: three edits of three pictures, six captions of one.
    cell_width, cell_height = 3 * 128 + 14, 128 + 20
    assert shown.shape == (3 * cell_height, 4 * cell_width, 3)
    for k, item in enumerate(items[:3]):
        cell = shown[:128, k * cell_width :]
        assert np.array_equal(cell[:, :128], pixels(item.source))
        assert np.array_equal(cell[:, 262:390], pixels(item.truth))
        assert cell[:, 131:259].std() > 5
        label = shown[128:cell_height, k * cell_width : (k + 1) * cell_width]
        assert (label < 128).any()


def test_the_seeds_are_fixed(items, tmp_path):
    for name in ("a.png", "b.png"):
        draw_grid(FakeEngine(), items[:1], tmp_path / name, steps=2)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_failed_edit_is_no_grid(items, tmp_path):
    engine = FakeEngine(faults=FakeFaults(ids=frozenset({"edit-1"})))
    with pytest.raises(TrainingError, match="edit-1: the engine failed: failed on purpose"):
        draw_grid(engine, items[:2], tmp_path / "grid.png", steps=2)
    assert not (tmp_path / "grid.png").exists()
