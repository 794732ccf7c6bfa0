"""The studio bench: every item through the ordinary engine, scored as it comes.

For each category: render, ask the engine, find the nearest candidate, measure PSNR and identity.
Then captions: ask, classify. Then chains: ask six times over, measure identity and artefacts.
Only a batch of pictures is in memory at a time, beside small copies if pages are wanted.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kontext_engine.api import Engine
from kontext_engine.evaluation.answers import Asker, Question
from kontext_engine.evaluation.captions import (
    COUNT,
    CaptionScore,
    caption_items,
    read_captions,
    read_renders,
)
from kontext_engine.evaluation.codec import RoundTrip
from kontext_engine.evaluation.drift import CHAINS, TURNS, Drift, run_drift
from kontext_engine.evaluation.errors import EvaluationError
from kontext_engine.evaluation.figures import EditScore, Likeness
from kontext_engine.evaluation.identity.net import Identity
from kontext_engine.evaluation.identity.retrieval import Retrieval, measure_retrieval
from kontext_engine.evaluation.items import (
    CATEGORIES,
    PER_CATEGORY,
    Cast,
    EditItem,
    Panel,
    edit_items,
)
from kontext_engine.evaluation.score import change_mask, fidelity, nearest
from kontext_engine.evaluation.sharpness import compared
from kontext_engine.training.cutouts import Cutout, read_set

Progress = Callable[[int, int, str], None]  # pictures made, of how many, what is under way
T = TypeVar("T")

# The stranger is so many items back: nearer ones may ask for the same thing in the same place
# (object: an addition, then a replacement by it).
STRANGER = 3

_PLACES = (Path("tests/data/cutouts"), Path("data/cutouts"))


def check_edge(edge: int, multiple: int) -> None:
    """That a bench can be held at ``edge`` x ``edge`` pixels.

    Raises:
        EvaluationError: it cannot.
    """
    if edge % multiple or edge < 64:
        raise EvaluationError(
            f"size {edge}: expected a multiple of {multiple}, at least 64; 128 is usual"
        )


@dataclass(frozen=True, slots=True)
class StudioSettings:
    """What the figures depend on beside the model. ``limit`` cuts every list short."""

    steps: int
    seed: int = 0
    batch: int = 16
    limit: int | None = None
    edge: int = 128  # pixels; the bench proper is at 128
    true_cfg: float = 1.0  # 1 in the bench proper: no classifier-free guidance
    keep_pictures: bool = False

    @property
    def per_category(self) -> int:
        """Edits of each category."""
        return min(PER_CATEGORY, self.limit or PER_CATEGORY)

    @property
    def captions(self) -> int:
        """Text-to-image pictures."""
        return min(COUNT, self.limit or COUNT)

    @property
    def chains(self) -> int:
        """Six-turn chains."""
        return min(CHAINS, self.limit or CHAINS)

    @property
    def retrieved(self) -> int | None:
        """Held-out subjects that the identity net is tried on; None: all of them."""
        return None if self.limit is None else max(16, 4 * self.limit)

    @property
    def pictures(self) -> int:
        """How many the engine makes in all."""
        edits = self.per_category * len(CATEGORIES)
        return edits + self.captions + self.chains * len(TURNS)


@dataclass(frozen=True, slots=True)
class StudioReport:
    """Everything that was measured. ``pictures`` (WebP) by item id, if they were kept.

    ``renders``: what the classifier reads on true renders, which is the captions' ceiling.
    """

    settings: StudioSettings
    engine: Engine
    identity: Identity
    items_digest: str
    retrieval: Retrieval
    edits: tuple[EditScore, ...]
    captions: tuple[CaptionScore, ...]
    renders: tuple[CaptionScore, ...]
    drift: Drift
    seconds: float
    engine_seconds: float
    pictures: dict[str, tuple[bytes, ...]]

    def category(self, name: str) -> list[EditScore]:
        """The scored edits of one category."""
        return [s for s in self.edits if s.item.category == name]


def find_cutouts(folder: Path | None = None) -> list[Cutout]:
    """The cut-outs in ``folder``, or those that came with the checkout.

    Raises:
        EvaluationError: there are none.
        TrainingError: their listing is damaged.
    """
    checkout = Path(__file__).resolve().parents[2]
    places = [folder] if folder else [root / p for root in (Path(), checkout) for p in _PLACES]
    for place in places:
        try:
            found = read_set(place)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise EvaluationError(f"{place}: not a readable set of cut-outs ({error})") from error
        if found:
            return found
    shown = str(folder) if folder else " or ".join(map(str, _PLACES))
    raise EvaluationError(
        f"no cut-outs in {shown}; run this in a checkout, which has them, or fetch the set with "
        "`make data` and name it with --cutouts"
    )


@dataclass
class _Run:
    """A bench under way: what scoring needs, and what it gathers."""

    settings: StudioSettings
    cast: Cast
    asker: Asker
    round_trip: RoundTrip
    identity: Identity
    progress: Progress
    made: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    pictures: dict[str, tuple[bytes, ...]] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        return self.asker.size

    def advance(self, count: int, what: str) -> None:
        self.made += count
        self.progress(self.made, self.settings.pictures, what)

    def keep(self, name: str, *pictures: NDArray[np.uint8]) -> None:
        if self.settings.keep_pictures:
            self.pictures[name] = tuple(map(as_webp, pictures))


def run_studio(
    engine: Engine,
    round_trip: RoundTrip,
    identity: Identity,
    cutouts: Sequence[Cutout],
    settings: StudioSettings,
    progress: Progress = lambda _done, _total, _what: None,
) -> StudioReport:
    """Measure ``engine``. ``round_trip`` is its autoencoder alone.

    Raises:
        EvaluationError: cut-outs are missing, or the engine failed on an item.
    """
    check_edge(settings.edge, engine.spec.multiple)
    started = time.monotonic()
    size = (settings.edge, settings.edge)
    asker = Asker(engine, settings.steps, settings.seed, size, settings.true_cfg)
    run = _Run(settings, Cast.of(cutouts), asker, round_trip, identity, progress)
    progress(0, settings.pictures, "the identity net on held-out subjects")
    retrieval = measure_retrieval(identity, run.cast, size, settings.retrieved)
    edits = [score for name in CATEGORIES for score in _score_category(run, name)]
    captions = _score_captions(run)
    renders = read_renders(identity, run.cast, cutouts, size)
    drift = run_drift(
        run.cast, asker, round_trip, identity, settings.chains, settings.batch,
        lambda count: run.advance(count, "chains"),
    )  # fmt: skip
    for number, one in enumerate(drift.chains):
        run.keep(one.id, *drift.pictures[number].reshape(-1, *drift.pictures.shape[3:]))
    return StudioReport(
        settings=settings, engine=engine, identity=identity, items_digest=run.digest.hexdigest(),
        retrieval=retrieval, edits=tuple(edits), captions=tuple(captions), renders=tuple(renders),
        drift=drift, seconds=time.monotonic() - started, engine_seconds=asker.seconds,
        pictures=run.pictures,
    )  # fmt: skip


def _score_category(run: _Run, category: str) -> Iterator[EditScore]:
    items = edit_items(run.cast, category, run.size, run.settings.per_category)
    strangers: deque[NDArray[np.uint8]] = deque(maxlen=STRANGER)
    for batch in _batched(items, run.settings.batch):
        for item, panel in batch:
            run.digest.update(item.prompt.encode() + panel.source.tobytes())
            run.digest.update(panel.truth.tobytes())
        outputs = run.asker.ask([Question(i.id, i.prompt, p.source) for i, p in batch])
        yield from _score_batch(run, batch, outputs, strangers)
        run.advance(len(batch), category)


def _score_batch(
    run: _Run,
    batch: Sequence[tuple[EditItem, Panel]],
    outputs: NDArray[np.uint8],
    strangers: deque[NDArray[np.uint8]],
) -> Iterator[EditScore]:
    truths = np.stack([panel.truth for _, panel in batch])
    passed = run.round_trip(truths)
    sources = run.identity.embed(np.stack([panel.source for _, panel in batch]))
    like_output = (run.identity.embed(outputs) * sources).sum(1)
    like_truth = (run.identity.embed(truths) * sources).sum(1)
    for k, (item, panel) in enumerate(batch):
        run.keep(item.id, panel.source, outputs[k], panel.truth)
        likeness = Likeness(float(like_output[k]), float(like_truth[k]))
        stranger = strangers[0] if len(strangers) == STRANGER else None
        yield score_edit(item, panel, outputs[k], passed[k], stranger, likeness)
        strangers.append(outputs[k])


def score_edit(
    item: EditItem,
    panel: Panel,
    output: NDArray[np.uint8],
    passed: NDArray[np.uint8],
    stranger: NDArray[np.uint8] | None,
    likeness: Likeness,
) -> EditScore:
    """Score one output. ``passed`` is the truth through the autoencoder, ``stranger`` another
    item's output, which chance is measured with."""
    candidates = panel.candidates
    mask = change_mask(panel.source, candidates)
    return EditScore(
        item=item,
        chosen=nearest(output, candidates, mask),
        candidates=len(candidates),
        output=fidelity(output, panel.source, panel.truth),
        ceiling=fidelity(passed, panel.source, panel.truth),
        copy=fidelity(panel.source, panel.source, panel.truth),
        likeness=likeness,
        fine=compared(output, passed, panel.source, panel.truth),
        ceiling_right=nearest(passed, candidates, mask) == 0,
        copy_right=nearest(panel.source, candidates, mask) == 0,
        shuffled_right=None if stranger is None else nearest(stranger, candidates, mask) == 0,
    )


def _score_captions(run: _Run) -> list[CaptionScore]:
    scores: list[CaptionScore] = []
    items = caption_items(run.identity.classes, run.settings.captions)
    for batch in _batched(iter(items), run.settings.batch):
        pictures = run.asker.ask([Question(i.id, i.prompt) for i in batch])
        scores += read_captions(run.identity, batch, pictures)
        for item, picture in zip(batch, pictures, strict=True):
            run.digest.update(item.prompt.encode())
            run.keep(item.id, picture)
        run.advance(len(batch), "text-to-image")
    return scores


def as_webp(picture: NDArray[np.uint8]) -> bytes:
    """A small copy for the pages; nothing is ever measured on it."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "WEBP", quality=90)
    return stream.getvalue()


def _batched(items: Iterator[T], count: int) -> Iterator[list[T]]:
    while batch := list(islice(items, count)):
        yield batch
