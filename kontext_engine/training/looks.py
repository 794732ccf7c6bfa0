"""Looks: what is on a family's pictures, and which two of them make an editing pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kontext_engine.training.cutouts import FACES, OCCLUDERS, THINGS
from kontext_engine.training.effects import TINTS, WEATHER
from kontext_engine.training.placement import POSES
from kontext_engine.training.scenes import SCENES
from kontext_engine.training.signs import draw_words
from kontext_engine.training.styles import STYLES


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
    style: str | None = None  # a rendering of all that is seen; None: the 3D one
    pose: str | None = None  # where and how large the subject is; None: as its family has it
    face: str | None = None  # of a family of faces: another expression in the same place
    word: str | None = None  # a sign with this word stands in the subject's stead
    empty: bool = False  # the set alone


@dataclass(frozen=True, slots=True)
class Pair:
    """An editing pair: indices of source and target in the family, and what changes.

    ``place`` is the index of the picture of the place, where that is the second context.
    """

    source: int
    target: int
    category: str
    value: str
    detail: str = ""
    place: int | None = None


def draw_looks(seed: int, face: bool = False) -> tuple[Look, ...]:
    """The forty-two looks of a seed's family: three sets, three colours, two weathers, eight
    covers, four things, a red box, and seven that combine a colour, a thing, a set and a weather;
    then three styles, an empty set, three poses, four signs, and three more: expressions of a
    ``face``, or what else there is.

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
        *_references(seed, (home, away, third), face),
    )  # fmt: skip


def _references(seed: int, sets: tuple[str, str, str], face: bool) -> Iterator[Look]:
    """The looks that references, signs and expressions are learned from, fourteen in all."""
    rng = np.random.default_rng([seed, 7])
    home, away, third = sets

    def some(names: Sequence[str], count: int) -> list[str]:
        return [names[int(k)] for k in rng.permutation(len(names))[:count]]

    styles, poses, words = some(list(STYLES), 4), some(list(POSES), 4), draw_words(rng, 4)
    faces = some(FACES, 3)
    yield from (Look(home, style=s) for s in styles[:3])
    yield Look(away, empty=True)
    yield from (Look(away, pose=poses[0]), Look(away, pose=poses[1]), Look(third, pose=poses[2]))
    yield from (Look(home, word=w) for w in words[:3])
    yield Look(away, word=words[0])
    if face:
        yield from (Look(home, face=name) for name in faces)
    else:
        yield from (
            Look(home, style=styles[3]),
            Look(home, pose=poses[3]),
            Look(third, word=words[3]),
        )


def pairs(looks: Sequence[Look]) -> Iterator[Pair]:
    """Every editing pair within a family: looks that differ in the one thing an edit names."""
    for i, a in enumerate(looks):
        for j, b in enumerate(looks):
            if i == j:
                continue
            pair = _pair(i, a, j, b)
            if pair is not None:
                yield pair
            yield from _referred(i, a, j, b, looks)


def _pair(i: int, a: Look, j: int, b: Look) -> Pair | None:
    """The edit that leads from ``a`` to ``b``, if one instruction does.

    What an edit does not name stays: a moved subject keeps its colour and the thing beside it.
    Light and covers come last: under them nothing else is asked for, since part is not seen.
    """
    open_ = not (a.weather or a.occluder or a.box)
    empty = a.thing is None and a.side is None
    goes = open_ and not a.word  # a sign does not: words for that would name the subject
    # (category, what is asked for, its detail, whether it can be asked of a, what it changes in a).
    edits: tuple[tuple[str, str | None, str | None, bool, dict[str, Any]], ...] = (
        ("background", b.scene, None, goes and a.scene != b.scene, {"scene": b.scene}),
        ("recolour", b.colour, None, open_ and a.colour != b.colour, {"colour": b.colour}),
        ("weather", b.weather, None, open_, {"weather": b.weather}),
        ("uncover", a.occluder, None, a.weather is None, {"occluder": None, "spot": 0}),
        ("add", b.thing, b.side, open_ and empty, {"thing": b.thing, "side": b.side}),
        ("replace", b.thing, a.thing, open_ and a.thing is not None, {"thing": b.thing}),
        ("remove", a.thing, None, open_, {"thing": None, "side": None}),
        ("box", b.thing, None, a.box, {"thing": b.thing, "box": False}),
        ("text", b.word, a.word, a.word is not None, {"word": b.word}),
        ("restyle", b.style, None, a.style is None, {"style": b.style}),
        ("expression", b.face, None, a.face != b.face, {"face": b.face}),
    )
    fitting = (
        Pair(i, j, category, value, detail or "")
        for category, value, detail, asked, changes in edits
        if value and asked and replace(a, **changes) == b
    )
    return next(fitting, None)


def _referred(i: int, a: Look, j: int, b: Look, looks: Sequence[Look]) -> Iterator[Pair]:
    """What is asked for by showing it: a character, a place, a style.

    A character of one picture is asked for elsewhere, in another pose; of a place that is known
    from a second picture only its name is not given. The second picture of a style is of another
    family.
    """
    if a == Look(a.scene, pose=a.pose):
        if b.pose and a.scene != b.scene and b == Look(b.scene, pose=b.pose):
            yield Pair(i, j, "character", b.scene, b.pose)
        place = Look(b.scene, empty=True)
        if a.scene != b.scene and b == Look(b.scene, pose=b.pose) and place in looks:
            yield Pair(i, j, "place", b.scene, b.pose or "", looks.index(place))
    if b.style and a == replace(b, style=None):
        yield Pair(i, j, "style", b.style)
