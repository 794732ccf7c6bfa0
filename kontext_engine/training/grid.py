"""The fixed validation grid: 24 held-out edits and 6 captions, chosen before training.

The subjects are the first 24 of the held-out order, the family seeds are fixed, the wordings are
the held-out ones; the pictures come from the ordinary engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kontext_engine.api import EditFailure, EditRequest, Engine
from kontext_engine.geometry import Size
from kontext_engine.training.cutouts import Cutout, held_out_order
from kontext_engine.training.errors import TrainingError
from kontext_engine.training.looks import Look, Pair
from kontext_engine.training.studio import Studio
from kontext_engine.training.wording import caption, instruct

FIRST_SEED = 20_000_000  # families of training start at 0 and never come this far
SIZE = (128, 128)

# One row of the cycle: what the edit asks for and the two looks around it.
_CYCLE: tuple[tuple[str, str, str], ...] = (
    ("background", "plain gray", "beach"), ("recolour", "wood", "blue"),
    ("weather", "street", "snow"), ("uncover", "meadow", "maple-leaf"),
    ("background", "forest", "night street"), ("weather", "beach", "night"),
    ("recolour", "plain white", "red"), ("uncover", "plain blue", "snowflake"),
    ("background", "plain pink", "snow"), ("recolour", "meadow", "gold"),
    ("weather", "desert", "monochrome"), ("background", "street", "sunset"),
)  # fmt: skip
_CAPTIONED = (
    ("cat", "beach"),
    ("rocket", "space"),
    ("teddy-bear", "snow"),
    ("cactus", "desert"),
    ("penguin", "plain pink"),
    ("rabbit", "meadow"),
)


@dataclass(frozen=True, slots=True)
class Item:
    """One held-out edit: its pictures uint8 (h, w, 3) and its instruction."""

    category: str
    prompt: str
    source: Image.Image
    truth: Image.Image


def held_out_items(cutouts: Sequence[Cutout], count: int = 24) -> list[Item]:
    """The first ``count`` edits of the fixed list."""
    order = held_out_order(list(cutouts))
    studio = Studio(order, cutouts)
    return [_item(studio, order[k], k) for k in range(count)]


def _item(studio: Studio, subject: Cutout, index: int) -> Item:
    category, scene, value = _CYCLE[index % len(_CYCLE)]
    home = Look(scene)
    looks = {
        "background": (home, Look(value)), "recolour": (home, Look(scene, colour=value)),
        "weather": (home, Look(scene, weather=value)),
        "uncover": (Look(scene, occluder=value), home),
    }[category]  # fmt: skip
    family = studio.family(FIRST_SEED + index, SIZE, subject, looks)
    rng = np.random.default_rng([FIRST_SEED, index])
    prompt = instruct(Pair(0, 1, category, value), subject.noun, rng, "held_out")
    source, truth = (Image.fromarray(p) for p in family.pictures)
    return Item(category, prompt, source, truth)


def captions() -> list[str]:
    """Six text-to-image prompts in the held-out wording."""
    rng = np.random.default_rng(FIRST_SEED)
    return [
        caption(Look(scene), noun.replace("-", " "), rng, "held_out") for noun, scene in _CAPTIONED
    ]


def draw_grid(engine: Engine, items: Sequence[Item], path: Path, steps: int | None = None) -> None:
    """Edit every item and write source, result and ground truth side by side as one PNG.

    ``steps`` is the model's own number where it is not given.
    """
    size, steps = Size(*SIZE), steps or engine.spec.default_steps
    requests = [
        EditRequest(
            f"edit-{k}", item.prompt, seed=1000 + k, steps=steps, size=size, contexts=(item.source,)
        )
        for k, item in enumerate(items)
    ]
    texts = captions()
    requests += [
        EditRequest(f"text-{k}", text, seed=2000 + k, steps=steps, size=size)
        for k, text in enumerate(texts)
    ]
    made: dict[str, Image.Image] = {}
    for answer in engine.run(requests):
        if isinstance(answer, EditFailure):
            raise TrainingError(f"{answer.id}: the engine failed: {answer.reason}")
        made[answer.id] = answer.image
    cells = [
        _cell((item.source, made[f"edit-{k}"], item.truth), f"{k + 1}. {item.prompt}")
        for k, item in enumerate(items)
    ]
    cells += [_cell((made[f"text-{k}"],), text) for k, text in enumerate(texts)]
    sheet_of(cells, columns=4).save(path)


def cell_size() -> tuple[int, int]:
    """Width and height of a cell: three pictures, and a line of text below."""
    width, height = SIZE
    return 3 * width + 14, height + 20


def _cell(pictures: Sequence[Image.Image], text: str) -> Image.Image:
    width, height = SIZE
    cell = Image.new("RGB", cell_size(), "white")
    for k, picture in enumerate(pictures):
        cell.paste(picture, (k * (width + 3), 0))
    ImageDraw.Draw(cell).text(
        (2, height + 3), text[:66], fill="black", font=ImageFont.load_default(size=12)
    )
    return cell


def sheet_of(cells: Sequence[Image.Image], columns: int) -> Image.Image:
    """Cells of one size, row by row."""
    width, height = cells[0].size
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for k, cell in enumerate(cells):
        sheet.paste(cell, ((k % columns) * width, (k // columns) * height))
    return sheet
