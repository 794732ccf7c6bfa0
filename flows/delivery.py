"""Delivering a run: files and thumbnails of the store copied into the run's folder, in the home.

No picture is read and nothing is encoded. What cannot be delivered is told per file.
"""

from __future__ import annotations

from collections.abc import Mapping

from flows.execution.asking import describe
from flows.manifest import Manifest, OutputEntry
from flows.outputs import OutputError, check_output_name, output_key
from flows.recipe.step import Plan, PlannedOutput
from flows.store.base import StoreError, StoreFull, StoreReadOnly, StoreUnfit
from flows.store.keyed import KeyedStore
from flows.store.lanes import LANES, in_lanes
from flows.store.outputs import OutputRecord, OutputStore
from flows.store.record import Record
from flows.store.runfolder import RunFolder

NOT_MADE = "its file has not been made; run again to make it"

_OF_THE_HOME = (StoreFull, StoreReadOnly, StoreUnfit)  # no file of it can be written then


class Delivery:
    """Brings the outputs of one plan into one run's folder.

    ``before`` is the manifest of an earlier run in the same folder: a file it tells of, and that
    is still there, is not copied again. ``problems`` tell by output key why a file was not made.
    """

    def __init__(
        self,
        plan: Plan,
        store: KeyedStore,
        run: RunFolder,
        before: Manifest | None,
        problems: Mapping[str, str],
    ) -> None:
        self._plan = plan
        self._store = store
        self._outputs = OutputStore(store)
        self._run = run
        self._known = {entry.path: entry for entry in before.outputs} if before else {}
        self._problems = problems

    def bring(self, records: Mapping[str, Record]) -> tuple[OutputEntry, ...]:
        """Every planned output; those whose step has a record are brought.

        One that cannot be brought is an entry with its problem; the others are there.

        Raises:
            StoreError: the home is full, refuses writing, or is away.
        """

        def entry(planned: PlannedOutput) -> OutputEntry:
            return self._entry(planned, records.get(planned.key))

        return tuple(entry for _, entry in in_lanes(entry, self._plan.outputs, LANES))

    def _entry(self, planned: PlannedOutput, record: Record | None) -> OutputEntry:
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
            return self._brought(planned, entry, record)
        except _OF_THE_HOME:
            raise
        except StoreError as error:
            # A folder fails for one name (a folder of that name is there); a server that fails
            # for one fails for all.
            if not self._run.is_near:
                raise
            return entry.model_copy(update={"problem": str(error)})
        except OutputError as error:
            return entry.model_copy(update={"problem": str(error)})
        except Exception as error:
            return entry.model_copy(update={"problem": f"{planned.path}: {describe(error)}"})

    def _brought(self, planned: PlannedOutput, entry: OutputEntry, record: Record) -> OutputEntry:
        key = output_key(self._plan, planned)
        file = self._outputs.recorded(key, record.blob)
        old = self._known.get(entry.path)
        if old is not None and self._is_current(old, entry, file):
            return old
        why = self._problems.get(key, NOT_MADE) if file is None else self._copied(file, entry.path)
        if file is None or why:
            return entry.model_copy(update={"problem": f"{entry.path}: {why}"})
        return entry.model_copy(update={"sha256": file.blob, "size": file.size})

    def _copied(self, file: OutputRecord, path: str) -> str:
        """Copy it; why that came to nothing."""
        if not self._run.copy(f"blobs/{file.blob}", path):
            return NOT_MADE
        if self._run.is_near and not self._run.holds(path, file.size, file.blob):
            self._outputs.discard(file)
            return "its file was damaged in the store; run again to remake it"
        return ""

    def _is_current(self, old: OutputEntry, new: OutputEntry, file: OutputRecord | None) -> bool:
        if old.sha256 is None or old.size is None:
            return False
        if old.model_copy(update={"sha256": None, "size": None}) != new:
            return False
        if file is not None and old.sha256 != file.blob:
            return False
        return self._run.holds(old.path, old.size, old.sha256)
