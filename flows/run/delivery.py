"""Delivering a run: files of the store copied into the run's folder, in the home.

No picture is read and nothing is encoded; what the folder holds already is not even asked for.
What cannot be delivered is told per file.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from flows.plan.keys import shape_of, sheet_key
from flows.plan.step import AS_IT_IS, Plan, PlannedOutput, PlannedSheet
from flows.run.asking import describe
from flows.run.manifest import FILE_NAME, ManifestError, OutputEntry, read_manifest
from flows.run.outputs import ENCODERS, LOSSLESS, OutputError, check_output_name, output_key
from flows.run.provenance import plain, software
from flows.store.base import LASTING, StoreError
from flows.store.keyed import KeyedStore
from flows.store.lanes import LANES, in_lanes
from flows.store.outputs import OutputRecord, OutputStore
from flows.store.record import Record, canonical_json
from flows.store.runfolder import RunFolder

NOT_MADE = "its file has not been made; run again to make it"


class Delivered:
    """A run's folder as it is: one listing, and the manifest of an earlier run of the same plan.

    A file that the manifest tells of is taken for current if it was made by this software from
    the same picture, and the listing shows it with its size, unchanged since the manifest.
    """

    def __init__(self, run: RunFolder) -> None:
        self.files = run.files()
        self._entries: dict[str, OutputEntry] = {}
        self._written = 0.0
        if FILE_NAME in self.files:
            self._written = self.files[FILE_NAME].modified
            with contextlib.suppress(ManifestError):
                manifest = read_manifest(run)
                if manifest.software == software():
                    self._entries = {entry.path: entry for entry in manifest.outputs}

    def current(self, planned: PlannedOutput, record: Record) -> OutputEntry | None:
        """The entry of a file that need not be brought."""
        old = self._unchanged(planned.path)
        if old is None or old != entry_of(planned, record, old.sha256, old.size):
            return None
        return old

    def current_sheet(self, sheet: PlannedSheet, seen: SheetSeen) -> OutputEntry | None:
        """The same of a contact sheet."""
        old = self._unchanged(sheet.path)
        return old if old is not None and old == seen.entry(sheet, old.sha256, old.size) else None

    def _unchanged(self, path: str) -> OutputEntry | None:
        """What the manifest tells of a file that is there as it was delivered."""
        old, file = self._entries.get(path), self.files.get(path)
        if old is None or old.sha256 is None or file is None:
            return None
        return old if file.size == old.size and file.modified <= self._written else None

    def has(self, planned: PlannedOutput, record: Record) -> bool:
        """Whether there is one."""
        return self.current(planned, record) is not None


@dataclass(frozen=True, slots=True)
class SheetSeen:
    """A contact sheet's key, the SHA-256 over the pictures that it shows, how many are missing."""

    key: str
    frames: str
    missing: int

    @classmethod
    def of(cls, sheet: PlannedSheet, records: Mapping[str, Record]) -> SheetSeen:
        """What of a sheet's pictures is there."""
        blobs = [record.blob if (record := records.get(tile.key)) else "" for tile in sheet.tiles]
        frames = hashlib.sha256(canonical_json(blobs)).hexdigest()
        return cls(sheet_key(sheet), frames, blobs.count(""))

    def entry(
        self,
        sheet: PlannedSheet,
        sha256: str | None = None,
        size: int | None = None,
        problem: str = "",
    ) -> OutputEntry:
        """What the manifest tells of it."""
        return OutputEntry(
            path=sheet.path,
            key=self.key,
            variant="",
            format=sheet.format,
            quality=0,
            blob=self.frames,
            sha256=sha256,
            size=size,
            problem=problem,
            missing=self.missing,
            encoder=ENCODERS,
        )


def entry_of(
    planned: PlannedOutput,
    record: Record | None,
    sha256: str | None = None,
    size: int | None = None,
    problem: str = "",
) -> OutputEntry:
    """What the manifest tells of a file."""
    return OutputEntry(
        path=planned.path,
        key=planned.key,
        variant=planned.variant,
        format=planned.format,
        quality=planned.quality,
        blob=record.blob if record else None,
        sha256=sha256,
        size=size,
        problem=problem,
        kept=_kept(planned, record),
        shape=plain(shape_of(planned.shape)) if planned.shape != AS_IT_IS else {},
        alpha=planned.alpha,
        encoder=ENCODERS,
    )


def _kept(
    planned: PlannedOutput, record: Record | None
) -> Literal["", "kept", "kept until delivery"]:
    """Whether a file holds every pixel that a region kept: a PNG does, what loses some does not."""
    if record is None or "region" not in record.geometry:
        return ""
    exact = planned.format in LOSSLESS or planned.shape.lossless
    as_it_is = planned.shape.size is None and not planned.shape.flat and not planned.alpha
    return "kept" if exact and as_it_is else "kept until delivery"


@dataclass(frozen=True, slots=True)
class Delivery:
    """Brings the outputs of one plan into one run's folder.

    ``problems`` tell by output key why a file was not made.
    """

    plan: Plan
    store: KeyedStore
    run: RunFolder
    there: Delivered
    problems: Mapping[str, str]

    def bring(self, records: Mapping[str, Record]) -> tuple[OutputEntry, ...]:
        """Every planned output; those whose step has a record are brought.

        One that cannot be brought is an entry with its problem; the others are there.

        Raises:
            StoreError: the home is full, refuses writing, or is away.
        """

        def entry(planned: PlannedOutput) -> OutputEntry:
            record = records.get(planned.key)
            if record is None:
                return entry_of(planned, None)
            return self.there.current(planned, record) or self._brought(planned, record)

        def sheet_entry(sheet: PlannedSheet) -> OutputEntry:
            seen = SheetSeen.of(sheet, records)
            current = self.there.current_sheet(sheet, seen)
            return current or self._copied(
                sheet.path, seen.key, seen.frames, partial(seen.entry, sheet)
            )

        files = tuple(entry for _, entry in in_lanes(entry, self.plan.outputs, LANES))
        return files + tuple(map(sheet_entry, self.plan.sheets))

    def _brought(self, planned: PlannedOutput, record: Record) -> OutputEntry:
        key = output_key(self.plan, planned)
        return self._copied(planned.path, key, record.blob, partial(entry_of, planned, record))

    def _copied(
        self, path: str, key: str, picture: str, entry: Callable[..., OutputEntry]
    ) -> OutputEntry:
        """A file of the store in the run's folder, or why it is not there."""
        try:
            check_output_name(path)
            file = OutputStore(self.store).recorded(key, picture)
            if file is None:
                problem = f"{path}: {self.problems.get(key, NOT_MADE)}"
            elif not (problem := self._copy(file, path)):
                return entry(file.blob, file.size)
        except LASTING:  # no file of it can be written then
            raise
        except (StoreError, OutputError) as error:
            # A folder fails for one name (a folder of that name is there); a server that fails
            # for one fails for all.
            if isinstance(error, StoreError) and not self.run.is_near:
                raise
            problem = str(error)
        except Exception as error:
            problem = f"{path}: {describe(error)}"
        return entry(problem=problem)

    def _copy(self, file: OutputRecord, path: str) -> str:
        """Copy it; why that came to nothing."""
        if not self.run.copy(f"blobs/{file.blob}", path):
            return f"{path}: {NOT_MADE}"
        if self.run.is_near:
            data = self.run.read(path) or b""
            if hashlib.sha256(data).hexdigest() != file.blob:
                OutputStore(self.store).discard(file)
                return f"{path}: its file was damaged in the store; run again to remake it"
        return ""
