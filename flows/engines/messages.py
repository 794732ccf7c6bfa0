"""What a worker and its engine processes tell each other, pickled through a pipe.

Orders go down, tidings come up: the state that the process comes to, each step and each answer of
its job as they are. Every job has a number and ends with exactly one ``Ended``, or with the
process. Pickle is safe here: both ends are the same user's processes running the same code over a
pair of sockets that nobody else can open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image

from flows.engines.options import EngineState
from kontext_engine.api import EditFailure, EditRequest, EditResult, StepProgress
from kontext_engine.errors import EngineError, RequestError
from kontext_engine.spec import ModelSpec, NumericsProfile


@dataclass(frozen=True, slots=True)
class Model:
    """Which weights, computed how: what an engine process holds."""

    spec: ModelSpec
    numerics: NumericsProfile


# --- orders


@dataclass(frozen=True, slots=True)
class Run:
    """Hold this model and answer these requests; without any the model is only loaded."""

    job: int
    model: Model
    requests: tuple[EditRequest, ...] = ()


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop this job at its next denoise step."""

    job: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop whatever goes on at its next denoise step, and end."""


# --- tidings


@dataclass(frozen=True, slots=True)
class Began:
    """The job's requests are in the engine's hands."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The job is over: by what the engine raised on purpose, or everything is answered."""

    error: EngineError | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """Something unexpected happened, so the process ends: these are its last words."""

    reason: str


Order = Run | Cancel | Stop
Tiding = EngineState | Began | StepProgress | EditResult | EditFailure | Ended | Broken


def sendable(
    requests: Sequence[EditRequest],
) -> tuple[tuple[EditRequest, ...], tuple[EditFailure, ...]]:
    """Requests whose pictures are read, and those whose pictures cannot be, as failures.

    A picture that several requests share stays one, and is sent once.
    """
    ready: list[EditRequest] = []
    failed: list[EditFailure] = []
    seen: dict[tuple[int, str], Image.Image] = {}

    def read(image: Image.Image, mode: str, name: str) -> Image.Image:
        # By identity: the caller's requests keep their pictures alive meanwhile.
        if (id(image), mode) not in seen:
            try:
                plain = image.convert(mode)
            except (OSError, ValueError, SyntaxError) as error:
                raise RequestError(f"{name}: damaged ({error})") from error
            plain.info = {}  # a file's metadata; the engine has no use for it
            seen[id(image), mode] = plain
        return seen[id(image), mode]

    for request in requests:
        try:
            contexts = tuple(
                read(image, "RGB", f"context picture {number}")
                for number, image in enumerate(request.contexts, start=1)
            )
            mask = read(request.mask, "L", "mask") if request.mask is not None else None
        except RequestError as error:
            failed.append(EditFailure(request.id, str(error)))
        else:
            ready.append(replace(request, contexts=contexts, mask=mask))
    return tuple(ready), tuple(failed)
