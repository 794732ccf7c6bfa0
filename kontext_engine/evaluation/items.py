"""The studio bench's edits: a fixed list of held-out questions, each with its candidate answers.

Held out are the subject, the wording (the last of each list) and the scene instance (family seeds
from 40,000,000). An item is a pure function of (category, number, cut-outs). Its candidates are
the ground truths of seven other instructions of the same category on the same source, and the
unchanged source; with its own ground truth nine, so chance is 1/9:

- *recolour*: seven of the nine other tints; *weather*: the seven others; *background*: seven of
  the 21 other scenes;
- *object* (add, replace by turns): an addition's others are the same thing on the other side,
  three other things on the asked side and three on the other; a replacement's are seven other
  things in the same place;
- *box*: seven other things in the same red box;
- *uncover* has no eight variants: what is under an occluder is one picture. Its others are the
  source with seven *other occluders* in the same place. So it is scored whether the occluder is
  gone and not turned into another, not whether the hidden part is drawn well: that is told by the
  edit PSNR alone.

A number whose truth cannot be told from another candidate (a white egg made white) is drawn again
with the next subject, place and scene; how often is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kontext_engine.evaluation.errors import EvaluationError
from kontext_engine.evaluation.score import change_mask, mean_squared_error
from kontext_engine.training.cutouts import (
    HELD_OUT_DIGEST,
    OCCLUDERS,
    THINGS,
    Cutout,
    held_out_order,
    missing_props,
    order_digest,
)
from kontext_engine.training.effects import TINTS, WEATHER
from kontext_engine.training.looks import Look, pairs
from kontext_engine.training.scenes import SCENES
from kontext_engine.training.studio import Studio
from kontext_engine.training.wording import instruct

FIRST_SEED = 40_000_000
PER_CATEGORY = 120
CATEGORIES = ("recolour", "background", "weather", "uncover", "object", "box")
LOCAL = ("recolour", "uncover", "object", "box")  # most of the picture is to stay as it is
OTHERS = 7
CHANCE = 1 / (OTHERS + 2)

TELLABLE = 8.0  # levels of 255, root mean square inside the mask: truth against each candidate
_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class EditItem:
    """One question. ``others`` are the looks that seven other instructions would lead to."""

    id: str
    category: str
    prompt: str
    subject: Cutout
    seed: int
    source: Look
    truth: Look
    others: tuple[Look, ...]
    attempt: int = 0  # how many draws before it could not be told apart


@dataclass(frozen=True, slots=True)
class Panel:
    """An item's pictures, uint8 (h, w, 3); ``others`` (7, h, w, 3)."""

    source: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    others: NDArray[np.uint8]

    @property
    def candidates(self) -> NDArray[np.uint8]:
        """The nine possible answers: the truth first, the unchanged source last."""
        return np.concatenate([self.truth[None], self.others, self.source[None]])


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays: the held-out subjects, each once, and the studio that renders them."""

    subjects: tuple[Cutout, ...]
    studio: Studio

    @classmethod
    def of(cls, cutouts: Sequence[Cutout]) -> Cast:
        """From the whole set, or from the held-out part of it that is shipped.

        Raises:
            EvaluationError: props are missing, or the held-out subjects are not the bench's.
        """
        order = held_out_order(list(cutouts))
        missing = missing_props(cutouts)
        if missing or order_digest(order) != HELD_OUT_DIGEST:
            names = f"the props {', '.join(missing[:3])}…"
            what = names if missing else f"some of the held-out subjects ({len(order)} are there)"
            raise EvaluationError(
                f"the cut-outs lack {what}; expected the held-out set (tests/data/cutouts) or "
                "the whole one (`make data`)"
            )
        seen: dict[str, Cutout] = {}
        for c in order:
            seen.setdefault(c.subject, c)
        return cls(tuple(seen.values()), Studio(order, cutouts))


def edit_items(
    cast: Cast, category: str, size: tuple[int, int], limit: int = PER_CATEGORY
) -> Iterator[tuple[EditItem, Panel]]:
    """The first ``limit`` items of a category with their pictures; ``size`` is (width, height)."""
    for number in range(limit):
        yield _told_apart(cast, category, number, size)


def _told_apart(
    cast: Cast, category: str, number: int, size: tuple[int, int]
) -> tuple[EditItem, Panel]:
    for attempt in range(_ATTEMPTS):
        item = edit_item(cast, category, number, attempt)
        panel = render(cast, item, size)
        if tellable(panel):
            return item, panel
    raise EvaluationError(f"{category} {number}: no draw of {_ATTEMPTS} can be told apart")


def tellable(panel: Panel) -> bool:
    """Whether the truth differs visibly from every other candidate, the source among them."""
    candidates = panel.candidates
    mask = change_mask(panel.source, candidates)
    if not mask.any():
        return False
    errors = mean_squared_error(panel.truth, candidates[1:], mask)
    return bool(errors.min() >= TELLABLE**2)


def render(cast: Cast, item: EditItem, size: tuple[int, int]) -> Panel:
    """An item's source, truth and other candidates."""
    looks = (item.source, item.truth, *item.others)
    pictures = cast.studio.family(item.seed, size, item.subject, looks).pictures
    return Panel(pictures[0], pictures[1], pictures[2:])


def edit_item(cast: Cast, category: str, number: int, attempt: int = 0) -> EditItem:
    """Item ``number`` of a category: values by turns, so that each is asked equally often."""
    place = CATEGORIES.index(category)
    seed = FIRST_SEED + place * 10_000 + number * _ATTEMPTS + attempt
    rng = np.random.default_rng([seed, 40])
    subject = cast.subjects[(number + 27 * place + 41 * attempt) % len(cast.subjects)]
    source, truth, others = _LOOKS[category](number, _home(number, place, attempt), rng)
    pair = next(p for p in pairs((source, truth)) if p.source == 0)
    prompt = instruct(pair, subject.noun, rng, "held_out")
    name = f"{category}-{number:03d}"
    return EditItem(name, category, prompt, subject, seed, source, truth, others, attempt)


_SCENE_NAMES = tuple(SCENES)


def _home(number: int, place: int, attempt: int) -> str:
    return _SCENE_NAMES[(7 * number + 3 * place + 5 * attempt) % len(_SCENE_NAMES)]


def _rest(names: Sequence[str], rng: np.random.Generator, *without: str) -> list[str]:
    """The other names, shuffled."""
    left = [n for n in names if n not in without]
    return [left[int(k)] for k in rng.permutation(len(left))]


_Looks = tuple[Look, Look, tuple[Look, ...]]


def _recolour(number: int, home: str, rng: np.random.Generator) -> _Looks:
    names = list(TINTS)
    value = names[number % len(names)]
    others = _rest(names, rng, value)[:OTHERS]
    return Look(home), Look(home, colour=value), tuple(Look(home, colour=c) for c in others)


def _weather(number: int, home: str, rng: np.random.Generator) -> _Looks:
    names = list(WEATHER)
    value = names[number % len(names)]
    others = _rest(names, rng, value)[:OTHERS]
    return Look(home), Look(home, weather=value), tuple(Look(home, weather=w) for w in others)


def _background(number: int, home: str, rng: np.random.Generator) -> _Looks:
    names = list(SCENES)
    value = names[(number + number // len(names)) % len(names)]
    if value == home:
        home = names[(names.index(home) + 1) % len(names)]
    others = _rest(names, rng, value, home)[:OTHERS]
    return Look(home), Look(value), tuple(Look(scene) for scene in others)


def _uncover(number: int, home: str, rng: np.random.Generator) -> _Looks:
    value = OCCLUDERS[number % len(OCCLUDERS)]
    others = _rest(OCCLUDERS, rng, value)[:OTHERS]
    return Look(home, occluder=value), Look(home), tuple(Look(home, occluder=o) for o in others)


def _object(number: int, home: str, rng: np.random.Generator) -> _Looks:
    turn, replacing = divmod(number, 2)
    value = THINGS[3 * turn % len(THINGS)]
    side = ("left", "right")[(turn + turn // len(THINGS)) % 2]
    across = "right" if side == "left" else "left"
    rest = _rest(THINGS, rng, value)
    truth = Look(home, thing=value, side=side)
    if replacing:
        old, others = rest[0], rest[1 : 1 + OTHERS]
        source = Look(home, thing=old, side=side)
        return source, truth, tuple(replace(truth, thing=t) for t in others)
    found = [replace(truth, side=across)]
    found += [replace(truth, thing=t) for t in rest[:3]]
    found += [Look(home, thing=t, side=across) for t in rest[3 : OTHERS - 1]]
    return Look(home), truth, tuple(found)


def _box(number: int, home: str, rng: np.random.Generator) -> _Looks:
    value = THINGS[number % len(THINGS)]
    side = ("left", "right")[(number + number // len(THINGS)) % 2]
    truth = Look(home, thing=value, side=side)
    others = _rest(THINGS, rng, value)[:OTHERS]
    source = Look(home, side=side, box=True)
    return source, truth, tuple(replace(truth, thing=t) for t in others)


_LOOKS = {
    "recolour": _recolour, "background": _background, "weather": _weather,
    "uncover": _uncover, "object": _object, "box": _box,
}  # fmt: skip
