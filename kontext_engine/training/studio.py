"""The studio: one subject on one set, and every change an instruction may ask of it.

A *family* is one subject, place and scene with its variants: other backgrounds, colours,
weathers, an occluder, an added thing. Any two variants that differ in one respect are an editing
pair with an exact ground truth, so a dozen renders give dozens of pairs. A family is a pure
function of (cut-outs, seed, size).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kontext_engine.training.cutouts import OCCLUDERS, THINGS, Cutout, split_of
from kontext_engine.training.effects import TINTS, WEATHER, tint, weather
from kontext_engine.training.placement import Stage, layer, outline, over
from kontext_engine.training.scenes import SCENES, Pixels, render_scene

# How often a category is cast, so that 1,900 people do not crowd out the products.
CASTING = {
    "Objects": 3.0, "Animals & Nature": 2.5, "Food & Drink": 1.5, "Activities": 1.0,
    "Travel & Places": 1.2, "People & Body": 2.6, "Smileys & Emotion": 2.0, "Symbols": 0.4,
    "Flags": 0.1, "?": 0.1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """What is on a picture: everything an instruction can change, and nothing else."""

    scene: str
    colour: str | None = None
    weather: str | None = None
    occluder: str | None = None
    spot: int = 0  # which of the places where an occluder may lie
    thing: str | None = None
    side: str | None = None  # where the thing stands: left, right
    box: bool = False  # a red box is drawn where the thing stands or would stand


@dataclass(frozen=True, slots=True)
class Family:
    """A subject's picture in every look of one family: uint8 (n, h, w, 3), ``looks`` in order."""

    subject: Cutout
    looks: tuple[Look, ...]
    pictures: NDArray[np.uint8]
    seed: int


@dataclass(frozen=True, slots=True)
class Pair:
    """An editing pair: indices of source and target in the family, and what changes."""

    source: int
    target: int
    category: str
    value: str
    detail: str = ""


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

    def cast(self, rng: np.random.Generator) -> Cutout:
        """A subject: category by weight, then subject, then skin tone."""
        category = self._categories[int(rng.choice(len(self._categories), p=self._weights))]
        tones = self._cast[category][int(rng.integers(len(self._cast[category])))]
        return tones[int(rng.integers(len(tones)))]

    def family(
        self,
        seed: int,
        size: tuple[int, int],
        subject: Cutout | None = None,
        looks: Sequence[Look] | None = None,
    ) -> Family:
        """Render one family. ``size`` is (width, height); ``looks`` default to drawn ones."""
        rng = np.random.default_rng([seed, 1])
        drawn = self.cast(rng)
        subject = subject or drawn
        stage = Stage.place(subject, seed, size)
        chosen = tuple(looks) if looks is not None else draw_looks(seed)
        sets = {
            scene: stage.shadow(render_scene(scene, seed, size), stage.box)
            for scene in dict.fromkeys(look.scene for look in chosen)
        }
        pictures = np.stack([self._render(stage, look, sets[look.scene]) for look in chosen])
        return Family(subject, chosen, pictures, seed)

    def _render(self, stage: Stage, look: Look, canvas: Pixels) -> NDArray[np.uint8]:
        """A look on the empty set ``canvas``, which stays as it is."""
        actor = stage.actor
        if look.colour:
            actor = np.dstack([tint(actor[..., :3], TINTS[look.colour]), actor[..., 3:]])
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
                canvas = over(stage.shadow(canvas, box), prop, (left, top))
        if look.weather:
            canvas = weather(look.weather, canvas, stage.seed)
        if look.box and look.side:
            canvas = outline(canvas, stage.spot(look.side))
        return (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)


def draw_looks(seed: int) -> tuple[Look, ...]:
    """The twenty-eight looks of a seed's family: three sets, three colours, two weathers, eight
    covers, four things, a red box, and seven that combine a colour, a thing, a set and a weather.

    Three things stand on one side, where a box is drawn too, one on the other side. Every cover
    lies elsewhere on the subject, three of them on another set or another colour. The combined
    looks are what a chain of edits comes by: each differs in one thing from another look.
    """

    rng = np.random.default_rng([seed, 3])

    def some(names: Sequence[str], count: int, but: Sequence[str] = ()) -> list[str]:
        left = [n for n in names if n not in but]
        return [left[int(i)] for i in rng.permutation(len(left))[:count]]

    named = [s for s in SCENES if not s.startswith("plain ")]
    plain = [s for s in SCENES if s.startswith("plain ")]
    sets = some(named, 2) + some(plain, 1)
    home, away, third = (sets[int(i)] for i in rng.permutation(3))
    colours, lights, covers = some(list(TINTS), 3), some(list(WEATHER), 2), some(OCCLUDERS, 2)
    side, across = ("left", "right") if rng.random() < 0.5 else ("right", "left")
    things = some(THINGS, 3)
    covers += some(OCCLUDERS, 6, covers)
    extra, light = some(THINGS, 1, things)[0], some(list(WEATHER), 1)[0]
    dressed = Look(home, colour=colours[0], thing=things[0], side=side)
    swapped = replace(dressed, thing=things[1])
    return (
        Look(home), Look(away), Look(third),
        *(Look(home, colour=c) for c in colours),
        *(Look(home, weather=w) for w in lights),
        *(Look(home, occluder=o, spot=k) for k, o in enumerate(covers[:5])),
        *(Look(home, thing=t, side=side) for t in (things[0], things[1], extra)),
        Look(home, thing=things[2], side=across),
        Look(home, side=side, box=True),
        Look(away, colour=colours[0]), replace(dressed, scene=away), dressed, swapped,
        replace(swapped, weather=light),
        Look(away, occluder=covers[5], spot=5), Look(third, occluder=covers[6], spot=6),
        Look(home, colour=colours[1], occluder=covers[7], spot=7),
        Look(third, colour=colours[1]), Look(third, colour=colours[1], weather=lights[0]),
    )  # fmt: skip


def pairs(looks: Sequence[Look]) -> Iterator[Pair]:
    """Every editing pair within a family: looks that differ in the one thing an edit names."""
    for i, a in enumerate(looks):
        for j, b in enumerate(looks):
            if i == j:
                continue
            pair = _pair(i, a, j, b)
            if pair is not None:
                yield pair


def _pair(i: int, a: Look, j: int, b: Look) -> Pair | None:
    """The edit that leads from ``a`` to ``b``, if one instruction does.

    What an edit does not name stays: a moved subject keeps its colour and the thing beside it.
    Light and covers come last: under them nothing else is asked for, since part is not seen.
    """
    open_ = not (a.weather or a.occluder or a.box)
    empty = a.thing is None and a.side is None
    # (category, what is asked for, its detail, whether it can be asked of a, what it makes of a).
    edits = (
        ("background", b.scene, None, open_ and a.scene != b.scene, replace(a, scene=b.scene)),
        ("recolour", b.colour, None, open_ and a.colour != b.colour, replace(a, colour=b.colour)),
        ("weather", b.weather, None, open_, replace(a, weather=b.weather)),
        ("uncover", a.occluder, None, a.weather is None, replace(a, occluder=None, spot=0)),
        ("add", b.thing, b.side, open_ and empty, replace(a, thing=b.thing, side=b.side)),
        ("replace", b.thing, a.thing, open_ and a.thing is not None, replace(a, thing=b.thing)),
        ("remove", a.thing, None, open_, replace(a, thing=None, side=None)),
        ("box", b.thing, None, a.box, replace(a, thing=b.thing, box=False)),
    )
    fitting = (
        Pair(i, j, category, value, detail or "")
        for category, value, detail, asked, made in edits
        if value and asked and made == b
    )
    return next(fitting, None)
