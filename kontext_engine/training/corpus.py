"""Training batches, drawn from shards of cached latents with the words of an instruction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kontext_engine.training.looks import Look, Pair, pairs
from kontext_engine.training.shards import Shard
from kontext_engine.training.wording import caption, instruct

# Parts of the categories among edits of one picture. Uncovering, where most has to be invented,
# is learned last by far; things that stand beside the subject soonest.
EDITS = {
    "background": 0.16, "recolour": 0.20, "weather": 0.14, "uncover": 0.20, "add": 0.05,
    "replace": 0.05, "remove": 0.02, "box": 0.10, "text": 0.05, "character": 0.07,
    "restyle": 0.02, "expression": 0.01,
}  # fmt: skip
# The same among edits that a second picture belongs to.
REFERENCES = {"style": 0.6, "place": 0.4}

TEXT_TO_IMAGE = "text-to-image"  # the category of what is drawn without a context


class Earlier(NamedTuple):
    """The edits that lead to a batch's first contexts: what a chain would have done before.

    ``rows``: the items of the batch that have one; ``context`` (rows, 16, h/8, w/8) and ``prompts``
    are its own.
    """

    rows: tuple[int, ...]
    context: Tensor
    prompts: tuple[str, ...]

    def first(self, count: int) -> Earlier:
        """Those of the first ``count`` of its items."""
        return Earlier(self.rows[:count], self.context[:count], self.prompts[:count])


@dataclass(frozen=True, slots=True)
class Batch:
    """One training batch: latents float32 (b, 16, h/8, w/8); no contexts is text-to-image.

    The first context has the target's size, a second one a size of its own.
    """

    target: Tensor
    contexts: tuple[Tensor, ...]
    prompts: tuple[str, ...]
    categories: tuple[str, ...]
    earlier: Earlier | None = None


class _Drawn(NamedTuple):
    family: int
    source: int
    target: int
    prompt: str
    category: str
    second: tuple[int, int] | None = None  # family and look of the second context
    before: tuple[int, str] | None = None  # look and words of an edit that leads to the source


class Corpus:
    """Draws batches from shards; the batch of a step is a pure function of (seed, step)."""

    def __init__(
        self,
        shards: Sequence[Shard],
        seed: int = 0,
        text_to_image: float = 0.05,
        referring: float = 0.12,
        caption_dropout: float = 0.08,
    ) -> None:
        self._shards, self._seed = list(shards), seed
        self._text_to_image, self._caption_dropout = text_to_image, caption_dropout
        self._referring = referring
        sizes = np.array([len(s) for s in shards], dtype=float)
        self._weights = sizes / sizes.sum()
        self._pairs = [[_by_category(row) for row in s.looks] for s in shards]
        self._leading = [[_by_target(found) for found in families] for families in self._pairs]
        # A shard of props alone has no expressions; what it has is drawn as often as it says.
        self._edits = [
            {name: part for name, part in EDITS.items() if any(name in found for found in families)}
            for families in self._pairs
        ]
        self._styled = [_by_style(s.looks) for s in shards]

    def batch(self, step: int, count: int) -> Batch:
        """The batch of ``step``: targets of one size, all with as many contexts (0, 1 or 2)."""
        rng = np.random.default_rng([self._seed, step, 11])
        which = int(rng.choice(len(self._shards), p=self._weights))
        kind = rng.random()
        if kind < self._text_to_image:
            drawn = [self._captioned(which, rng) for _ in range(count)]
            return _batch(drawn, self._latents(which, [(d.family, d.target) for d in drawn]))
        referring = bool(kind < self._text_to_image + self._referring)
        category = _chosen(REFERENCES, rng) if referring else ""
        # Of a style the second picture is any family's, of a place the family's own.
        other = int(rng.choice(len(self._shards), p=self._weights))
        if category != "style" or self._styled[other].keys().isdisjoint(self._styled[which]):
            other = which
        drawn = [self._edit(which, category, other, rng) for _ in range(count)]
        contexts = [self._latents(which, [(d.family, d.source) for d in drawn])]
        if referring:
            contexts.append(self._latents(other, [d.second for d in drawn if d.second]))
        target = self._latents(which, [(d.family, d.target) for d in drawn])
        return replace(_batch(drawn, target, *contexts), earlier=self._earlier(which, drawn))

    def _earlier(self, which: int, drawn: Sequence[_Drawn]) -> Earlier | None:
        led = [(row, d.family, *d.before) for row, d in enumerate(drawn) if d.before]
        if not led:
            return None
        rows, families, looks, prompts = zip(*led, strict=True)
        return Earlier(rows, self._latents(which, list(zip(families, looks, strict=True))), prompts)

    def _latents(self, which: int, looks: Sequence[tuple[int, int]]) -> Tensor:
        latents = self._shards[which].latents
        return torch.from_numpy(np.stack([latents[f, k] for f, k in looks]).astype(np.float32))

    def _edit(self, which: int, category: str, other: int, rng: np.random.Generator) -> _Drawn:
        """An edit of this category, or of a drawn one that needs no second picture ("")."""
        shard = self._shards[which]
        # Chosen before the family: few families have faces, of which expressions are drawn.
        wanted = category or _chosen(self._edits[which], rng)
        options: list[Pair] = []
        while not options:
            family = int(rng.integers(len(shard)))
            options = self._pairs[which][family].get(wanted, [])
            if category == "style":
                options = [pair for pair in options if pair.value in self._styled[other]]
        pair = options[int(rng.integers(len(options)))]
        second = None if pair.place is None else (family, pair.place)
        if category == "style":
            shown = self._styled[other][pair.value]
            # Another family's wherever there is one: the family's own would be the answer.
            foreign = [at for at in shown if other != which or at[0] != family] or shown
            second = foreign[int(rng.integers(len(foreign)))]
        text = instruct(pair, shard.nouns[family], rng)
        # Without its words a second picture asks for nothing.
        text = "" if not category and rng.random() < self._caption_dropout else text
        # Not the way back: what is left of this edit's own target would teach to leave it as it is.
        led = self._leading[which][family].get(pair.source, [])
        leading, before = [one for one in led if one.source != pair.target], None
        if leading:
            earlier = leading[int(rng.integers(len(leading)))]
            before = (earlier.source, instruct(earlier, shard.nouns[family], rng))
        return _Drawn(family, pair.source, pair.target, text, pair.category, second, before)

    def _captioned(self, which: int, rng: np.random.Generator) -> _Drawn:
        shard = self._shards[which]
        family = int(rng.integers(len(shard)))
        looks = shard.looks[family]
        shown = [i for i, k in enumerate(looks) if not (k.occluder or k.box or k.empty or k.face)]
        target = shown[int(rng.integers(len(shown)))]
        text = caption(looks[target], shard.nouns[family], rng)
        text = "" if rng.random() < self._caption_dropout else text
        return _Drawn(family, target, target, text, TEXT_TO_IMAGE)


def _batch(drawn: Sequence[_Drawn], target: Tensor, *contexts: Tensor) -> Batch:
    prompts, categories = (d.prompt for d in drawn), (d.category for d in drawn)
    return Batch(target, contexts, tuple(prompts), tuple(categories))


def _chosen(weights: dict[str, float], rng: np.random.Generator) -> str:
    names, shares = list(weights), np.array(list(weights.values()))
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def _by_style(looks: Sequence[Sequence[Look]]) -> dict[str, list[tuple[int, int]]]:
    """(family, look) of every picture in a style."""
    found: dict[str, list[tuple[int, int]]] = {}
    for family, row in enumerate(looks):
        for k, look in enumerate(row):
            if look.style:
                found.setdefault(look.style, []).append((family, k))
    return found


def _by_target(found: dict[str, list[Pair]]) -> dict[int, list[Pair]]:
    """The edits of one picture that lead to each look."""
    leading: dict[int, list[Pair]] = {}
    for name in EDITS:
        for pair in found.get(name, []):
            leading.setdefault(pair.target, []).append(pair)
    return leading


def _by_category(looks: Sequence[Look]) -> dict[str, list[Pair]]:
    found: dict[str, list[Pair]] = {}
    for pair in pairs(looks):
        found.setdefault(pair.category, []).append(pair)
    return found
