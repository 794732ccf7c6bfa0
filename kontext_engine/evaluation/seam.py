"""``python -m kontext_engine.evaluation.seam``: how visible the border of a paste-back is.

Held-out items of the studio bench are edited under protection, as recipes do with ``keep`` and
``region``: the source's kept pixels are laid over what the model made. Once the model is free
everywhere, once the sampler holds the kept latents on the source's own trajectory. The seam is the
mean difference, in levels, of the two pixels on either side of the border; that of the ground
truth stands beside it, for a red shoe on white has an edge of its own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from kontext_engine.api import EditRequest, EngineOptions
from kontext_engine.catalogue import SHIPPED, resolve_model
from kontext_engine.engine import KontextEngine
from kontext_engine.evaluation.answers import noise_seed
from kontext_engine.evaluation.errors import EvaluationError
from kontext_engine.evaluation.items import Cast, EditItem, Panel, edit_items
from kontext_engine.evaluation.score import change_mask, psnr
from kontext_engine.evaluation.studio import find_cutouts
from kontext_engine.geometry import Size
from kontext_engine.region import Protection, paste, protect
from kontext_engine.spec import NumericsProfile
from kontext_engine.training.placement import Stage

KEPT = ("background",)  # the subject is kept; of the others a box is the region
CATEGORIES = ("background", "recolour", "uncover", "object", "box")
WAYS = ("free", "held")
_SOLID = 0.9  # of alpha: resampling leaves less than all of it inside, too
_MARGIN = 2  # pixels of the box around what is to change

Levels = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Seam:
    """One item's figures: differences across the border in levels, fidelity of the change in dB.

    ``across`` and ``edit`` are by way, ``truth`` is the ground truth's own.
    """

    category: str
    truth: float
    across: tuple[float, ...]
    edit: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """An item under protection."""

    item: EditItem
    panel: Panel
    protection: Protection

    def request(self, way: str, steps: int) -> EditRequest:
        """What the engine is asked for, with a mask where the sampler is to hold."""
        share = self.protection.share
        mask = Image.fromarray(np.where(share > 0, 255, 0).astype(np.uint8))
        return EditRequest(
            id=f"{self.item.id} {way}",
            prompt=self.item.prompt,
            seed=noise_seed(0, self.item.id),
            steps=steps,
            contexts=(Image.fromarray(self.panel.source),),
            mask=mask if way == "held" else None,
        )

    def pasted(self, made: Image.Image) -> NDArray[np.uint8]:
        """The picture as a step would store it."""
        height, width = self.protection.share.shape
        return np.asarray(paste(self.protection, made, (0, 0, width, height)).convert("RGB"))


def cases(cast: Cast, category: str, edge: int, limit: int) -> Iterator[Case]:
    """The first items of a category, each with what is kept of it."""
    for item, panel in edit_items(cast, category, (edge, edge), limit):
        keeps = category in KEPT
        white = _subject(item, edge) if keeps else _changing(panel)
        if white.any() and not (white == 255).all():
            source = Image.fromarray(panel.source)
            yield Case(item, panel, protect(source, white, keeps=keeps, feather=0))


def _subject(item: EditItem, edge: int) -> NDArray[np.uint8]:
    """White where the subject is, without the rim that is mixed with its ground."""
    stage = Stage.place(item.subject, item.seed, (edge, edge))
    left, top, right, bottom = stage.box
    solid = np.asarray(stage.actor)[..., 3] > _SOLID
    white = np.zeros((edge, edge), np.uint8)
    inside = np.s_[max(0, top) : min(edge, bottom), max(0, left) : min(edge, right)]
    shown = np.s_[
        max(0, -top) : solid.shape[0] - max(0, bottom - edge),
        max(0, -left) : solid.shape[1] - max(0, right - edge),
    ]
    white[inside][solid[shown]] = 255
    return np.asarray(Image.fromarray(white).filter(ImageFilter.MinFilter(3)))


def _changing(panel: Panel) -> NDArray[np.uint8]:
    """White in a box around what the truth changes, as somebody would draw it."""
    changed = change_mask(panel.source, panel.truth[None])
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    white = np.zeros(changed.shape, np.uint8)
    top, left = max(0, rows[0] - _MARGIN), max(0, columns[0] - _MARGIN)
    white[top : rows[-1] + 1 + _MARGIN, left : columns[-1] + 1 + _MARGIN] = 255
    return white


def across(picture: NDArray[np.uint8], share: NDArray[np.uint8]) -> float:
    """The mean difference, in levels, of pixels beside each other of which one alone is kept."""
    levels, kept = picture.astype(np.int16), share == 0
    rows = np.abs(np.diff(levels, axis=0))[kept[1:] != kept[:-1]]
    columns = np.abs(np.diff(levels, axis=1))[kept[:, 1:] != kept[:, :-1]]
    return float(np.concatenate([rows, columns]).mean())


def measure(
    engine: KontextEngine, cast: Cast, category: str, *, edge: int, steps: int, limit: int
) -> Iterator[tuple[Seam, tuple[NDArray[np.uint8], ...]]]:
    """Each item's figures, and its pictures: source, truth, then one for each way.

    Raises:
        EvaluationError: the engine failed on an item.
    """
    asked = list(cases(cast, category, edge, limit))
    requests = [case.request(way, steps) for way in WAYS for case in asked]
    made: dict[str, Image.Image] = {}
    for answer in engine.run(requests):
        image = getattr(answer, "image", None)
        if image is None:
            raise EvaluationError(f"{answer.id}: the engine failed: {answer}")
        made[answer.id] = image
    for case in asked:
        share, truth = case.protection.share, case.panel.truth
        pictures = [case.pasted(made[f"{case.item.id} {way}"]) for way in WAYS]
        yield (
            Seam(
                category,
                across(truth, share),
                tuple(across(picture, share) for picture in pictures),
                tuple(psnr(picture, truth, share > 0) for picture in pictures),
            ),
            (case.panel.source, truth, *pictures),
        )


def table(seams: Sequence[Seam]) -> str:
    """The figures by category, and how many items have a fainter seam when held."""
    lines = ["category    items  truth   free   held  fainter  edit dB free  held"]
    for name in (*dict.fromkeys(seam.category for seam in seams), "all"):
        some = [seam for seam in seams if name in (seam.category, "all")]
        free, held = np.mean([seam.across for seam in some], axis=0)
        before, after = np.mean([seam.edit for seam in some], axis=0)
        truth = np.mean([seam.truth for seam in some])
        fainter = sum(seam.across[1] < seam.across[0] for seam in some)
        lines.append(
            f"{name:<11} {len(some):>5} {truth:>6.1f} {free:>6.1f} {held:>6.1f} {fainter:>8} "
            f"{before:>13.1f} {after:>5.1f}"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure the shipped miniature, or another model that edits in context."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=SHIPPED[0])
    parser.add_argument("--limit", type=int, default=24, help="items of each category")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--edge", type=int, default=128, help="pixels")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--pictures", type=Path, help="a folder: source, truth, free, held")
    asked = parser.parse_args()
    spec = resolve_model(asked.model)
    engine = KontextEngine.load(spec, EngineOptions(NumericsProfile(dtype=asked.dtype), 16))
    cast, seams = Cast.of(find_cutouts()), []
    for category in CATEGORIES:
        found = measure(
            engine, cast, category,
            edge=asked.edge, steps=asked.steps or spec.default_steps, limit=asked.limit,
        )  # fmt: skip
        for number, (seam, pictures) in enumerate(found):
            seams.append(seam)
            if asked.pictures:
                asked.pictures.mkdir(parents=True, exist_ok=True)
                strip = Image.fromarray(np.concatenate(pictures, axis=1))
                strip.save(asked.pictures / f"{category}-{number:03d}.png")
    size = Size(asked.edge, asked.edge)
    sys.stdout.write(f"{spec.name} ({spec.digest[:12]}) at {size}\n{table(seams)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
