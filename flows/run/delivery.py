"""Delivering a run: files of the store copied into the run's folder, in the home.

No picture is read and nothing is encoded; what the folder holds already is not even asked for.
What cannot be delivered is told per file.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from flows.plan.step import AS_IT_IS, Plan, PlannedOutput
from flows.run.asking import describe
from flows.run.manifest import FILE_NAME, ManifestError, OutputEntry, read_manifest
from flows.run.outputs import OutputError, check_output_name, output_key
from flows.run.provenance import plain, software
from flows.store.base import LASTING, StoreError
from flows.store.keyed import KeyedStore
from flows.store.lanes import LANES, in_lanes
from flows.store.outputs import OutputRecord, OutputStore
from flows.store.record import Record
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
        old, file = self._entries.get(planned.path), self.files.get(planned.path)
        if old is None or file is None or file.size != old.size or file.modified > self._written:
            return None
        new = entry_of(planned, record, old.sha256, old.size)
        return old if old.sha256 is not None and old == new else None

    def has(self, planned: PlannedOutput, record: Record) -> bool:
        """Whether there is one."""
        return self.current(planned, record) is not None


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
        shape=plain(asdict(planned.shape)) if planned.shape != AS_IT_IS else {},
    )


def _kept(
    planned: PlannedOutput, record: Record | None
) -> Literal["", "kept", "kept until delivery"]:
    """Whether a file holds every pixel that a region kept: a PNG does, what loses some does not."""
    if record is None or "region" not in record.geometry:
        return ""
    whole = planned.format == "png" and planned.shape.size is None
    return "kept" if whole else "kept until delivery"


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

        return tuple(entry for _, entry in in_lanes(entry, self.plan.outputs, LANES))

    def _brought(self, planned: PlannedOutput, record: Record) -> OutputEntry:
        try:
            check_output_name(planned.path)
            key = output_key(self.plan, planned)
            file = OutputStore(self.store).recorded(key, record.blob)
            if file is None:
                problem = f"{planned.path}: {self.problems.get(key, NOT_MADE)}"
            elif not (problem := self._copied(file, planned.path)):
                return entry_of(planned, record, file.blob, file.size)
        except LASTING:  # no file of it can be written then
            raise
        except (StoreError, OutputError) as error:
            # A folder fails for one name (a folder of that name is there); a server that fails
            # for one fails for all.
            if isinstance(error, StoreError) and not self.run.is_near:
                raise
            problem = str(error)
        except Exception as error:
            problem = f"{planned.path}: {describe(error)}"
        return entry_of(planned, record, problem=problem)

    def _copied(self, file: OutputRecord, path: str) -> str:
        """Copy it; why that came to nothing."""
        if not self.run.copy(f"blobs/{file.blob}", path):
            return f"{path}: {NOT_MADE}"
        if self.run.is_near:
            data = self.run.read(path) or b""
            if hashlib.sha256(data).hexdigest() != file.blob:
                OutputStore(self.store).discard(file)
                return f"{path}: its file was damaged in the store; run again to remake it"
        return ""
