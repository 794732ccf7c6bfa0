"""The studio's families as latents: rendered by worker processes, encoded once, cached by sample.

One shard holds families of one size: ``latents`` float16 (families, looks, 16, h/8, w/8), scaled
as the transformer sees them, and what is on each picture as plain JSON. A shard is a pure
function of (autoencoder weights, split, seeds, size).
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from kontext_engine.codec import from_levels
from kontext_engine.training.cutouts import Cutout
from kontext_engine.training.studio import Look, Pair, Studio, pairs
from kontext_engine.training.wording import caption, instruct

# Shares of the editing categories in training. Uncovering, where most has to be invented, is
# learned last by far; light and things that stand beside the subject soonest.
CATEGORY_WEIGHTS = {
    "background": 0.13, "recolour": 0.19, "weather": 0.07, "uncover": 0.42, "add": 0.06,
    "replace": 0.05, "remove": 0.02, "box": 0.06,
}  # fmt: skip


AHEAD = 128  # families that may be rendered before they are encoded

TEXT_TO_IMAGE = "text-to-image"  # the category of what is drawn without a context


@dataclass(frozen=True, slots=True)
class Shard:
    """Families of one size as latents; ``nouns`` and ``looks`` run along the families."""

    size: tuple[int, int]
    latents: NDArray[np.float16]
    nouns: tuple[str, ...]
    looks: tuple[tuple[Look, ...], ...]

    def __len__(self) -> int:
        return len(self.nouns)


@dataclass(frozen=True, slots=True)
class Batch:
    """One training batch: latents float32 (b, 16, h/8, w/8); ``context`` None is text-to-image."""

    target: Tensor
    context: Tensor | None
    prompts: tuple[str, ...]
    categories: tuple[str, ...]


def _render(job: tuple[int, tuple[int, int]]) -> tuple[str, tuple[Look, ...], NDArray[np.uint8]]:
    family = _studio.family(job[0], job[1])
    return family.subject.noun, family.looks, family.pictures


_studio: Studio


def _start_worker(subjects: Sequence[Cutout], props: Sequence[Cutout]) -> None:
    global _studio  # noqa: PLW0603 - a worker process builds its studio once
    os.nice(5)
    _studio = Studio(subjects, props)


def encode(model: AutoencoderKL, pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 (n, h, w, 3) to scaled latents float32 (n, 16, h/8, w/8): (mode - shift) * scale."""
    device = next(model.parameters()).device
    pixels = from_levels(pictures, device)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
        mode = model.encode(pixels).latent_dist.mode().float()
    latents: Tensor = (mode - model.config.shift_factor) * model.config.scaling_factor
    return latents


def build_shard(
    path: Path,
    model: AutoencoderKL,
    subjects: Sequence[Cutout],
    props: Sequence[Cutout],
    seeds: range,
    size: tuple[int, int],
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Shard:
    """Render and encode families ``seeds`` at ``size`` (width, height) and write the shard."""
    latents: list[NDArray[np.float16]] = []
    nouns: list[str] = []
    looks: list[tuple[Look, ...]] = []
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, _start_worker, (list(subjects), list(props))) as pool:
        jobs = [(seed, size) for seed in seeds]
        # Some at a time: rendering is the faster, and what waits to be encoded is a megabyte each.
        slices = (jobs[k : k + AHEAD] for k in range(0, len(jobs), AHEAD))
        rendered = (family for some in slices for family in pool.imap(_render, some, chunksize=8))
        for noun, family_looks, pictures in rendered:
            latents.append(encode(model, pictures).cpu().numpy().astype(np.float16))
            nouns.append(noun)
            looks.append(family_looks)
            if progress:
                progress(len(nouns))
    shard = Shard(size, np.stack(latents), tuple(nouns), tuple(looks))
    write_shard(path, shard)
    return shard


def write_shard(path: Path, shard: Shard) -> None:
    """Write atomically: a shard that exists is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    listing = {
        "size": shard.size,
        "nouns": shard.nouns,
        "looks": [[asdict(look) for look in row] for row in shard.looks],
    }
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            np.savez(file, latents=shard.latents, listing=np.array(json.dumps(listing)))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def read_shard(path: Path) -> Shard:
    """Read what ``write_shard`` wrote (plain arrays and JSON, no pickle)."""
    with np.load(path, allow_pickle=False) as stored:
        listing = json.loads(str(stored["listing"]))
        latents = stored["latents"]
    looks = tuple(tuple(Look(**look) for look in row) for row in listing["looks"])
    return Shard(tuple(listing["size"]), latents, tuple(listing["nouns"]), looks)


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


def measure_latents(
    model: AutoencoderKL, pictures: Iterator[NDArray[np.uint8]]
) -> tuple[float, float]:
    """(shift, scale) that bring this autoencoder's latents to mean 0 and standard deviation 1."""
    device = next(model.parameters()).device
    values = []
    for batch in pictures:
        pixels = from_levels(batch, device)
        with torch.inference_mode():
            values.append(model.encode(pixels).latent_dist.mode().flatten().cpu())
    every = torch.cat(values)
    return float(every.mean()), float(1.0 / every.std())
