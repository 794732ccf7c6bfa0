"""The studio: one subject on one set, and every change an instruction may ask of it.

A *family* is one subject, place and scene with its variants: other backgrounds, colours,
weathers, an occluder, an added thing. Any two variants that differ in one respect are an editing
pair with an exact ground truth, so a dozen renders give dozens of pairs. A family is a pure
function of (cut-outs, seed, size).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kontext_engine.training.cutouts import DRAWN, FACES, OCCLUDERS, THINGS, Cutout, split_of
from kontext_engine.training.effects import TINTS, tint, weather
from kontext_engine.training.looks import Look, draw_looks
from kontext_engine.training.placement import Stage, layer, outline, over, shadow
from kontext_engine.training.scenes import Pixels, render_scene
from kontext_engine.training.signs import Sign
from kontext_engine.training.styles import STYLES, rimmed

# How often a category is cast, so that 1,900 people do not crowd out the products.
CASTING = {
    "Objects": 3.0, "Animals & Nature": 2.5, "Food & Drink": 1.5, "Activities": 1.0,
    "Travel & Places": 1.2, "People & Body": 2.6, "Smileys & Emotion": 2.0, "Symbols": 0.4,
    "Flags": 0.1, "?": 0.1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Family:
    """A subject's picture in every look of one family: uint8 (n, h, w, 3), ``looks`` in order."""

    subject: Cutout
    looks: tuple[Look, ...]
    pictures: NDArray[np.uint8]
    seed: int


class Studio:
    """Renders families from a cast of cut-outs.

    ``subjects`` is the cast (one split); ``props`` supplies occluders and things, always from
    the training split, since their words must be learned.
    """

    def __init__(self, subjects: Sequence[Cutout], props: Sequence[Cutout]) -> None:
        by_category: dict[str, dict[str, list[Cutout]]] = {}
        for c in subjects:
            by_category.setdefault(c.category, {}).setdefault(c.subject, []).append(c)
        self._cast = {k: list(v.values()) for k, v in by_category.items()}
        self._categories = sorted(self._cast)
        weights = np.array([CASTING[k] for k in self._categories])
        self._weights = weights / weights.sum()
        trained = {c.name: c for c in props if split_of(c) == "train"}
        self._props = {name: trained[name] for name in (*OCCLUDERS, *THINGS)}
        self._faces = {name: trained[name] for name in FACES if name in trained}

    @property
    def nouns(self) -> list[str]:
        """What the cast is called, each name once."""
        groups = (tones for subjects in self._cast.values() for tones in subjects)
        return sorted({c.noun for tones in groups for c in tones})

    def cast(self, rng: np.random.Generator) -> Cutout:
        """A subject: category by weight, then subject, then skin tone."""
        category = self._categories[int(rng.choice(len(self._categories), p=self._weights))]
        tones = self._cast[category][int(rng.integers(len(self._cast[category])))]
        return tones[int(rng.integers(len(tones)))]

    def subject(self, seed: int) -> Cutout:
        """Whom the family of this seed shows."""
        return self.cast(np.random.default_rng([seed, 1]))

    def family(
        self,
        seed: int,
        size: tuple[int, int],
        subject: Cutout | None = None,
        looks: Sequence[Look] | None = None,
    ) -> Family:
        """Render one family. ``size`` is (width, height); ``looks`` default to drawn ones."""
        subject = subject or self.subject(seed)
        stage = Stage.place(subject, seed, size)
        chosen = tuple(looks) if looks is not None else draw_looks(seed, self.has_faces(subject))
        sets = {
            scene: render_scene(scene, seed, size)
            for scene in dict.fromkeys(look.scene for look in chosen)
        }
        pictures = [self._picture(stage, look, sets[look.scene], subject) for look in chosen]
        return Family(subject, chosen, np.stack(pictures), seed)

    def has_faces(self, subject: Cutout) -> bool:
        """Whether the subject's family shows other expressions of it."""
        return subject.is_face and len(self._faces) == len(FACES)

    def _picture(
        self, stage: Stage, look: Look, canvas: Pixels, subject: Cutout
    ) -> NDArray[np.uint8]:
        """A look on the empty set ``canvas``, which stays as it is."""
        if look.word:
            canvas = Sign.of(stage.seed, stage.size).draw(canvas, look.word)
        elif not look.empty:
            if look.face or look.style in DRAWN:
                shown = self._faces[look.face] if look.face else subject
                stage = stage.recast(shown.drawn(look.style) if look.style in DRAWN else shown)
            canvas = self._played(stage.posed(look.pose), look, canvas)
        if look.style:
            canvas = STYLES[look.style](canvas)
        return (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)

    def _played(self, stage: Stage, look: Look, canvas: Pixels) -> Pixels:
        """The subject on the set, with what covers it and what stands beside it."""
        canvas = shadow(canvas, stage.box)
        actor = stage.actor
        if look.colour:
            actor = np.dstack([tint(actor[..., :3], TINTS[look.colour]), actor[..., 3:]])
        if look.style == "ink":
            actor = rimmed(actor)
        canvas = over(canvas, actor, stage.box[:2])
        if look.occluder:
            centre_x, centre_y, edge = stage.cover(look.spot)
            prop = layer(self._props[look.occluder], round(edge))
            x, y = centre_x - prop.shape[1] / 2, centre_y - prop.shape[0] / 2
            canvas = over(canvas, prop, (round(x), round(y)))
        if look.side:
            x0, _, x1, y1 = stage.spot(look.side)
            if look.thing:
                prop = layer(self._props[look.thing], x1 - x0)
                left, top = (x0 + x1 - prop.shape[1]) // 2, y1 - prop.shape[0]
                box = (left, top, left + prop.shape[1], y1)
                canvas = over(shadow(canvas, box), prop, (left, top))
        if look.weather:
            canvas = weather(look.weather, canvas, stage.seed)
        if look.box and look.side:
            canvas = outline(canvas, stage.spot(look.side))
        return canvas
