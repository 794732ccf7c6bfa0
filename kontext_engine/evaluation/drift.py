"""Multi-turn drift: six edits, each of the 8-bit picture that the one before it made.

A chain moves the subject to another scene, recolours it, stands a thing beside it, moves it
again, replaces the thing, and changes the weather. The studio renders the truth after each turn,
and the autoencoder alone goes along: the same source encoded and decoded as often. Identity
is always against the chain's first picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kontext_engine.evaluation.answers import Asker, Question
from kontext_engine.evaluation.codec import RoundTrip
from kontext_engine.evaluation.identity.net import Identity
from kontext_engine.evaluation.items import FIRST_SEED, Cast
from kontext_engine.evaluation.score import artefact_energy
from kontext_engine.training.cutouts import THINGS, Cutout
from kontext_engine.training.effects import TINTS, WEATHER
from kontext_engine.training.looks import Look, Pair
from kontext_engine.training.scenes import SCENES
from kontext_engine.training.wording import instruct

TURNS = ("background", "recolour", "add", "background", "replace", "weather")
CHAINS = 36
_SEED = FIRST_SEED + 700_000

Floats = NDArray[np.float64]
Progress = Callable[[int], None]  # pictures made since the last call


@dataclass(frozen=True, slots=True)
class Chain:
    """A subject, six instructions, and the looks from the source (first) to the last truth."""

    id: str
    subject: Cutout
    seed: int
    prompts: tuple[str, ...]
    looks: tuple[Look, ...]


@dataclass(frozen=True, slots=True)
class Course:
    """One line of the plot, (chains, turns + 1); turn 0 is the untouched source."""

    identity: Floats
    artefacts: Floats  # levels, see score.artefact_energy


@dataclass(frozen=True, slots=True)
class Drift:
    """How the model's chains went, beside the truth and the autoencoder alone.

    ``pictures`` uint8 (chains, 2, turns + 1, h, w, 3): outputs, truths.
    """

    chains: tuple[Chain, ...]
    model: Course
    truth: Course
    codec: Course
    pictures: NDArray[np.uint8]


def chain(cast: Cast, number: int) -> Chain:
    """Chain ``number``; values by turns, subjects from the end of the held-out order."""
    seed = _SEED + number
    rng = np.random.default_rng([seed, 41])
    subject = cast.subjects[-1 - number % len(cast.subjects)]

    def some(names: list[str], count: int) -> list[str]:
        return [names[int(k)] for k in rng.permutation(len(names))[:count]]

    scenes, things = some(list(SCENES), 3), some(list(THINGS), 2)
    side = ("left", "right")[number % 2]
    colour, weather = some(list(TINTS), 1)[0], some(list(WEATHER), 1)[0]
    looks = [Look(scenes[0]), Look(scenes[1])]
    looks.append(replace(looks[-1], colour=colour))
    looks.append(replace(looks[-1], thing=things[0], side=side))
    looks.append(replace(looks[-1], scene=scenes[2]))
    looks.append(replace(looks[-1], thing=things[1]))
    looks.append(replace(looks[-1], weather=weather))
    asked = (
        (scenes[1], ""), (colour, ""), (things[0], side), (scenes[2], ""),
        (things[1], things[0]), (weather, ""),
    )  # fmt: skip
    prompts = tuple(
        instruct(Pair(k, k + 1, category, value, detail), subject.noun, rng, "held_out")
        for k, (category, (value, detail)) in enumerate(zip(TURNS, asked, strict=True))
    )
    return Chain(f"chain-{number:02d}", subject, seed, prompts, tuple(looks))


def run_drift(
    cast: Cast, asker: Asker, round_trip: RoundTrip, identity: Identity,
    count: int, batch: int, progress: Progress,
) -> Drift:  # fmt: skip
    """Run the first ``count`` chains, ``batch`` at a time."""
    chains = [chain(cast, k) for k in range(count)]
    made, truths, passed = [], [], []
    for k in range(0, count, batch):
        some = chains[k : k + batch]
        rendered = np.stack(
            [cast.studio.family(c.seed, asker.size, c.subject, c.looks).pictures for c in some]
        )
        truths.append(rendered)
        made.append(np.stack(list(_turns(some, rendered[:, 0], asker, progress)), axis=1))
        passes = [rendered[:, 0]]
        for _ in TURNS:
            passes.append(round_trip(passes[-1]))
        passed.append(np.stack(passes, axis=1))
    outputs, rendered = np.concatenate(made), np.concatenate(truths)
    return Drift(
        tuple(chains),
        _course(identity, outputs),
        _course(identity, rendered),
        _course(identity, np.concatenate(passed)),
        np.stack([outputs, rendered], axis=1),
    )


def _turns(
    chains: list[Chain], sources: NDArray[np.uint8], asker: Asker, progress: Progress
) -> Iterator[NDArray[np.uint8]]:
    current = sources
    yield current
    for turn in range(len(TURNS)):
        current = asker.ask(
            [
                Question(f"{c.id}-{turn + 1}", c.prompts[turn], picture)
                for c, picture in zip(chains, current, strict=True)
            ]
        )
        progress(len(chains))
        yield current


def _course(identity: Identity, pictures: NDArray[np.uint8]) -> Course:
    """Identity against turn 0 and artefact energy of every picture (chains, turns + 1, h, w, 3)."""
    count, turns = pictures.shape[:2]
    flat = pictures.reshape(count * turns, *pictures.shape[2:])
    vectors = identity.embed(flat).reshape(count, turns, -1).astype(np.float64)
    likeness = np.einsum("ctd,cd->ct", vectors, vectors[:, 0])
    energy = np.array([artefact_energy(p) for p in flat]).reshape(count, turns)
    return Course(likeness, energy)
