"""Judges: figures about pictures, by which a pick is made. Torch-free until one is asked.

A judge is a function from ``Shown`` to ``Judged`` (``kontext_engine.api``), registered under the
entry-point group ``kontext.judges`` by a ``Kind``; those of this package are in ``KINDS``. It must
say the same of the same pictures on any machine, and its ``version`` must rise when it does not.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata

from PIL import Image

from kontext_engine.api import EditFailure, EditRequest, EditResult, Judged
from kontext_engine.errors import ModelError, RequestError
from kontext_engine.geometry import GeometryRecord, Size

GROUP = "kontext.judges"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a judge looks at: RGB, 8 bits.

    ``reference`` is what to compare with, ``kept`` (mode L, of the reference's size) white where
    nothing was to change, ``text`` what is to be read.
    """

    picture: Image.Image
    reference: Image.Image | None = None
    kept: Image.Image | None = None
    text: str = ""


Judge = Callable[[Shown], Judged]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a judge is found and what it needs: ``call`` is ``module:function``.

    ``compares`` with a reference, ``reads`` a text. ``packages`` are distributions that decide what
    it says, with the ``extra`` that brings them.
    """

    call: str
    version: int = 1
    compares: bool = False
    reads: bool = False
    packages: tuple[str, ...] = ()
    extra: str = ""


_HERE = "kontext_engine.judges"
KINDS: Mapping[str, Kind] = {
    "sharpness": Kind(f"{_HERE}.sharpness:judge"),
    "preserved": Kind(f"{_HERE}.preserved:judge", compares=True),
    "identity": Kind(f"{_HERE}.likeness:judge", compares=True),
    "text": Kind(
        f"{_HERE}.legible:judge", reads=True, packages=("rapidocr", "onnxruntime"), extra="text"
    ),
}


@cache
def judges() -> Mapping[str, Kind]:
    """All judges here by name: this package's, and those that others have registered."""
    found = dict(KINDS)
    for entry in metadata.entry_points(group=GROUP):
        if entry.name not in found:
            kind = entry.load()
            if isinstance(kind, Kind):
                found[entry.name] = kind
    return found


def judge_method(name: str) -> str:
    """What a judge's looks are made by here, with its versions: part of their key.

    Raises:
        ModelError: there is no such judge, or what it needs is not installed.
    """
    kind = judges().get(name)
    if kind is None:
        raise ModelError(f"there is no judge '{name}' here; install the package that has it")
    parts = [f"{name} {kind.version}"]
    for package in kind.packages:
        try:
            parts.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            more = f"kontext-pipeline[{kind.extra}]" if kind.extra else package
            raise ModelError(
                f"judge '{name}' needs {package}, which is not installed; install {more}"
            ) from None
    return ", ".join(parts)


# Letters that the reader's weights know: Latin with its accents, Chinese, Japanese.
_READ = (
    (0x20, 0x24F), (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x20A0, 0x20CF), (0x2100, 0x214F),
    (0x3000, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xFF00, 0xFFEF),
)  # fmt: skip


def check_text(text: str) -> str:
    """Why this text cannot be read by any judge here, or nothing."""
    lacking = [char for char in text if not any(a <= ord(char) <= b for a, b in _READ)]
    if not lacking:
        return ""
    shown = "".join(dict.fromkeys(lacking))[:12]
    return (
        f"'{shown}' cannot be read by judge 'text'; expected Latin letters, Chinese or Japanese; "
        "pick by hand"
    )


def answer_judge(request: EditRequest) -> EditResult | EditFailure:
    """What an engine answers to a request for a look at a picture."""
    began = time.perf_counter()
    name = request.judge.partition(" ")[0]
    try:
        here = judge_method(name)
        if here != request.judge:
            raise RequestError(
                f"this look was planned with {request.judge}, and here is {here}; expected the "
                "same everywhere; install it, or plan again"
            )
        said = _find(judges()[name].call)(_shown(request))
    except (ModelError, RequestError) as error:
        return EditFailure(request.id, str(error))
    size = Size(*request.contexts[0].size)
    notes = (f"{name} {said.score:.4f}: {said.reason}",)
    return EditResult(
        request.id,
        Image.new("L", (1, 1)),
        GeometryRecord(size, size),
        time.perf_counter() - began,
        notes,
        said,
    )


def _shown(request: EditRequest) -> Shown:
    pictures = [picture.convert("RGB") for picture in request.contexts]
    reference = pictures[1] if len(pictures) > 1 else None
    return Shown(pictures[0], reference, request.mask, request.prompt)


def _find(call: str) -> Judge:
    module, _, name = call.partition(":")
    found: Judge = getattr(importlib.import_module(module), name)
    return found
