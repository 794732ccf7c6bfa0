"""Engines that know the answers, for validating the bench: it must tell them apart."""

from dataclasses import replace

import numpy as np
from PIL import Image

from kontext_engine.api import EditResult
from kontext_engine.evaluation.drift import CHAINS, TURNS, chain
from kontext_engine.evaluation.items import CATEGORIES, edit_items
from kontext_engine.fake import FAKE_SPEC
from kontext_engine.geometry import GeometryRecord, Size
from kontext_engine.spec import NumericsProfile

SIZE = (64, 64)


class OracleEngine:
    """Answers each request with ``answer(request)``, uint8 (h, w, 3); keeps what was asked."""

    spec = replace(FAKE_SPEC, name="oracle")
    numerics = NumericsProfile()

    def __init__(self, answer):
        self._answer = answer
        self.asked = []

    def run(self, requests, on_step=None):
        self.asked.append(list(requests))
        for request in reversed(requests):  # any order is allowed
            picture = Image.fromarray(self._answer(request))
            record = GeometryRecord(Size(*SIZE), Size(*SIZE))
            yield EditResult(request.id, picture, record, 0.01)


def copy_answer(request):
    """The source itself; grey where there is none."""
    if not request.contexts:
        return np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)
    return np.asarray(request.contexts[0])


def noisy(picture, request, strength=12.0):
    noise = np.random.default_rng(request.seed).normal(0, strength, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


class Answers:
    """The truths of the first ``limit`` items and chains, by request id."""

    def __init__(self, cast, limit):
        self.truths, self.category = {}, {}
        for category in CATEGORIES:
            for item, panel in edit_items(cast, category, SIZE, limit):
                self.truths[item.id] = panel.truth
                self.category.setdefault(category, []).append(item.id)
        for number in range(min(limit, CHAINS)):
            one = chain(cast, number)
            pictures = cast.studio.family(one.seed, SIZE, one.subject, one.looks).pictures
            for turn in range(1, len(TURNS) + 1):
                self.truths[f"{one.id}-{turn}"] = pictures[turn]

    def truth(self, request):
        found = self.truths.get(request.id)
        return copy_answer(request) if found is None else noisy(found, request)

    def of_another(self, request):
        """The truth of another item of the category, drawn by the request's seed."""
        mates = self.category.get(request.id.rpartition("-")[0])
        if not mates:
            return copy_answer(request)
        others = [name for name in mates if name != request.id]
        return self.truths[others[np.random.default_rng(request.seed).integers(len(others))]]
