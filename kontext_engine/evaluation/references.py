"""The bench of what is asked for by showing or by spelling it: style, character, place, text.

Held out are subjects, wordings, scene instances (seeds from 41,000,000) and the words on signs.
Of each item nine pictures are told apart: the truth, others of its kind, and every picture that
was given, so that handing one of them back is never right.

- *style*: the subject in the style of a second picture, which shows another subject; six other
  styles of the same picture, and both given ones.
- *character*: the subject in another scene and pose, by words; seven other subjects there.
- *place*: the subject on the set of a second picture; six other subjects there.
- *text*: the word on a sign replaced. Right is what reads as the new word, letter by letter
  (``reader``); nothing is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from kontext_engine.evaluation.answers import Asker, Question
from kontext_engine.evaluation.codec import RoundTrip
from kontext_engine.evaluation.identity.net import Identity
from kontext_engine.evaluation.items import Cast
from kontext_engine.evaluation.reader import read_sign
from kontext_engine.evaluation.score import Mask, Share, change_mask, median, nearest, share
from kontext_engine.training.cutouts import Cutout
from kontext_engine.training.looks import Look, Pair
from kontext_engine.training.placement import POSES
from kontext_engine.training.scenes import SCENES
from kontext_engine.training.signs import HELD_OUT, Sign
from kontext_engine.training.styles import STYLES
from kontext_engine.training.wording import instruct

FIRST_SEED = 41_000_000
COUNT = 60
KINDS = ("style", "character", "place", "text")
SHOWN = {"style": 2, "place": 2}  # pictures given; one where it is not said
CANDIDATES = 9

Pictures = NDArray[np.uint8]  # (n, h, w, 3)


@dataclass(frozen=True, slots=True)
class Reference:
    """One question with its pictures: ``given`` the contexts in order, ``others`` wrong answers.

    ``word`` is what a sign shall read, and ``sign`` where; None where nothing is read.
    """

    id: str
    kind: str
    prompt: str
    given: Pictures
    truth: NDArray[np.uint8]
    others: Pictures
    word: str = ""
    sign: Sign | None = None

    def right(self, picture: NDArray[np.uint8]) -> bool:
        """Whether a picture is what was asked for."""
        if self.sign is not None:
            return read_sign(picture, self.sign) == self.word
        candidates = np.concatenate([self.truth[None], self.others, self.given])
        return nearest(picture, candidates, self._mask()) == 0

    def _mask(self) -> Mask:
        """Where the other answers differ from the truth: what is to be told apart."""
        return change_mask(self.truth, self.others)


@dataclass(frozen=True, slots=True)
class ReferenceScore:
    """What was made of a question, and what the bench says of answers that are known.

    ``copies``: of each given picture, whether handing it back would be right. ``likeness``: cosine
    of the identity of the answer and of the first picture.
    """

    kind: str
    right: bool
    truth_right: bool
    passed_right: bool
    copies: tuple[bool, ...]
    likeness: float


@dataclass(frozen=True, slots=True)
class ReferenceFigures:
    """The figures of one kind."""

    kind: str
    right: Share
    truths: Share
    passed: Share  # true targets through the autoencoder
    copies: Share
    identity: float | None
    above: Share  # more like the first picture than strangers are


def reference(cast: Cast, kind: str, number: int, size: tuple[int, int]) -> Reference:
    """Item ``number`` of a kind; ``size`` is (width, height) in pixels."""
    seed = FIRST_SEED + KINDS.index(kind) * 10_000 + number
    rng = np.random.default_rng([seed, 40])
    subject = cast.subjects[(7 * number + 31 * KINDS.index(kind)) % len(cast.subjects)]
    scenes = list(SCENES)
    home, away = (scenes[int(k)] for k in rng.permutation(len(scenes))[:2])
    return _MAKERS[kind](_Draft(cast, kind, number, seed, subject, home, away, size, rng))


@dataclass(frozen=True, slots=True)
class _Draft:
    """What an item is made of."""

    cast: Cast
    kind: str
    number: int
    seed: int
    subject: Cutout
    home: str
    away: str
    size: tuple[int, int]
    rng: np.random.Generator

    def shown(self, *looks: Look, subject: Cutout | None = None, apart: int = 0) -> Pictures:
        chosen = subject or self.subject
        return self.cast.studio.family(self.seed + apart, self.size, chosen, looks).pictures

    def asked(self, value: str, detail: str = "") -> str:
        pair = Pair(0, 1, self.kind, value, detail)
        return instruct(pair, self.subject.noun, self.rng, "held_out")

    def strangers(self, count: int, look: Look) -> Pictures:
        """Other subjects in the same place and pose."""
        rest = [c for c in self.cast.subjects if c.subject != self.subject.subject]
        some = [rest[int(k)] for k in self.rng.permutation(len(rest))[:count]]
        return np.concatenate([self.shown(look, subject=c) for c in some])

    def stranger(self) -> Cutout:
        rest = [c for c in self.cast.subjects if c.subject != self.subject.subject]
        return rest[int(self.rng.integers(len(rest)))]

    def item(self, prompt: str, given: Pictures, truth: Pictures, others: Pictures) -> Reference:
        name = f"{self.kind}-{self.number:03d}"
        return Reference(name, self.kind, prompt, given, truth[0], others)


def _style(draft: _Draft) -> Reference:
    names = list(STYLES)
    asked = names[draft.number % len(names)]
    rest = [names[int(k)] for k in draft.rng.permutation(len(names)) if names[int(k)] != asked]
    plain = draft.shown(Look(draft.home))
    # Seeds of the second picture's family lie past those of all items.
    second = draft.shown(Look(draft.away, style=asked), subject=draft.stranger(), apart=5_000)
    truth = draft.shown(Look(draft.home, style=asked))
    others = draft.shown(*(Look(draft.home, style=name) for name in rest[:6]))
    return draft.item(draft.asked(asked), np.concatenate([plain, second]), truth, others)


def _character(draft: _Draft) -> Reference:
    pose = list(POSES)[draft.number % len(POSES)]
    look = Look(draft.away, pose=pose)
    prompt = draft.asked(draft.away, pose)
    others = draft.strangers(7, look)
    return draft.item(prompt, draft.shown(Look(draft.home)), draft.shown(look), others)


def _place(draft: _Draft) -> Reference:
    pose = (None, *POSES)[draft.number % (1 + len(POSES))]
    look = Look(draft.away, pose=pose)
    prompt = draft.asked(draft.away, pose or "")
    given = draft.shown(Look(draft.home), Look(draft.away, empty=True))
    return draft.item(prompt, given, draft.shown(look), draft.strangers(6, look))


def _text(draft: _Draft) -> Reference:
    # By seven, which shares no factor with the list's length: no word stands beside its neighbour.
    word = HELD_OUT[draft.number % len(HELD_OUT)]
    old = HELD_OUT[(draft.number + 7) % len(HELD_OUT)]
    given = draft.shown(Look(draft.home, word=old))
    truth = draft.shown(Look(draft.home, word=word))
    name, sign = f"text-{draft.number:03d}", Sign.of(draft.seed, draft.size)
    return Reference(name, "text", draft.asked(word, old), given, truth[0], given[:0], word, sign)


_MAKERS: dict[str, Callable[[_Draft], Reference]] = {
    "style": _style, "character": _character, "place": _place, "text": _text,
}  # fmt: skip


def run_references(
    cast: Cast,
    asker: Asker,
    round_trip: RoundTrip,
    identity: Identity,
    stranger: float,
    kinds: Sequence[str] = KINDS,
    count: int = COUNT,
    batch: int = 16,
    progress: Callable[[int, str], None] = lambda _made, _what: None,
) -> list[ReferenceFigures]:
    """Ask the first ``count`` of each of ``kinds``; ``stranger`` is a cosine that pictures of
    different subjects hardly exceed; ``progress`` gets how many more were made, and of what."""
    found = []
    for kind in kinds:
        items = (reference(cast, kind, k, asker.size) for k in range(count))
        scores: list[ReferenceScore] = []
        while some := list(islice(items, batch)):
            scores += _scored(some, asker, round_trip, identity)
            progress(len(some), kind)
        found.append(_figures(kind, scores, stranger))
    return found


def _scored(
    items: Sequence[Reference], asker: Asker, round_trip: RoundTrip, identity: Identity
) -> Iterator[ReferenceScore]:
    made = asker.ask([Question(i.id, i.prompt, *i.given) for i in items])
    passed = round_trip(np.stack([i.truth for i in items]))
    first = identity.embed(np.stack([i.given[0] for i in items]))
    likeness = (identity.embed(made) * first).sum(1)
    for k, item in enumerate(items):
        yield ReferenceScore(
            item.kind,
            item.right(made[k]),
            item.right(item.truth),
            item.right(passed[k]),
            tuple(item.right(picture) for picture in item.given),
            float(likeness[k]),
        )


def _figures(kind: str, scores: Sequence[ReferenceScore], stranger: float) -> ReferenceFigures:
    return ReferenceFigures(
        kind,
        share([s.right for s in scores]),
        share([s.truth_right for s in scores]),
        share([s.passed_right for s in scores]),
        share([copied for s in scores for copied in s.copies]),
        median([s.likeness for s in scores]),
        share([s.likeness > stranger for s in scores]),
    )
