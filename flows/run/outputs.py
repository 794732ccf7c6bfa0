"""Outputs: the pictures as files for people, each carrying its provenance; named by an output key.

Made from the store's pictures alone, so no pixel of a source reaches a file but through the model.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import PurePosixPath
from xml.sax.saxutils import escape

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from flows.plan.outputs import RUN_FILES
from flows.plan.step import AS_IT_IS, Plan, PlannedOutput, Step
from flows.run.shaping import shaped
from flows.store.objects import checked
from flows.store.record import Record, canonical_json

ENCODERS = 1  # version of how files are encoded and what they tell; another makes all of them anew
MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
MIN_QUALITY = 10  # below, a file is not worth its bytes
MAX_FACTS = 60_000  # bytes of all facts as XMP has them, beside some 1,000 around them
XMP_NAMESPACE = "urn:kontext:provenance:1"


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

    Worked out once for the plans that were asked for last, which may be large; a worker's copy
    of a stage's plan, with the model where this machine has it, has the same.
    """
    for known, before in _known:
        if known is plan or _alike(known, plan):
            return before
    found: dict[str, dict[str, list[PlannedOutput]]] = {}
    for planned in plan.outputs:
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

    That is the step's key, the format, its quality where the format has one, and what the file
    tells of itself; not where it lies, so two names of one file have one key. The picture's record
    tells when and by what it was made: that comes with the picture.
    """
    named = {
        "output": ENCODERS,
        "format": planned.format,
        "quality": None if planned.format == "png" else planned.quality,
        "facts": facts_of(plan, plan.steps[planned.key]),
    }
    if planned.shape != AS_IT_IS:
        named["shape"] = asdict(planned.shape)
    return hashlib.sha256(canonical_json(named)).hexdigest()


def encode_output(
    plan: Plan, planned: PlannedOutput, record: Record, picture: Image.Image
) -> bytes:
    """The bytes of an output file: the step's picture re-encoded, with its provenance inside."""
    from kontext_engine.region import on_white

    made = {"created": record.created, "software": record.software}
    facts = facts_of(plan, plan.steps[planned.key]) | made
    if planned.format == "jpeg":  # has no alpha
        picture = on_white(picture)
    picture = shaped(picture, planned.shape)
    legible = _fitting({name: _legible(text) for name, text in facts.items()})

    def encoded(quality: int) -> bytes:
        buffer = io.BytesIO()
        _ENCODERS[planned.format](picture, buffer, legible, quality)
        return buffer.getvalue()

    if planned.shape.max_kb is None:
        return encoded(planned.quality)
    return _within(encoded, planned, planned.shape.max_kb * 1000)


def _within(encoded: Callable[[int], bytes], planned: PlannedOutput, most: int) -> bytes:
    """The file at the best quality, up to the planned one, at which it weighs no more.

    Raises:
        OutputError: it weighs more at any quality worth looking at.
    """
    best = encoded(planned.quality)
    if len(best) <= most:
        return best
    good, bad = MIN_QUALITY, planned.quality
    best = encoded(good) if good < bad else best
    if len(best) > most:
        raise OutputError(
            f"{len(best) / 1000:,.0f} kB at quality {min(good, bad)}, the least; "
            f"expected at most {most // 1000:,} kB (max_kb); ask for a smaller size or a larger "
            "max_kb"
        )
    while bad - good > 1:
        middle = (good + bad) // 2
        if len(data := encoded(middle)) <= most:
            good, best = middle, data
        else:
            bad = middle
    return best


def facts_of(plan: Plan, step: Step) -> dict[str, str]:
    """What an output tells of what was asked for, as text."""
    params = step.params
    facts = {
        "key": step.key,
        "recipe": plan.recipe,
        "step": step.label,
        "operation": step.operation,
        "prompt": params.prompt,
        "negative_prompt": params.negative_prompt,
        "seed": params.seed,
        "steps": params.steps,
        "guidance": params.guidance,
        "model": step.made.model if step.made is not None else plan.model.name,
        "model_digest": step.made.digest if step.made is not None else plan.model.digest,
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def _legible(text: str) -> str:
    """Text that every metadata format can hold: no control characters, 8,000 characters at most.

    The whole prompt is in the record.
    """
    whole = text.encode("utf-8", "replace").decode()[:8000]
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in whole)


def _fitting(facts: Mapping[str, str]) -> Mapping[str, str]:
    """The facts, the longest of them cut until all together fit into a segment of a JPEG (64 kB).

    What counts is bytes as they are written: an ``&`` takes five in XMP, a sign of Hindi three.
    """
    fitting = dict(facts)
    while sum(map(_bytes, fitting.values())) > MAX_FACTS:
        longest = max(fitting, key=lambda name: _bytes(fitting[name]))
        fitting[longest] = fitting[longest][: len(fitting[longest]) * 9 // 10]
    return fitting


def _bytes(text: str) -> int:
    return len(escape(text).encode())


def _png(picture: Image.Image, to: io.BytesIO, facts: Mapping[str, str], quality: int) -> None:  # noqa: ARG001
    info = PngInfo()
    for name, text in facts.items():
        if text.isascii():
            info.add_text(f"kontext:{name}", text)
        else:
            info.add_itxt(f"kontext:{name}", text)
    picture.save(to, "PNG", pnginfo=info, optimize=False)


def _jpeg(picture: Image.Image, to: io.BytesIO, facts: Mapping[str, str], quality: int) -> None:
    # Full chroma: product colours and small type suffer visibly from the usual halving.
    picture.save(to, "JPEG", quality=quality, subsampling=0, optimize=True, xmp=_xmp(facts))


def _webp(picture: Image.Image, to: io.BytesIO, facts: Mapping[str, str], quality: int) -> None:
    picture.save(to, "WEBP", quality=quality, method=4, xmp=_xmp(facts))


_Encoder = Callable[[Image.Image, io.BytesIO, Mapping[str, str], int], None]
_ENCODERS: Mapping[str, _Encoder] = {"png": _png, "jpeg": _jpeg, "webp": _webp}


def _xmp(facts: Mapping[str, str]) -> bytes:
    rows = "".join(f"<k:{name}>{escape(text)}</k:{name}>" for name, text in facts.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:k="{XMP_NAMESPACE}">{rows}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()
