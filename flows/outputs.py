"""Outputs: the pictures under the names people asked for, each carrying its provenance.

Made from the store's blobs alone, so no pixel of a source reaches a file but through the model.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from xml.sax.saxutils import escape

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from flows.manifest import Manifest, OutputEntry
from flows.recipe.outputs import RUN_FILES
from flows.recipe.step import Plan, PlannedOutput, Step
from flows.store.base import BlobDamaged, NameLeaves, Store
from flows.store.lanes import in_lanes
from flows.store.objects import checked
from flows.store.record import Record
from flows.store.runfolder import RunFolder

LANES = 8  # pictures encoded and written at once
XMP_NAMESPACE = "urn:kontext:provenance:1"


class OutputError(Exception):
    """An output cannot be written where the recipe wants it."""


class OutputWriter:
    """Writes the outputs of one plan into one run's folder.

    ``before`` is the manifest of an earlier run in the same folder: a file it tells of, and that
    is still there, is neither made nor written again.
    """

    def __init__(self, plan: Plan, store: Store, run: RunFolder, before: Manifest | None) -> None:
        self._plan = plan
        self._store = store
        self._run = run
        self._known = {entry.path: entry for entry in before.outputs} if before else {}

    def write(self, records: Mapping[str, Record]) -> tuple[OutputEntry, ...]:
        """Every planned output; those whose step has a record are written.

        One that cannot be written is an entry with its problem; the others are written.

        Raises:
            StoreError: the home is full, refuses writing, or is away.
        """

        def write(planned: PlannedOutput) -> OutputEntry:
            return self._write(planned, records.get(planned.key))

        return tuple(entry for _, entry in in_lanes(write, self._plan.outputs, LANES))

    def _write(self, planned: PlannedOutput, record: Record | None) -> OutputEntry:
        entry = OutputEntry(
            path=planned.path,
            key=planned.key,
            variant=planned.variant,
            format=planned.format,
            quality=planned.quality,
            blob=record.blob if record else None,
        )
        if record is None:
            return entry
        try:
            check_output_name(planned.path)
            old = self._known.get(planned.path)
            if old is not None and self._is_current(old, entry):
                return old
            data = encode_output(self._plan, planned, record, self._store.read(record))
            self._run.write(planned.path, data)
        except (BlobDamaged, NameLeaves, OutputError) as error:
            return entry.model_copy(update={"problem": str(error)})
        made = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        return entry.model_copy(update=made)

    def _is_current(self, old: OutputEntry, new: OutputEntry) -> bool:
        if old.sha256 is None or old.size is None:
            return False
        if old.model_copy(update={"sha256": None, "size": None}) != new:
            return False
        return self._run.holds(old.path, old.size, old.sha256)


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


def encode_output(plan: Plan, planned: PlannedOutput, record: Record, blob: bytes) -> bytes:
    """The bytes of an output file: the stored picture re-encoded, with its provenance inside."""
    facts = provenance(plan, plan.steps[planned.key], record)
    with Image.open(io.BytesIO(blob), formats=["PNG"]) as image:
        picture = image.convert("RGB")
    buffer = io.BytesIO()
    _ENCODERS[planned.format](picture, buffer, facts, planned.quality)
    return buffer.getvalue()


def provenance(plan: Plan, step: Step, record: Record) -> dict[str, str]:
    """What an output tells about itself, as text."""
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
        "model": record.model,
        "model_digest": record.model_digest,
        "created": record.created,
        "software": record.software,
    }
    return {name: _legible(str(value)) for name, value in facts.items() if value is not None}


def _legible(text: str) -> str:
    """Text that every metadata format can hold: no control characters, 8,000 characters at most.

    A JPEG segment ends at 64 kB; the whole prompt is in the record.
    """
    whole = text.encode("utf-8", "replace").decode()[:8000]
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in whole)


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
