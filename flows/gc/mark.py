"""What of a store may go, as it looks at one moment: the candidates, and why the rest stays.

Being a candidate is not enough: ``sweep`` looks at each again right before it takes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.gc.kinds import Kind, Policy, Uploads
from flows.gc.reading import Naming, Reader, Tell, of_output, of_record
from flows.gc.roots import ORDERS, Roots
from flows.run.stages import STAGES
from flows.run.thumbs import Thumbnail
from flows.run.verdicts import VERDICTS
from flows.store.base import StoreError
from flows.store.claims import FOLDER as CLAIMS
from flows.store.lock import CLOCKS
from flows.store.objects import Entry, Objects
from flows.store.outputs import FOLDER as OUTPUTS
from flows.store.record import is_digest
from flows.store.runfolder import RUNS, THUMBS

LOCKS = frozenset({"tmp/lock", "tmp/cells.lock"})  # of folders; they are held, never written
FORMER = "active/"  # journals of the scheduler that earlier releases had
# Where they are. A kind is marked when those before it are: thumbnails and blobs by the records.
FOLDERS: Mapping[Kind, tuple[str, ...]] = {
    Kind.CLAIMS: (CLAIMS,),
    Kind.QUARANTINE: ("quarantine/",),
    Kind.LEFTOVERS: ("tmp/", CLOCKS),
    Kind.FORMER: (FORMER, "coordinator.json"),
    Kind.STAGES: (STAGES,),
    Kind.VERDICTS: (VERDICTS,),
    Kind.ORDERS: (ORDERS,),
    Kind.FAILURES: ("failures/",),
    Kind.OUTPUTS: (OUTPUTS,),
    Kind.RECORDS: ("records/",),
    Kind.THUMBS: (f"{THUMBS}/",),
    Kind.BLOBS: ("blobs/",),
}
_RECORDS = (Kind.OUTPUTS, Kind.RECORDS)


@dataclass
class Marks:
    """Candidates by kind, the number and bytes of what stays by reason, and what is unknown.

    ``records`` are all of steps and of output files, ``notes`` are for people.
    """

    blind: tuple[str, ...]
    candidates: dict[Kind, list[Entry]] = field(default_factory=dict)
    stays: dict[str, tuple[int, int]] = field(default_factory=dict)
    records: list[Entry] = field(default_factory=list)
    uploads: tuple[Any, ...] = ()
    notes: list[str] = field(default_factory=list)

    def entries(self, kind: Kind) -> list[Entry]:
        """The candidates of a kind."""
        return self.candidates.get(kind, [])

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs whose folders go."""
        entries = (*self.entries(Kind.RUNS), *self.entries(Kind.UNFINISHED))
        return tuple(dict.fromkeys(run_of(entry) for entry in entries))

    def go(self, kind: Kind, entries: Iterable[Entry]) -> None:
        """Add candidates."""
        if found := list(entries):
            self.candidates.setdefault(kind, []).extend(found)

    def stay(self, why: str, size: int = 0) -> None:
        """Count one that stays."""
        count, total = self.stays.get(why, (0, 0))
        self.stays[why] = count + 1, total + size


class Marker:
    """Looks a store over; what its records name is remembered from look to look."""

    def __init__(self, objects: Objects, policy: Policy, tell: Tell) -> None:
        self._objects = objects
        self._policy = policy
        self._tell = tell
        self._records = Reader(objects, of_record)
        self._outputs = Reader(objects, of_output)
        self._pictures: frozenset[str] = frozenset()
        self._recorded: frozenset[str] = frozenset()

    def look(self, roots: Roots, now: float) -> Marks:
        """The store at this moment.

        Raises:
            StoreError: the home fails.
        """
        marks = Marks(roots.blind)
        if not roots.blind:
            self._mark_runs(roots, now, marks)
        left = roots.without(marks.runs)
        for run in left.runs:
            pinned, running = run in roots.pins, run in roots.running
            marks.stay(f"{RUNS}/: {'pinned' if pinned else 'running' if running else 'finished'}")
        for kind, folders in FOLDERS.items():
            if kind.is_clear or not roots.blind:
                for folder in folders:
                    self._mark(kind, folder, left, now, marks)
        if isinstance(self._objects, Uploads):
            try:
                marks.uploads = tuple(self._objects.abandoned(self._policy.grace))
            except StoreError as why:  # some servers and some rights do not go so far
                marks.notes.append(f"unfinished uploads stay: {why}")
        marks.notes += (
            f"{entry.name}: an unfinished run of an earlier release, which nobody goes on with; "
            "run its recipe again"
            for entry in marks.entries(Kind.FORMER)
            if entry.name.startswith(FORMER) and entry.name.endswith("/order.json")
        )
        return marks

    def count(self, records: Iterable[Entry]) -> None:
        """These records count from now on, and no others: what they name stays.

        Raises:
            StoreError: the home fails.
        """
        entries = list(records)
        files = [entry for entry in entries if entry.name.startswith(OUTPUTS)]
        steps = [entry for entry in entries if not entry.name.startswith(OUTPUTS)]
        self._pictures = _blobs(self._records.read_all("records", steps, self._tell))
        named = _blobs(self._outputs.read_all("outputs", files, self._tell))
        self._recorded = self._pictures | named

    def may_go(self, kind: Kind, entry: Entry, roots: Roots) -> bool:
        """Whether nothing but its age may keep it."""
        return _is_ours(kind, entry, roots) and self._why(kind, entry, roots) is None

    def _mark_runs(self, roots: Roots, now: float, marks: Marks) -> None:
        if self._policy.runs_older is not None:
            for run in sorted(roots.runs):
                if roots.may_expire(run, now - self._policy.runs_older):
                    marks.go(Kind.RUNS, self._objects.list(f"{RUNS}/{run}/"))
        for run in filter(roots.may_drop, sorted(roots.bare)):
            inside = list(self._objects.list(f"{RUNS}/{run}/"))
            if all(entry.modified < now - self._policy.grace for entry in inside):
                marks.go(Kind.UNFINISHED, inside)

    def _mark(self, kind: Kind, folder: str, roots: Roots, now: float, marks: Marks) -> None:
        entries = [one for one in self._objects.list(folder) if _is_ours(kind, one, roots)]
        if kind is Kind.OUTPUTS:
            self._outputs.read_all("outputs", entries, self._tell)
        oldest = now - self._policy.age(kind)
        going: list[Entry] = []
        for entry in entries:
            why = self._why(kind, entry, roots)
            if why is None and entry.modified < oldest:
                going.append(entry)
            else:
                marks.stay(f"{folder}: {why or 'within the grace period'}", entry.size)
        marks.go(kind, going)
        if kind in _RECORDS:
            # A record that stays keeps its blob, needed or not: a blob may be older than it.
            marks.records += entries
            gone = {one.name for some in _RECORDS for one in marks.entries(some)}
            self.count(entry for entry in marks.records if entry.name not in gone)

    def _why(self, kind: Kind, entry: Entry, roots: Roots) -> str | None:
        """Why it must stay however old it is."""
        if kind in {Kind.STAGES, Kind.VERDICTS}:
            return None if roots.under_way.is_over(entry.name) else "of runs under way"
        digest = entry.name.partition("/")[2].partition("-")[0]  # a thumbnail's size follows
        reasons: tuple[tuple[frozenset[str], str], ...] = ()
        match kind:
            case Kind.FAILURES | Kind.RECORDS:
                reasons = ((roots.keys, "named by a run"),)
            case Kind.OUTPUTS:
                record = self._outputs.read(entry)
                digest = "" if record is None else record.step
                reasons = ((roots.keys, "of a step that a run names"),)
            case Kind.THUMBS:
                pictures = "of pictures that stay"
                reasons = ((roots.blobs, pictures), (self._pictures, pictures))
            case Kind.BLOBS:
                recorded = "named by a record that stays"
                reasons = ((roots.blobs, "named by a run"), (self._recorded, recorded))
        return next((why for digests, why in reasons if digest in digests), None)


def run_of(entry: Entry) -> str:
    """The run whose folder holds it."""
    return entry.name.split("/")[1]


def _is_ours(kind: Kind, entry: Entry, roots: Roots) -> bool:
    """Whether it is what its folder is for; a claim that lives is its run's."""
    name = entry.name.partition("/")[2]
    match kind:
        case Kind.LEFTOVERS:
            return entry.name not in LOCKS
        case Kind.CLAIMS:
            return entry.name in roots.dead
        case Kind.THUMBS:
            return Thumbnail.named(name) is not None
        case Kind.FAILURES | Kind.OUTPUTS | Kind.RECORDS | Kind.BLOBS:
            return is_digest(name)
    return True


def _blobs(told: Iterable[Naming | None]) -> frozenset[str]:
    there = [naming for naming in told if naming is not None]
    return frozenset(digest for one in there for digest in (one.blob, one.shown) if digest)
