"""Text-to-image: are the scene and the subject that a caption names on the picture?

Told by the identity net's two other heads, which were trained on training subjects: 23 scenes,
and the named classes (all props, which every instruction set names, and ordinary nouns that appear
as subjects only). Nouns cannot be held out here: the model has to know the word; held out are the
wording and the combination's picture. The classifier's own accuracy on renders is its ceiling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kontext_engine.evaluation.identity.net import Identity
from kontext_engine.evaluation.items import FIRST_SEED, Cast
from kontext_engine.evaluation.score import Share, share
from kontext_engine.training.cutouts import OCCLUDERS, THINGS, Cutout
from kontext_engine.training.looks import Look
from kontext_engine.training.scenes import SCENES
from kontext_engine.training.wording import caption

COUNT = 120
_SEED = FIRST_SEED + 800_000


@dataclass(frozen=True, slots=True)
class CaptionItem:
    """One caption: the class and the scene it names."""

    id: str
    prompt: str
    subject: str
    scene: str

    @property
    def is_prop(self) -> bool:
        """Whether instructions name the subject too, so that its word was seen more often."""
        return self.subject in OCCLUDERS or self.subject in THINGS


@dataclass(frozen=True, slots=True)
class CaptionScore:
    """What the classifier read on the picture made for a caption."""

    item: CaptionItem
    subject: str
    scene: str

    @property
    def subject_right(self) -> bool:
        """Whether the named subject was read."""
        return self.subject == self.item.subject

    @property
    def scene_right(self) -> bool:
        """Whether the named scene was read."""
        return self.scene == self.item.scene


def caption_items(classes: tuple[str, ...], limit: int = COUNT) -> list[CaptionItem]:
    """The first ``limit`` captions: a prop, then two ordinary nouns, by turns."""
    props = [c for c in classes if c in OCCLUDERS or c in THINGS]
    ordinary = [c for c in classes if c not in props] or props
    scenes = list(SCENES)
    items = []
    for k in range(limit):
        turn, place = divmod(k, 3)
        names, at = (ordinary, 2 * turn + place - 1) if place else (props, turn)
        subject = names[at % len(names)]
        scene = scenes[(7 * k + k // len(scenes)) % len(scenes)]
        rng = np.random.default_rng([_SEED, k])
        prompt = caption(Look(scene), subject.replace("-", " "), rng, "held_out")
        items.append(CaptionItem(f"text-{k:03d}", prompt, subject, scene))
    return items


def read_captions(
    identity: Identity, items: list[CaptionItem], pictures: NDArray[np.uint8]
) -> list[CaptionScore]:
    """What is on each picture, by the classifier."""
    read = zip(items, identity.subject_of(pictures), identity.scene_of(pictures), strict=True)
    return [CaptionScore(item, subject, scene) for item, subject, scene in read]


def read_renders(
    identity: Identity, cast: Cast, cutouts: Sequence[Cutout], size: tuple[int, int]
) -> list[CaptionScore]:
    """What the classifier reads on true renders of its classes, each on a scene of its own.

    The props are at hand everywhere, ordinary nouns in the whole set alone (`make data`): as
    subjects of training they are not among the held-out cut-outs that are shipped.
    """
    scenes = list(SCENES)
    known = {c.name: c for c in reversed(cutouts) if c.name in identity.classes}
    items, pictures = [], []
    for k, (name, cutout) in enumerate(sorted(known.items())):
        scene = scenes[k % len(scenes)]
        family = cast.studio.family(_SEED + 1000 + k, size, cutout, [Look(scene)])
        items.append(CaptionItem(f"render-{k:03d}", "", name, scene))
        pictures.append(family.pictures[0])
    return read_captions(identity, items, np.stack(pictures))


def render_figures(scores: list[CaptionScore]) -> dict[str, Share]:
    """Shares of true renders told right; ``elsewhere``: of another item's, told to be this one's.

    No picture is given to text-to-image, so there is none to copy; a picture of something else is
    what the classifier must not say yes to.
    """
    others = [*scores[1:], *scores[:1]]
    aside = [(a.item, b) for a, b in zip(scores, others, strict=True)]
    return {
        **_shares(scores),
        "elsewhere_subject": share([seen.subject == item.subject for item, seen in aside]),
        "elsewhere_scene": share([seen.scene == item.scene for item, seen in aside]),
    }


def _shares(scores: list[CaptionScore]) -> dict[str, Share]:
    return {
        "subject": share([s.subject_right for s in scores]),
        "scene": share([s.scene_right for s in scores]),
        "both": share([s.subject_right and s.scene_right for s in scores]),
        "subject_props": share([s.subject_right for s in scores if s.item.is_prop]),
        "subject_ordinary": share([s.subject_right for s in scores if not s.item.is_prop]),
    }


def caption_figures(scores: list[CaptionScore], classes: int) -> dict[str, Any]:
    """Shares of right scenes and subjects, for the report."""
    chances = {"chance_subject": 1 / classes, "chance_scene": 1 / len(SCENES)}
    return {**_shares(scores), **chances}
