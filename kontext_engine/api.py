"""The vocabulary between the pipeline and an engine: requests, results, the Engine protocol.

Torch-free, so that planners, schedulers and supervisors can speak it without loading torch.
Every value is frozen; an engine answers each request with exactly one result or failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from PIL import Image

from kontext_engine.errors import (
    Cancelled,
    EngineError,
    GeometryError,
    ModelError,
    PictureError,
    RequestError,
)
from kontext_engine.geometry import Fit, GeometryRecord, Size
from kontext_engine.spec import ModelSpec, NumericsProfile

__all__ = [
    "Cancelled",
    "EditFailure",
    "EditRequest",
    "EditResult",
    "Engine",
    "EngineError",
    "EngineOptions",
    "GeometryError",
    "InBatch",
    "Judged",
    "ModelError",
    "Phase",
    "PictureError",
    "RequestError",
    "StepCallback",
    "StepProgress",
]


class InBatch(NamedTuple):
    """Where a picture was computed: at ``place``, from 0, of a batch of ``size`` requests.

    The last bits of its numbers depend on that, and on nothing of its mates.
    """

    place: int
    size: int


@dataclass(frozen=True, slots=True)
class EditRequest:
    """One picture to make.

    ``contexts`` empty is text-to-image; one or more is in-context editing (paper section 3).
    ``size`` is the target in pixels; ``None`` follows the first context's aspect at the model's
    pixel area, or the model's default size when there is no context.
    ``guidance`` ``None`` takes the model's default; a model without a guidance embedding answers
    a given value with a note in the result. ``true_cfg`` > 1 runs classifier-free guidance with
    ``negative_prompt`` (two forward passes a step; ``None`` is the empty prompt).
    ``mask``, at the first context's size, is white where something new is painted. Models that fill
    (channel-wise condition with a mask) need one and are shown it; those that see their contexts in
    sequence are held, where it is black, on the first context's own trajectory.
    ``cutout`` names what is to cut the first context's subject out (``kontext_engine.cutout``),
    ``cutter`` the file of the model that does, if one does: no other is asked then, and the answer
    is a mask of the context's size.
    ``judge`` names who is to look at the first context (``kontext_engine.judges``), which may be
    compared with the second; ``prompt`` is the text to be read, ``mask`` is white where nothing was
    to change. No model is asked then, and the answer has ``judged``.
    ``batch`` asks to be computed as it was before, bit by bit: there, among copies of itself.
    """

    id: str
    prompt: str
    seed: int
    steps: int
    contexts: tuple[Image.Image, ...] = ()
    size: Size | None = None
    fit: Fit = Fit.CROP
    guidance: float | None = None
    negative_prompt: str | None = None
    true_cfg: float = 1.0
    mask: Image.Image | None = None
    cutout: str = ""
    cutter: str = ""
    judge: str = ""
    batch: InBatch | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What a judge says: the higher the ``score``, the better; and why, for people."""

    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class EditResult:
    """The picture made for one request: RGB, 8 bits, of the size that was asked for; L of a cutout,
    and of a judge's look a pixel, beside ``judged``.

    ``geometry`` tells what was done to each context and to the output; ``notes`` what the caller
    should know (an ignored guidance, a cropped input); ``seconds`` is this request's share of
    its batch's engine time; ``batch`` is where a model made it.
    """

    id: str
    image: Image.Image
    geometry: GeometryRecord
    seconds: float
    notes: tuple[str, ...] = ()
    judged: Judged | None = None
    batch: InBatch | None = None


@dataclass(frozen=True, slots=True)
class EditFailure:
    """Why one request could not be carried out, for a person to read."""

    id: str
    reason: str
    retryable: bool = False


class Phase(StrEnum):
    """Where a batch is."""

    ENCODE = "encode"
    DENOISE = "denoise"
    DECODE = "decode"


@dataclass(frozen=True, slots=True)
class StepProgress:
    """Reported after each denoise step of a batch: ``step`` of ``steps`` done for ``ids``."""

    ids: tuple[str, ...]
    step: int
    steps: int
    phase: Phase = Phase.DENOISE


StepCallback = Callable[[StepProgress], None]


class Engine(Protocol):
    """A loaded model that turns requests into pictures."""

    @property
    def spec(self) -> ModelSpec:
        """The model that this engine keeps resident."""

    @property
    def numerics(self) -> NumericsProfile:
        """The numerics the pictures are made with; part of every step's key."""

    def run(
        self, requests: Sequence[EditRequest], on_step: StepCallback | None = None
    ) -> Iterator[EditResult | EditFailure]:
        """Answer every request, in any order, yielding each batch's answers when it is done.

        Requests are grouped by shape and steps. The same request gives the same picture in any
        batch, within the tolerance of the numerics profile.

        Raises:
            Cancelled: ``on_step`` raised it; requests not yet answered were not done.
        """


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to hold a model: where, how precise, how many requests at once."""

    numerics: NumericsProfile = field(default_factory=NumericsProfile)
    max_batch: int = 8
    call_log: str | None = None
