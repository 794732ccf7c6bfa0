from collections import Counter
from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest

from kontext_engine.evaluation.captions import (
    COUNT,
    caption_figures,
    caption_items,
    read_captions,
    read_renders,
    render_figures,
)
from kontext_engine.evaluation.identity.net import Identity
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


def test_the_classifier_is_right_on_true_renders_and_says_no_to_others(cast, cutouts):
    """The bench's own bounds for a reader, on what is at hand everywhere: the props."""
    scores = read_renders(Identity.load(), cast, cutouts, (128, 128))
    assert {s.item.subject for s in scores} == {*OCCLUDERS, *THINGS}
    found = render_figures(scores)
    assert found["subject_props"].count == found["subject"].count == 40
    assert found["subject_ordinary"].count == 0
    assert min(found["subject"].value, found["scene"].value) >= 0.95
    assert max(found["elsewhere_subject"].value, found["elsewhere_scene"].value) <= 0.1


class _Knower:
    """Knows one noun, and takes everything for it."""

    classes = ("saxophone",)

    def scene_of(self, pictures):
        return [next(iter(SCENES))] * len(pictures)

    def subject_of(self, pictures):
        return list(self.classes) * len(pictures)


def test_renders_of_ordinary_nouns_are_read_where_they_are_at_hand(cast, cutouts):
    lent = replace(cutouts[0], name="saxophone")
    (score,) = read_renders(_Knower(), cast, [lent, *cutouts[1:]], (64, 64))
    found = render_figures([score])
    assert (found["subject_ordinary"].count, found["subject_props"].count) == (1, 0)
    assert found["subject_ordinary"].value == 1.0
