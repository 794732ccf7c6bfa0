"""What of a run is wanted: all of it, or the outputs of which something is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from flows.pull.target import PullError
from flows.recipe.naming import is_reserved
from flows.run.approved import approved
from flows.run.manifest import FILE_NAME as MANIFEST
from flows.run.manifest import Manifest, parse_manifest
from flows.run.outputs import OutputError, check_output_name
from flows.run.report.links import PAGE
from flows.run.table import FILE_NAME as TABLE
from flows.run.table import JSON_NAME
from flows.store.objects import Entry, Objects
from flows.store.record import is_digest
from flows.store.runfolder import RUNS, THUMBS

RECIPE = "recipe.yaml"
_PAGES = (RECIPE, TABLE, JSON_NAME, PAGE)
_THUMB = re.compile(rf"{THUMBS}/[0-9a-f]{{64}}-\d+x\d+\.webp")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file: its place in the run and below the target; bytes and digest where known."""

    path: str
    size: int
    version: str = ""
    sha256: str = ""


@dataclass(slots=True)
class Chosen:
    """The files of a part. ``problems`` are outputs that no target may hold, a line for each."""

    wanted: list[Wanted] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Part:
    """Outputs below ``prefix`` that are not among those ``before`` (path and digest), and
    approved where that is asked for.
    """

    prefix: str = ""
    before: frozenset[tuple[str, str]] | None = None
    approved: bool = False

    @property
    def is_all(self) -> bool:
        """Whether that is the run as it is, with its page and manifest."""
        return not (self.prefix or self.before is not None or self.approved)

    def of(self, objects: Objects, folder: str, manifest: Manifest) -> Chosen:
        """The part of the run in ``folder`` that ``manifest`` tells of.

        Raises:
            PullError: no output begins with ``prefix``.
            StoreError: the store fails as a whole.
        """
        chosen = self._outputs(objects, folder, manifest)
        if self.is_all:
            chosen.wanted += _others(objects, folder)
        return chosen

    def _outputs(self, objects: Objects, folder: str, manifest: Manifest) -> Chosen:
        chosen = Chosen()
        agreed = approved(manifest, objects) if self.approved else None
        unwritten = same = others = 0
        beginning = _beginning(self.prefix, manifest)
        for output in manifest.outputs:
            if not output.path.startswith(beginning):
                continue
            if agreed is not None and output.path not in agreed.paths:
                others += 1
            elif output.sha256 is None:
                unwritten += 1
            elif (output.path, output.sha256) in (self.before or ()):
                same += 1
            elif why := _wrong(output.path, output.sha256):
                chosen.problems.append(f"{why}; it is left out")
            else:
                chosen.wanted.append(Wanted(output.path, output.size or 0, sha256=output.sha256))
        if unwritten:
            chosen.notes.append(f"{unwritten} outputs were not made by this run")
        if same:
            chosen.notes.append(f"{same} outputs are as they were, and left out")
        if agreed is not None:
            chosen.notes += agreed.left
            if more := others - len(agreed.left):
                chosen.notes.append(f"{more} outputs are not approved, and left out")
        found = chosen.wanted or chosen.problems or unwritten or same or others
        if self.prefix and not found:
            where = f"{objects.where}/{folder[:-1]}"
            raise PullError(
                f"{where}: no output begins with '{self.prefix}'; there are {_beginnings(manifest)}"
            )
        return chosen


def delivered(objects: Objects, run: str) -> frozenset[tuple[str, str]]:
    """The paths of a run's files, each with its digest.

    Raises:
        PullError: there is no such run.
        ManifestError: this version cannot read its manifest.
    """
    name = f"{RUNS}/{run}/{MANIFEST}"
    held = objects.get(name)
    if held is None:
        raise PullError(
            f"{objects.where}/{RUNS}/{run}: no {MANIFEST} here; expected a finished run"
        )
    manifest = parse_manifest(held.data, f"{objects.where}/{name}")
    return frozenset((one.path, one.sha256) for one in manifest.outputs if one.sha256 is not None)


def _others(objects: Objects, folder: str) -> list[Wanted]:
    """Thumbnails, recipe and page, as the home lists them."""
    entries: list[Entry] = list(objects.list(f"{folder}{THUMBS}/"))
    for name in _PAGES:
        if entry := objects.stat(folder + name):
            entries.append(entry)
    paths = [(entry.name.removeprefix(folder), entry) for entry in entries]
    return [
        Wanted(path, entry.size, entry.version)
        for path, entry in paths
        if path in _PAGES or _THUMB.fullmatch(path)
    ]


def _wrong(path: str, sha256: str) -> str:
    """Why an output may not be brought, or nothing."""
    try:
        check_output_name(path)
    except OutputError as error:
        return str(error)
    if any(part != part.strip(" .") or is_reserved(part) for part in path.split("/")):
        return f"output {path!r} is no file name on every system"
    return "" if is_digest(sha256) else f"output {path!r} has no SHA-256 in the manifest"


def _beginning(prefix: str, manifest: Manifest) -> str:
    """``hero`` means the folder where there is one, and ``hero-2`` is not in it."""
    folder = f"{prefix}/" if prefix else ""
    return folder if any(output.path.startswith(folder) for output in manifest.outputs) else prefix


def _beginnings(manifest: Manifest) -> str:
    names = sorted({output.path.partition("/")[0] for output in manifest.outputs})
    shown = ", ".join(names[:8])
    return (f"{shown} …" if len(names) > 8 else shown) or "none at all"
