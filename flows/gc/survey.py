"""What of a store may go, as it looks at one moment: the candidates, and why the rest stays.

Being a candidate is not enough: ``sweep`` looks at each again right before it takes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from flows.execution.stages import STAGES
from flows.execution.verdicts import VERDICTS
from flows.gc.index import RecordIndex, of_output, of_record
from flows.gc.kinds import Kind, Policy, Upload, Uploads
from flows.gc.needs import ORDERED_FOR, ORDERS, Needs
from flows.listing import RUN_NAME
from flows.store.base import StoreError
from flows.store.claims import FOLDER as CLAIMS
from flows.store.lock import CLOCKS
from flows.store.objects import Entry, Objects
from flows.store.outputs import FOLDER as OUTPUTS
from flows.store.record import is_digest
from flows.store.runfolder import RUNS, THUMBS
from flows.thumbs import Thumbnail

LOCKS = frozenset({"tmp/lock", "tmp/cells.lock"})  # of folders; they are held, never written
FORMER = "active/"  # journals of the scheduler that earlier releases had
FORMER_SEAT = "coordinator.json"


@dataclass(frozen=True, slots=True)
class Survey:
    """Candidates by kind, the number and bytes of what stays by reason, and what is unknown.

    ``expired`` and ``unfinished`` are the runs whose folders go; ``notes`` are for people.
    """

    candidates: Mapping[Kind, tuple[Entry, ...]]
    stays: Mapping[str, tuple[int, int]]
    expired: tuple[str, ...]
    unfinished: tuple[str, ...]
    blind: tuple[str, ...]
    uploads: tuple[Upload, ...] = ()
    notes: tuple[str, ...] = ()

    def entries(self, kind: Kind) -> tuple[Entry, ...]:
        """The candidates of a kind."""
        return self.candidates.get(kind, ())


class Surveyor:
    """Looks a store over; what its records name is remembered from look to look.

    ``records`` are those of steps that stay, ``outputs`` all of output files.
    """

    def __init__(self, objects: Objects, policy: Policy, tell: Callable[[str, int, int], None]):
        self.records = RecordIndex(objects, of_record)
        self.outputs = RecordIndex(objects, of_output)
        self._objects = objects
        self._policy = policy
        self._tell = tell  # what is done, how many, of how many
        self._stays: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def look(self, needs: Needs, now: float) -> Survey:
        """The store at this moment.

        Raises:
            StoreError: the home fails.
        """
        self._stays, self._bytes = Counter(), Counter()
        old = now - self._policy.grace
        found: dict[Kind, tuple[Entry, ...]] = {
            Kind.CLAIMS: self._old(CLAIMS, old, only=needs.dead),
            Kind.QUARANTINE: self._old("quarantine/", old),
            Kind.LEFTOVERS: (*self._old("tmp/", old), *self._old(CLOCKS, old)),
            Kind.FORMER: (*self._old(FORMER, old), *self._old(FORMER_SEAT, old)),
            Kind.STAGES: self._over(STAGES, needs, old),
            Kind.VERDICTS: self._over(VERDICTS, needs, old),
            Kind.ORDERS: self._old(ORDERS, min(old, now - ORDERED_FOR)),
        }
        expired: tuple[str, ...] = ()
        unfinished: tuple[str, ...] = ()
        if not needs.blind:
            expired = self._expired(needs, now)
            unfinished, found[Kind.UNFINISHED] = self._unfinished(needs, old)
            found[Kind.RUNS] = self._folders(expired)
            left = needs.without(expired)
            found[Kind.FAILURES] = self._unneeded("failures/", left.keys, old)
            found[Kind.OUTPUTS] = self._outputs(left, old)
            found[Kind.RECORDS] = self._records(left, old)
            found[Kind.THUMBS] = self._thumbs(left, old)
            found[Kind.BLOBS] = self._blobs(left, old, found[Kind.OUTPUTS])
        self._count_runs(needs, expired)
        stays = {why: (count, self._bytes[why]) for why, count in self._stays.items()}
        candidates = {kind: found[kind] for kind in Kind if found.get(kind)}
        uploads, notes = self._uploads()
        notes = (*notes, *self._former(candidates.get(Kind.FORMER, ())))
        return Survey(candidates, stays, expired, unfinished, needs.blind, uploads, notes)

    def _uploads(self) -> tuple[tuple[Upload, ...], tuple[str, ...]]:
        if not isinstance(self._objects, Uploads):
            return (), ()
        try:
            return tuple(self._objects.abandoned(self._policy.grace)), ()
        except StoreError as why:  # some servers and some rights do not go so far
            return (), (f"unfinished uploads stay: {why}",)

    def _former(self, entries: Iterable[Entry]) -> tuple[str, ...]:
        return tuple(
            f"{entry.name}: an unfinished run of an earlier release, which nobody goes on with; "
            "run its recipe again"
            for entry in entries
            if entry.name.startswith(FORMER) and entry.name.endswith("/order.json")
        )

    def _stay(self, why: str, entry: Entry) -> None:
        self._stays[why] += 1
        self._bytes[why] += entry.size

    def _old(
        self, prefix: str, old: float, only: frozenset[str] | None = None
    ) -> tuple[Entry, ...]:
        kept: list[Entry] = []
        for entry in self._objects.list(prefix):
            if (only is not None and entry.name not in only) or entry.name in LOCKS:
                continue
            if entry.modified < old:
                kept.append(entry)
            else:
                self._stay(f"{prefix}: within the grace period", entry)
        return tuple(kept)

    def _over(self, prefix: str, needs: Needs, old: float) -> tuple[Entry, ...]:
        found: list[Entry] = []
        for entry in self._objects.list(prefix):
            if not needs.under_way.is_over(entry.name):
                self._stay(f"{prefix}: of runs under way", entry)
            elif entry.modified >= old:
                self._stay(f"{prefix}: within the grace period", entry)
            else:
                found.append(entry)
        return tuple(found)

    def _expired(self, needs: Needs, now: float) -> tuple[str, ...]:
        if self._policy.runs_older is None:
            return ()
        oldest = now - self._policy.runs_older
        return tuple(run for run in sorted(needs.runs) if may_expire(run, needs, oldest))

    def _unfinished(self, needs: Needs, old: float) -> tuple[tuple[str, ...], tuple[Entry, ...]]:
        names: list[str] = []
        entries: list[Entry] = []
        for run in sorted(needs.bare):
            if not may_be_dropped(run, needs):
                continue
            inside = tuple(self._objects.list(f"{RUNS}/{run}/"))
            if inside and all(entry.modified < old for entry in inside):
                names.append(run)
                entries.extend(inside)
        return tuple(names), tuple(entries)

    def _folders(self, runs: Iterable[str]) -> tuple[Entry, ...]:
        return tuple(entry for run in runs for entry in self._objects.list(f"{RUNS}/{run}/"))

    def _digests(self, prefix: str) -> Iterable[Entry]:
        for entry in self._objects.list(prefix):
            if is_digest(entry.name.removeprefix(prefix)):
                yield entry

    def _unneeded(self, prefix: str, keys: frozenset[str], old: float) -> tuple[Entry, ...]:
        found: list[Entry] = []
        for entry in self._digests(prefix):
            if entry.name.removeprefix(prefix) in keys:
                self._stay(f"{prefix}: named by a run", entry)
            elif entry.modified >= old:
                self._stay(f"{prefix}: within the grace period", entry)
            else:
                found.append(entry)
        return tuple(found)

    def _outputs(self, needs: Needs, old: float) -> tuple[Entry, ...]:
        entries = list(self._digests(OUTPUTS))
        self.outputs.read(entries, lambda n: self._tell("reading outputs", n, len(entries)))
        found: list[Entry] = []
        for entry in entries:
            if self.outputs.step(entry.name) in needs.keys:
                self._stay(f"{OUTPUTS}: of a step that a run names", entry)
            elif entry.modified >= old:
                self._stay(f"{OUTPUTS}: within the grace period", entry)
            else:
                found.append(entry)
        return tuple(found)

    def _thumbs(self, needs: Needs, old: float) -> tuple[Entry, ...]:
        pictures = needs.blobs | self.records.blobs()
        found: list[Entry] = []
        for entry in self._objects.list(f"{THUMBS}/"):
            thumb = Thumbnail.named(entry.name.removeprefix(f"{THUMBS}/"))
            if thumb is None:
                continue
            if thumb.digest in pictures:
                self._stay(f"{THUMBS}/: of pictures that stay", entry)
            elif entry.modified >= old:
                self._stay(f"{THUMBS}/: within the grace period", entry)
            else:
                found.append(entry)
        return tuple(found)

    def _records(self, needs: Needs, old: float) -> tuple[Entry, ...]:
        kept: list[Entry] = []
        gone: list[Entry] = []
        for entry in self._digests("records/"):
            needed = entry.name.removeprefix("records/") in needs.keys
            if needed or entry.modified >= old:
                self._stay(
                    f"records/: {'named by a run' if needed else 'within the grace period'}", entry
                )
                kept.append(entry)
            else:
                gone.append(entry)
        # A record that stays keeps its blob, needed or not: a blob may be older than its record.
        self.records.read(kept, lambda done: self._tell("reading records", done, len(kept)))
        return tuple(gone)

    def _blobs(self, needs: Needs, old: float, going: Iterable[Entry]) -> tuple[Entry, ...]:
        recorded = self.records.blobs() | self.outputs.blobs({entry.name for entry in going})
        found: list[Entry] = []
        for entry in self._digests("blobs/"):
            digest = entry.name.removeprefix("blobs/")
            if digest in needs.blobs:
                self._stay("blobs/: named by a run", entry)
            elif digest in recorded:
                self._stay("blobs/: named by a record that stays", entry)
            elif entry.modified >= old:
                self._stay("blobs/: within the grace period", entry)
            else:
                found.append(entry)
        return tuple(found)

    def _count_runs(self, needs: Needs, expired: tuple[str, ...]) -> None:
        for run in set(needs.runs) - set(expired):
            if run in needs.pins:
                self._stays[f"{RUNS}/: pinned"] += 1
            elif run in needs.running:
                self._stays[f"{RUNS}/: running"] += 1
            else:
                self._stays[f"{RUNS}/: finished"] += 1


def may_expire(run: str, needs: Needs, oldest: float) -> bool:
    """Whether a finished run is old and neither pinned nor running."""
    named = needs.runs.get(run)
    return named is not None and named.manifest.modified < oldest and may_be_dropped(run, needs)


def may_be_dropped(run: str, needs: Needs) -> bool:
    """Whether a folder is a run's, and the run neither pinned nor running.

    What else people keep under ``runs/`` is not ours.
    """
    known = RUN_NAME.fullmatch(run) is not None
    return known and run not in needs.pins and run not in needs.running
