from collections import Counter
from itertools import cycle

import numpy as np
import pytest

from kontext_engine.evaluation.captions import (
    COUNT,
    caption_figures,
    caption_items,
    read_captions,
)
from kontext_engine.training.cutouts import OCCLUDERS, THINGS
from kontext_engine.training.scenes import SCENES

CLASSES = (*OCCLUDERS, *THINGS, "saxophone", "tractor")


def test_captions_name_props_and_ordinary_nouns_over_all_scenes():
    items = caption_items(CLASSES)
    assert len(items) == COUNT >= 100
    assert Counter(i.is_prop for i in items) == {True: 40, False: 80}
    assert {i.subject for i in items} == set(CLASSES)
    assert {i.scene for i in items} == set(SCENES)
    assert all(i.prompt.startswith(f"an image of a {i.subject.replace('-', ' ')} ") for i in items)


def test_a_shorter_list_is_the_start_of_the_long_one():
    assert caption_items(CLASSES, 7) == caption_items(CLASSES)[:7]


class _Reader:
    """Reads every scene right and every second subject."""

    def __init__(self, items):
        self._items = items

    def scene_of(self, pictures):
        return [i.scene for i in self._items]

    def subject_of(self, pictures):
        return [
            i.subject if right else "?"
            for i, right in zip(self._items, cycle((1, 0)), strict=False)
        ]


def test_figures_count_scene_subject_and_both():
    items = caption_items(CLASSES, 12)
    scores = read_captions(_Reader(items), items, np.zeros((12, 8, 8, 3), np.uint8))
    found = caption_figures(scores, len(CLASSES))
    assert (found["scene"].value, found["subject"].value, found["both"].value) == (1.0, 0.5, 0.5)
    assert found["subject_props"].count == 4
    assert found["subject_ordinary"].count == 8
    assert found["chance_subject"] == pytest.approx(1 / 42)
