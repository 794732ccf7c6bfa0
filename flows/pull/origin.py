"""Where a delivered file comes from: what decides its pixels, by its own data or by the store.

A file that tells all has it inside. One that tells less, or was stripped, is looked for in the runs
of a store: by its digest, and then by its pixels among the files of its format and size.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from flows.pull.listing import manifest_of
from flows.run.batches import batches_of
from flows.run.deciding import DecidingError, deciding_of
from flows.run.encoders import PILLOW_FORMATS
from flows.run.manifest import FILE_NAME, Manifest, ManifestError, OutputEntry, one_large
from flows.run.table import pixels_of
from flows.run.telling import BATCHES, read_deciding, read_xmp
from flows.store.objects import Objects
from flows.store.runfolder import RUNS
from kontext_engine.errors import PictureError
from kontext_engine.geometry import MAX_PIXELS
from kontext_engine.picture.formats import open_image


class NoOrigin(Exception):  # noqa: N818 - what a person sees
    """Nothing is known of a file; the message says what was looked at."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What decides a file's pixels (``flows.run.deciding``), and ``how`` that was found.

    ``recipe`` and ``label`` are what its step was called; ``files`` the names of its sources by
    their digests, where they are known; ``batches`` tells where its steps were computed
    (``flows.run.batches``).
    """

    told: Mapping[str, Any]
    how: str
    recipe: str
    label: str
    made: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    batches: str = ""


def origin_of(data: bytes, name: str, objects: Callable[[], Objects]) -> Origin:
    """Where a file comes from; ``objects`` opens the store, if it has to be asked.

    Raises:
        NoOrigin: neither the file nor a run of the store tells.
        StoreError: the store fails.
    """
    with contextlib.suppress(PictureError), open_image(data, name, MAX_PIXELS) as image:
        packet = image.info.get("xmp", b"")
        packet = packet.encode() if isinstance(packet, str) else packet
        if (told := read_deciding(packet)) is not None:
            facts = read_xmp(packet)
            made = " by ".join(facts[one] for one in ("created", "software") if one in facts)
            recipe, label = facts.get("recipe", ""), facts.get("step", "")
            batches = facts.get(BATCHES, "")
            return Origin(told, "in the file itself", recipe, label, made, batches=batches)
    home = objects()
    found = _by_digest(home, hashlib.sha256(data).hexdigest())
    how = "by the file's digest"
    if found is None:
        found, how = _by_pixels(home, data, name), "by its pixels"
    if found is None:
        raise NoOrigin(
            f"{name}: tells nothing of how it was made, and no run in {home.where} has it; "
            "expected a file that was delivered from there; name its store by --store"
        )
    return _of_run(*found, how, name)


def decoded(data: bytes, name: str) -> Image.Image:
    """A file's picture, as it is encoded: RGB or RGBA.

    Raises:
        PictureError: it is none.
    """
    with open_image(data, name, MAX_PIXELS) as image:
        return image.convert("RGBA" if "A" in image.getbands() else "RGB")


def _of_run(run: str, manifest: Manifest, entry: OutputEntry, how: str, name: str) -> Origin:
    try:
        told = deciding_of(manifest, entry)
    except DecidingError as error:
        raise NoOrigin(f"{name}: {entry.path} of {run} {error}") from None
    label = next((step.label for step in manifest.steps if step.key == entry.key), "")
    files = {source.digest: source.file for source in manifest.sources}
    made = f"{manifest.written} by {manifest.software}"
    where = f"in run {run} as {entry.path}, {how}"
    batches = batches_of(manifest, entry)
    return Origin(told, where, manifest.recipe, label, made, files, batches)


_Found = tuple[str, Manifest, OutputEntry]


def _manifests(objects: Objects) -> Iterator[tuple[str, Manifest]]:
    """Every run that has ended, the newest first."""
    for run in sorted(objects.folders(f"{RUNS}/"), reverse=True):
        entry = objects.stat(f"{RUNS}/{run}/{FILE_NAME}")
        with contextlib.suppress(ManifestError), one_large(entry.size if entry else 0):
            manifest = manifest_of(objects, run)
            if manifest is not None:
                yield run, manifest


def _by_digest(objects: Objects, digest: str) -> _Found | None:
    for run, manifest in _manifests(objects):
        for entry in manifest.outputs:
            if entry.sha256 == digest:
                return run, manifest, entry
    return None


def _by_pixels(objects: Objects, data: bytes, name: str) -> _Found | None:
    """The file of the same format and size whose every pixel is the same."""
    try:
        with open_image(data, name, MAX_PIXELS) as image:
            kind = PILLOW_FORMATS.get(str(image.format))
        picture = decoded(data, name)
    except (PictureError, OSError):
        return None
    for run, manifest in _manifests(objects):
        steps = {step.key: step for step in manifest.steps}
        for entry in manifest.outputs:
            step = steps.get(entry.key)
            if entry.sha256 is None or step is None or entry.format != kind:
                continue
            if pixels_of(entry, step) != picture.size:
                continue
            held = objects.get(f"{RUNS}/{run}/{entry.path}")
            with contextlib.suppress(PictureError, OSError):
                if held is not None and same_pixels(decoded(held.data, entry.path), picture):
                    return run, manifest, entry
    return None


def same_pixels(one: Image.Image, other: Image.Image) -> bool:
    """Whether two pictures have the same pixels, in every channel."""
    return one.size == other.size and one.mode == other.mode and one.tobytes() == other.tobytes()
