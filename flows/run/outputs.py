"""Outputs: the pictures as files for people, each carrying its provenance; named by an output key.

Made from the store's pictures alone, so no pixel of a source reaches a file but through the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from PIL import Image, ImageChops

from flows.plan.keys import shape_words
from flows.plan.outputs import RUN_FILES
from flows.plan.step import Plan, PlannedOutput
from flows.run.batches import Found
from flows.run.encoders import encoded
from flows.run.shaping import shaped
from flows.run.telling import told_words, xmp_of
from flows.store.objects import checked
from flows.store.record import Record, canonical_json

ENCODERS = 2  # version of how files are encoded and what they tell; another makes all of them anew
LOSSLESS = frozenset({"png", "tiff"})
MIN_QUALITY = 10  # below, a file is not worth its bytes
_ASPECTS = 0.01  # share by which an alpha's aspect may differ from its picture's

Sign = Callable[[bytes], bytes]  # a file's bytes, signed


class OutputError(Exception):
    """An output cannot be written where the recipe wants it."""


def check_output_name(relative: str) -> None:
    """Whether this may name a file of a run.

    Raises:
        OutputError: it leaves the run's folder, cannot be a name, or is one the run itself needs.
    """
    pure = PurePosixPath(relative)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise OutputError(f"output '{relative}' leaves the run's folder; use a relative name")
    try:
        checked(relative)
    except ValueError:
        raise OutputError(
            f"output {relative[:80]!r} cannot name a file; use printable parts between slashes"
        ) from None
    if pure.parts[0].casefold() in RUN_FILES:
        raise OutputError(f"output '{relative}' takes a name that the run itself needs; rename it")


def keyed_outputs(plan: Plan) -> Mapping[str, Mapping[str, list[PlannedOutput]]]:
    """For each step with outputs its output keys, and the outputs of each, in their order.

    Without those that are made of several steps: they are made when all of these are there.

    Worked out once for the plans that were asked for last, which may be large; a worker's copy
    of a stage's plan, with the model where this machine has it, has the same.
    """
    for known, before in _known:
        if known is plan or _alike(known, plan):
            return before
    found: dict[str, dict[str, list[PlannedOutput]]] = {}
    for planned in plan.outputs:
        if planned.alpha:
            continue
        own = found.setdefault(planned.key, {})
        own.setdefault(output_key(plan, planned), []).append(planned)
    _known[:] = [*_known[-1:], (plan, found)]
    return found


def _alike(known: Plan, plan: Plan) -> bool:
    """Whether all that an output key is made of is the same."""
    if known.steps is not plan.steps or known.outputs is not plan.outputs:
        return False
    model, other = known.model, plan.model
    return (known.recipe, model.name, model.digest) == (plan.recipe, other.name, other.digest)


_known: list[tuple[Plan, Mapping[str, Mapping[str, list[PlannedOutput]]]]] = []


def output_key(plan: Plan, planned: PlannedOutput) -> str:
    """What names the bytes of an output's file: SHA-256 over all that decides them.

    That is the step's key, the format, its quality where it has an effect, what becomes of the
    picture, and what the file tells of itself; not where it lies, so two names of one file have
    one key. The picture's record tells when and by what it was made: that comes with the picture.
    """
    lossy = planned.format not in LOSSLESS and not planned.shape.lossless
    named: dict[str, Any] = {
        "output": ENCODERS,
        "format": planned.format,
        "quality": planned.quality if lossy else None,
        "facts": told_words(plan, planned),
    }
    if words := shape_words(planned):
        named["shape"] = words
    return hashlib.sha256(canonical_json(named)).hexdigest()


def encode_output(
    plan: Plan,
    planned: PlannedOutput,
    record: Record,
    found: Found,
    picture: Image.Image,
    alpha: Image.Image | None = None,
    sign: Sign | None = None,
) -> bytes:
    """The bytes of an output file: the step's picture re-encoded, with its provenance inside.

    ``found`` gives the records of the steps above: what they tell is told if it is known.
    ``alpha`` is another step's picture, whose transparency the file has. What is weighed is the
    file as it is delivered, signed if it is to be.

    Raises:
        OutputError: it weighs too much at any quality, or the alpha is of another aspect.
    """
    from kontext_engine.region import on_white

    if alpha is not None:
        picture = _with_alpha(picture, alpha)
    if planned.format == "jpeg" or planned.shape.flat:
        picture = on_white(picture)
    picture = shaped(picture, planned.shape)
    xmp = xmp_of(plan, planned, record, found)

    def made(quality: int) -> bytes:
        data = encoded(picture, planned.format, quality, planned.shape, xmp)
        return sign(data) if sign is not None else data

    if planned.shape.max_kb is None:
        return made(planned.quality)
    return _within(made, planned, planned.shape.max_kb * 1000)


def _with_alpha(picture: Image.Image, alpha: Image.Image) -> Image.Image:
    """The picture, as transparent as ``alpha`` and it itself are; brought to its size."""
    if alpha.mode != "RGBA":
        raise OutputError("the step of its 'alpha' has no transparency; name one of op 'cutout'")
    levels = alpha.getchannel("A")
    if levels.size != picture.size:
        own, other = picture.width / picture.height, alpha.width / alpha.height
        if abs(own / other - 1) > _ASPECTS:
            raise OutputError(
                f"its 'alpha' is {alpha.width}x{alpha.height} and the picture "
                f"{picture.width}x{picture.height}; expected one aspect; cut out the picture itself"
            )
        levels = levels.resize(picture.size, Image.Resampling.LANCZOS)
    clear = picture.convert("RGBA")
    clear.putalpha(ImageChops.darker(clear.getchannel("A"), levels))
    return clear


def _within(made: Callable[[int], bytes], planned: PlannedOutput, most: int) -> bytes:
    """The file at the best quality, up to the planned one, at which it weighs no more.

    Raises:
        OutputError: it weighs more at any quality worth looking at.
    """
    best = made(planned.quality)
    if len(best) <= most:
        return best
    good, bad = MIN_QUALITY, planned.quality
    best = made(good) if good < bad else best
    if len(best) > most:
        raise OutputError(
            f"{len(best) / 1000:,.0f} kB at quality {min(good, bad)}, the least; "
            f"expected at most {most // 1000:,} kB (max_kb); ask for a smaller size or a larger "
            "max_kb"
        )
    while bad - good > 1:
        middle = (good + bad) // 2
        if len(data := made(middle)) <= most:
            good, best = middle, data
        else:
            bad = middle
    return best
