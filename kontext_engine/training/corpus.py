"""Training batches, drawn from shards of cached latents with the words of an instruction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kontext_engine.training.shards import Shard
from kontext_engine.training.studio import Look, Pair, pairs
from kontext_engine.training.wording import caption, instruct

# Shares of the editing categories in training. Uncovering, where most has to be invented, is
# learned last by far; light and things that stand beside the subject soonest.
CATEGORY_WEIGHTS = {
    "background": 0.13, "recolour": 0.19, "weather": 0.07, "uncover": 0.42, "add": 0.06,
    "replace": 0.05, "remove": 0.02, "box": 0.06,
}  # fmt: skip

TEXT_TO_IMAGE = "text-to-image"  # the category of what is drawn without a context


@dataclass(frozen=True, slots=True)
class Batch:
    """One training batch: latents float32 (b, 16, h/8, w/8); ``context`` None is text-to-image."""

    target: Tensor
    context: Tensor | None
    prompts: tuple[str, ...]
    categories: tuple[str, ...]


class _Drawn(NamedTuple):
    family: int
    source: int
    target: int
    prompt: str
    category: str


class Corpus:
    """Draws batches from shards; the batch of a step is a pure function of (seed, step)."""

    def __init__(
        self,
        shards: Sequence[Shard],
        seed: int = 0,
        text_to_image: float = 0.06,
        caption_dropout: float = 0.08,
    ) -> None:
        self._shards, self._seed = list(shards), seed
        self._text_to_image, self._caption_dropout = text_to_image, caption_dropout
        sizes = np.array([len(s) for s in shards], dtype=float)
        self._weights = sizes / sizes.sum()
        self._pairs = [[_by_category(row) for row in s.looks] for s in shards]
        self._categories = list(CATEGORY_WEIGHTS)
        share = np.array(list(CATEGORY_WEIGHTS.values()))
        self._shares = share / share.sum()

    def batch(self, step: int, count: int) -> Batch:
        """The batch of ``step``: all of one size, all edits or all text-to-image."""
        rng = np.random.default_rng([self._seed, step, 11])
        which = int(rng.choice(len(self._shards), p=self._weights))
        editing = bool(rng.random() >= self._text_to_image)
        drawn = [self._draw(which, editing, rng) for _ in range(count)]
        latents = self._shards[which].latents

        def stacked(looks: Iterable[tuple[int, int]]) -> Tensor:
            return torch.from_numpy(np.stack([latents[f, k] for f, k in looks]).astype(np.float32))

        return Batch(
            stacked((d.family, d.target) for d in drawn),
            stacked((d.family, d.source) for d in drawn) if editing else None,
            tuple(d.prompt for d in drawn),
            tuple(d.category for d in drawn),
        )

    def _draw(self, which: int, editing: bool, rng: np.random.Generator) -> _Drawn:
        shard = self._shards[which]
        family = int(rng.integers(len(shard)))
        noun = shard.nouns[family]
        if editing:
            options: list[Pair] = []
            while not options:
                category = self._categories[int(rng.choice(len(self._shares), p=self._shares))]
                options = self._pairs[which][family].get(category, [])
            pair = options[int(rng.integers(len(options)))]
            source, target, text = pair.source, pair.target, instruct(pair, noun, rng)
        else:
            shown = [i for i, k in enumerate(shard.looks[family]) if not (k.occluder or k.box)]
            target = shown[int(rng.integers(len(shown)))]
            source, category = target, TEXT_TO_IMAGE
            text = caption(shard.looks[family][target], noun, rng)
        if rng.random() < self._caption_dropout:
            text = ""
        return _Drawn(family, source, target, text, category)


def _by_category(looks: Sequence[Look]) -> dict[str, list[Pair]]:
    found: dict[str, list[Pair]] = {}
    for pair in pairs(looks):
        found.setdefault(pair.category, []).append(pair)
    return found
