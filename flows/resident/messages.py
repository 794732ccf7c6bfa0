"""What a worker and its engine processes tell each other.

Orders go down (``Load``, ``Run``, ``Cancel``, ``Stop``), tidings come up. Every job, a load or a
run, has a number and ends with exactly one ``Ended`` or ``Refused``, or with the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pickle import PickleBuffer
from typing import SupportsIndex

from PIL import Image

from kontext_engine import errors
from kontext_engine.api import EditFailure, EditRequest, EditResult, StepProgress
from kontext_engine.errors import EngineError, RequestError
from kontext_engine.geometry import GeometryRecord
from kontext_engine.spec import ModelSpec, NumericsProfile


@dataclass(frozen=True, slots=True)
class Model:
    """Which weights, computed how: what an engine process holds."""

    spec: ModelSpec
    numerics: NumericsProfile


@dataclass(frozen=True, slots=True)
class Pixels:
    """A picture on its way: ``data`` is rows of pixels, top down, 8 bits a channel."""

    mode: str
    size: tuple[int, int]
    data: bytes | bytearray

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[type[Pixels], tuple[object, ...]]:
        # Wrapped, so that a channel sends it beside the pickle and not within.
        return Pixels, (self.mode, self.size, PickleBuffer(self.data))


@dataclass(frozen=True, slots=True)
class PackedRequest:
    """An edit request whose pictures are packed; ``request`` itself has none."""

    request: EditRequest
    contexts: tuple[Pixels, ...]
    mask: Pixels | None


@dataclass(frozen=True, slots=True)
class PackedResult:
    """An edit result whose picture is packed."""

    id: str
    image: Pixels
    geometry: GeometryRecord
    seconds: float
    notes: tuple[str, ...]


# --- orders


@dataclass(frozen=True, slots=True)
class Load:
    """Hold this model."""

    job: int
    model: Model


@dataclass(frozen=True, slots=True)
class Run:
    """Answer these requests with this model, loading it if another is held."""

    job: int
    model: Model
    requests: tuple[PackedRequest, ...]


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop this job at its next denoise step."""

    job: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop whatever goes on at its next denoise step, and end."""


# --- tidings


@dataclass(frozen=True, slots=True)
class Ready:
    """The process is up and can be asked."""


@dataclass(frozen=True, slots=True)
class Loading:
    """The model held until now is let go, the job's is being loaded."""

    job: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """The job's model is held; it took ``seconds`` and was this process's load number ``loads``."""

    job: int
    model: Model
    seconds: float
    loads: int


@dataclass(frozen=True, slots=True)
class Began:
    """The requests of this job are in the engine's hands."""

    job: int


@dataclass(frozen=True, slots=True)
class Denoised:
    """A batch of the job has done a step."""

    job: int
    progress: StepProgress


@dataclass(frozen=True, slots=True)
class Answered:
    """One request's answer."""

    job: int
    answer: PackedResult | EditFailure


@dataclass(frozen=True, slots=True)
class Stats:
    """One process's life so far: models loaded, answers given, seconds at work on jobs."""

    loads: int = 0
    answers: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """The job is over: everything answered, or ``cancelled``."""

    job: int
    cancelled: bool
    stats: Stats


@dataclass(frozen=True, slots=True)
class Refused:
    """The job ended in an error that the engine raised on purpose; the process lives on."""

    job: int
    kind: str
    reason: str
    stats: Stats


@dataclass(frozen=True, slots=True)
class Broken:
    """Something unexpected happened, so the process ends: these are its last words."""

    reason: str


Order = Load | Run | Cancel | Stop
Tiding = Ready | Loading | Loaded | Began | Denoised | Answered | Ended | Refused | Broken


# --- packing


def pack_requests(
    requests: Sequence[EditRequest],
) -> tuple[tuple[PackedRequest, ...], tuple[EditFailure, ...]]:
    """Requests ready to be sent, and those whose pictures cannot be read, as failures.

    A picture that several requests share is packed, and sent, once.
    """
    packed: list[PackedRequest] = []
    failed: list[EditFailure] = []
    seen: dict[tuple[int, str], Pixels] = {}
    for request in requests:
        try:
            packed.append(_pack_request(request, seen))
        except RequestError as error:
            failed.append(EditFailure(request.id, str(error)))
    return tuple(packed), tuple(failed)


def _pack_request(request: EditRequest, seen: dict[tuple[int, str], Pixels]) -> PackedRequest:
    def packed(image: Image.Image, mode: str, name: str) -> Pixels:
        # By identity: the caller's requests keep their pictures alive while they are packed.
        if (id(image), mode) not in seen:
            try:
                seen[id(image), mode] = _pixels(image, mode)
            except (OSError, ValueError, SyntaxError) as error:
                raise RequestError(f"{name}: damaged ({error})") from error
        return seen[id(image), mode]

    contexts = tuple(
        packed(image, "RGB", f"context picture {number}")
        for number, image in enumerate(request.contexts, start=1)
    )
    mask = packed(request.mask, "L", "mask") if request.mask is not None else None
    return PackedRequest(replace(request, contexts=(), mask=None), contexts, mask)


def unpack_requests(packed: Sequence[PackedRequest]) -> list[EditRequest]:
    """The requests with their pictures; one that was shared is one picture again."""
    seen: dict[int, Image.Image] = {}

    def picture(pixels: Pixels) -> Image.Image:
        if id(pixels) not in seen:
            seen[id(pixels)] = _image(pixels)
        return seen[id(pixels)]

    return [
        replace(
            item.request,
            contexts=tuple(picture(pixels) for pixels in item.contexts),
            mask=picture(item.mask) if item.mask is not None else None,
        )
        for item in packed
    ]


def pack_answer(answer: EditResult | EditFailure) -> PackedResult | EditFailure:
    """An answer ready to be sent."""
    if isinstance(answer, EditFailure):
        return answer
    image = _pixels(answer.image, "RGB")
    return PackedResult(answer.id, image, answer.geometry, answer.seconds, answer.notes)


def unpack_answer(answer: PackedResult | EditFailure) -> EditResult | EditFailure:
    """The answer with its picture."""
    if isinstance(answer, EditFailure):
        return answer
    image = _image(answer.image)
    return EditResult(answer.id, image, answer.geometry, answer.seconds, answer.notes)


def _pixels(image: Image.Image, mode: str) -> Pixels:
    return Pixels(mode, image.size, image.convert(mode).tobytes())


def _image(pixels: Pixels) -> Image.Image:
    return Image.frombytes(pixels.mode, pixels.size, pixels.data)


def error_of(refused: Refused) -> EngineError:
    """The error that a process told of, of the kind that it was there."""
    kind = getattr(errors, refused.kind, EngineError)
    if not (isinstance(kind, type) and issubclass(kind, EngineError)):
        kind = EngineError
    return kind(refused.reason)
