"""What an autoencoder learns from: crops of pictures, and of what a model has drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from kontext_engine.codec import from_levels
from kontext_engine.conditioning import grid_of, pack, position_ids, unpack
from kontext_engine.evaluation.score import change_mask
from kontext_engine.sampling import Conditions, Shift, denoise, sigma_schedule
from kontext_engine.spec import ContextIds
from kontext_engine.training.corpus import REFERENCES
from kontext_engine.training.looks import draw_looks, pairs
from kontext_engine.training.miniature import SCHEDULER, STEPS, Miniature
from kontext_engine.training.shards import encode
from kontext_engine.training.studio import Studio
from kontext_engine.training.wording import instruct

RING = 60  # families kept for crops: 2,520 pictures
REFRESH = 4  # steps between new families
EDGE = 8  # pixels of a latent
EDITS = 4  # of each family that a model is asked for


class CropSource:
    """Random crops of studio pictures; what it holds at a step is a function of the step."""

    def __init__(self, studio: Studio, seed: int, size: tuple[int, int] = (128, 128)) -> None:
        self._studio, self._seed, self._size = studio, seed, size
        self._ring: dict[int, NDArray[np.uint8]] = {}

    def batch(self, step: int, count: int, crop: int) -> Tensor:
        """float32 (count, 3, crop, crop) in -1..1."""
        newest = RING + step // REFRESH
        for index in range(newest - RING, newest):
            if index not in self._ring:
                self._ring[index] = self._studio.family(self._seed + index, self._size).pictures
        for index in [i for i in self._ring if i < newest - RING]:
            del self._ring[index]
        rng = np.random.default_rng([self._seed, step, 7])
        crops = []
        for _ in range(count):
            family = self._ring[int(rng.integers(newest - RING, newest))]
            picture = family[int(rng.integers(len(family)))]
            y, x = (int(rng.integers(0, edge - crop + 1)) for edge in picture.shape[:2])
            piece = picture[y : y + crop, x : x + crop]
            crops.append(piece[:, ::-1] if rng.random() < 0.5 else piece)
        return from_levels(np.stack(crops))


@dataclass(frozen=True, slots=True)
class Drawn:
    """A model's edits as latents float32 (n, 16, h, w), not scaled; the truth of each, uint8
    (n, 8 h, 8 w, 3), and where that is as the source was (n, 8 h, 8 w)."""

    latents: Tensor
    truths: NDArray[np.uint8]
    kept: NDArray[np.bool_]

    def batch(self, step: int, count: int, crop: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Latents, pixels in -1..1 and what is kept (count, 1, crop, crop) of crops of a step."""
        rng = np.random.default_rng([seed, step, 13])
        latents, pixels, kept = [], [], []
        for _ in range(count):
            one = int(rng.integers(len(self.latents)))
            y, x = (int(rng.integers(0, (edge - crop) // EDGE + 1)) for edge in self.kept.shape[1:])
            edge = crop // EDGE
            latents.append(self.latents[one, :, y : y + edge, x : x + edge])
            place = np.s_[one, y * EDGE : y * EDGE + crop, x * EDGE : x * EDGE + crop]
            pixels.append(self.truths[place])
            kept.append(torch.from_numpy(self.kept[place])[None])
        return torch.stack(latents), from_levels(np.stack(pixels)), torch.stack(kept)


@torch.no_grad()
def draw(
    model: Miniature,
    autoencoder: AutoencoderKL,
    studio: Studio,
    seeds: range,
    size: tuple[int, int] = (128, 128),
) -> Drawn:
    """Ask ``model`` for some edits of each family, at the miniature's number of steps.

    A model's latents are softer than a picture's own where it has only to copy; a decoder that
    has seen them beside the truth draws what they stand for.
    """
    made = [_edits(model, autoencoder, studio, seed, size) for seed in seeds]
    latents, truths, kept = zip(*made, strict=True)
    return Drawn(torch.cat(latents), np.concatenate(truths), np.concatenate(kept))


def _edits(
    model: Miniature, autoencoder: AutoencoderKL, studio: Studio, seed: int, size: tuple[int, int]
) -> tuple[Tensor, NDArray[np.uint8], NDArray[np.bool_]]:
    subject, rng = studio.subject(seed), np.random.default_rng([seed, 17])
    looks = draw_looks(seed, studio.has_faces(subject))
    options = [pair for pair in pairs(looks) if pair.category not in REFERENCES]
    # A category each, so that those with many pairs do not crowd out the others.
    names = sorted({pair.category for pair in options})
    chosen = []
    for name in (names[int(k)] for k in rng.permutation(len(names))[:EDITS]):
        found = [pair for pair in options if pair.category == name]
        chosen.append(found[int(rng.integers(len(found)))])
    sources, truths = (
        studio.family(seed, size, looks=[looks[k] for k in places]).pictures
        for places in ([p.source for p in chosen], [p.target for p in chosen])
    )
    prompts = [instruct(pair, subject.noun, rng) for pair in chosen]
    context = encode(autoencoder, sources)
    grid = grid_of(context)
    noise = torch.randn(context.shape, generator=torch.Generator().manual_seed(seed))
    conditions = Conditions(
        model.embed(*model.tokenize(prompts)),
        position_ids(grid, [grid], ContextIds.INDEX),
        pack(context),
    )
    sigmas = sigma_schedule(STEPS, grid.tokens, Shift.from_config(SCHEDULER))
    latents = unpack(denoise(model.transformer, pack(noise), sigmas, conditions), grid)
    config = autoencoder.config
    kept = [~change_mask(a, b[None]) for a, b in zip(sources, truths, strict=True)]
    return latents / config["scaling_factor"] + config["shift_factor"], truths, np.stack(kept)
