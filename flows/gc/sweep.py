"""Taking what may go, beside runs that go on.

Why nothing needed is taken
---------------------------
A *run* writes its claim (all keys of its plan), then waits while ``gc.lock`` is held, then looks
keys up, puts pictures, writes its manifest, and only then takes its claim away. A *sweep* works in
slices; each takes ``gc.lock``, then reads claims, then pins and manifests, then deletes for
``SLICE`` seconds at most, then releases the lock. Below, "old" means: older than the grace period
by the home's own clock, looked up again right before the deletion.

1. *A key that a run looks up.* If its claim was there when the slice read the claims, the key is
   kept. If not, the claim was written after the lock was taken, so the run sees the lock when it
   looks and waits until this slice is over; a later slice reads the claim, so it need not wait for
   that one. If the claim was gone again, the manifest was there before, and manifests are read
   after claims. A run that was killed is covered by its claim until that is old, and afterwards
   makes anew what it needs. The claim of a run under way for several workers covers it however old
   it is: orders (``active/<run>/order.json``) are read before claims, and one that is entered after
   that is entered under a young claim.
2. *A record* goes only if it is old and no manifest and no claim names its key: by 1 nobody is
   using it, and who comes later finds nothing and makes it again. It is removed with its version,
   so one that was remade in between stays.
3. *A blob* goes only if it is old and neither a manifest nor any record that stays names it. All
   records that stay were read at most ``Policy.fresh`` = grace / 4 ago, and so were those that
   should have gone and did not. A record created since then names a blob that its writer created,
   touched or found younger than ``touch_after`` at that time, so it was at most grace / 2 old
   then: it is not old now. Records go before blobs, so no sweep leaves a record without its blob.
4. *A blob that a put adopts* between our last look at it and its removal: in a folder the touch
   changes its version, and it is not removed. S3 removes by ETag, which a touch does not change
   (and a DELETE may be repeated for a minute); so a put that adopted a blob writes its record,
   then waits while ``gc.lock`` is held, then looks whether the blob is still there, and puts it
   again. If no lock was held, every later sweep looks at the blob after it was touched.
5. *A run's folder* goes only if the run is unpinned, unclaimed and its manifest old enough; the
   manifest goes first. A crash in between leaves a folder without a manifest, which nobody lists
   as finished, and which a later sweep takes once everything in it is old. A run of the same name
   that starts in between holds a claim, and the rest of the folder stays.
6. *A manifest or a living claim that cannot be read*, or that is missing for a run under way, may
   name anything: then only what nobody's result depends on goes (``CLEAR``).
7. *Two sweeps*: the lock admits one. A holder that stalls (a machine asleep, a server away) finds
   ``GcLock.safe`` false before its next deletion; the one on its way is over long before the lock
   counts as expired.

Killed at any moment, a sweep leaves garbage, never harm; run again, it goes on from there.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flows.gc.needs import Needs, NeedsReader
from flows.gc.slices import SLICE, Slices
from flows.gc.survey import (
    CLEAR,
    Kind,
    Policy,
    Survey,
    Surveyor,
    Upload,
    Uploads,
    may_be_dropped,
    may_expire,
)
from flows.manifest import FILE_NAME
from flows.store.base import StoreError
from flows.store.folder import LocalObjects
from flows.store.lanes import LANES, in_lanes
from flows.store.lock import LEASE, HomeClock, passing_seconds
from flows.store.objects import Entry, Objects
from flows.store.runfolder import RUNS

_BATCH = 128  # objects between two looks at the clock
_LOOKS = 3  # at the whole store without anything removed in between

Tell = Callable[[str, int, int], None]


@dataclass
class Swept:
    """What went, by kind, and what was a candidate but stayed when looked at again."""

    counts: Counter[Kind] = field(default_factory=Counter)
    bytes: Counter[Kind] = field(default_factory=Counter)
    kept: Counter[Kind] = field(default_factory=Counter)


def nothing(what: str, done: int, total: int) -> None:
    """Tell nobody."""


def survey(objects: Objects, policy: Policy, now: float, tell: Tell = nothing) -> Survey:
    """What would go, changing nothing; ``now`` by the home's clock, as nearly as it is known.

    Raises:
        StoreError: the home fails.
    """
    needs = NeedsReader(objects, policy.grace).read(now)
    return Surveyor(objects, policy, tell).look(needs, now)


class Sweep:
    """One clean-up. ``lease`` and ``slice_seconds`` are the lock's."""

    def __init__(
        self,
        objects: Objects,
        policy: Policy,
        *,
        tell: Tell = nothing,
        lease: float = LEASE,
        slice_seconds: float = SLICE,
    ) -> None:
        self.swept = Swept()
        self._objects = objects
        self._policy = policy
        self._tell = tell
        self._needs = NeedsReader(objects, policy.grace)
        self._surveyor = Surveyor(objects, policy, tell)
        self._slices = Slices(objects, self._needs, lease, slice_seconds)
        self._went: set[str] = set()  # names of records

    def run(self) -> Survey:
        """Take everything that may go; the first look. ``swept`` tells what went, also midway.

        Raises:
            CollectorBusy: another clean-up is under way.
            StoreError: the home fails or cannot be written.
        """
        self._slices.clock = HomeClock.probe(self._objects)
        read_at = passing_seconds()
        first = self._look()
        with self._slices:
            for kind in Kind:
                if kind is not Kind.BLOBS:
                    self._take(kind, first)
            self._take_blobs(first, read_at)
        return first

    def _look(self) -> Survey:
        now = self._slices.now()
        return self._surveyor.look(self._needs.read(now), now)

    def _take(self, kind: Kind, first: Survey) -> None:
        entries = first.entries(kind)
        if kind in {Kind.RUNS, Kind.UNFINISHED}:
            self._take_runs(kind, first)
            return
        if kind is Kind.UPLOADS:
            self._abort(first.uploads)
            return
        for batch in self._batches(kind, entries):
            needs = self._slices.needs()
            if kind not in CLEAR and needs.blind:
                return
            self._remove(kind, [entry for entry in batch if _unneeded(kind, entry, needs)])

    def _abort(self, uploads: Sequence[Upload]) -> None:
        # Nobody takes up an upload that another process began: an old one is nobody's.
        for done, upload in enumerate(uploads, 1):
            if isinstance(self._objects, Uploads):
                self._objects.abort(upload)
                self.swept.counts[Kind.UPLOADS] += 1
                self._tell(f"removing {Kind.UPLOADS}", done, len(uploads))

    def _take_runs(self, kind: Kind, first: Survey) -> None:
        """Whole folders, one at a time: the manifest, then the rest while nobody claims the run."""
        names = first.expired if kind is Kind.RUNS else first.unfinished
        by_run: dict[str, list[Entry]] = {name: [] for name in names}
        for entry in first.entries(kind):
            by_run[entry.name.split("/")[1]].append(entry)
        for done, (run, entries) in enumerate(by_run.items(), 1):
            if self._take_run(kind, run, entries):
                _remove_empty_folders(self._objects, run)
            self._tell(f"removing {kind}", done, len(by_run))
        if self.swept.counts[kind]:
            self._slices.end()  # what only these runs named is free in the next slice

    def _take_run(self, kind: Kind, run: str, entries: Sequence[Entry]) -> bool:
        manifest = f"{RUNS}/{run}/{FILE_NAME}"
        head = [entry for entry in entries if entry.name == manifest]
        rest = [entry for entry in entries if entry.name != manifest]
        began = self._slices.needs()
        if began.blind or not may_be_dropped(run, began):
            return False
        if kind is Kind.RUNS:
            older = self._policy.runs_older or 0.0
            if not may_expire(run, began, self._slices.now() - older):
                return False
            if not self._remove(kind, head, age=older):
                return False
        elif run not in began.bare:
            return False
        for batch in _cut(rest):
            needs = self._slices.needs()
            back = needs is not began and run in needs.runs
            if back or not may_be_dropped(run, needs):
                return False
            self._remove(kind, batch, age=0.0 if kind is Kind.RUNS else None)
        return True

    def _take_blobs(self, first: Survey, read_at: float) -> None:
        entries = list(first.entries(Kind.BLOBS))
        left = _names(first, Kind.RECORDS) - self._went
        total, looks = len(entries), 0
        while entries:
            if passing_seconds() - read_at > self._policy.fresh:
                self._slices.end()
                looks += 1
                if looks > _LOOKS:
                    raise StoreError(
                        f"{self._objects.where}: reading all records takes longer than a quarter "
                        "of the grace period, so blobs stay; give a longer --grace"
                    )
                read_at = passing_seconds()
                look = self._look()
                left = _names(look, Kind.RECORDS)
                still = _names(look, Kind.BLOBS)
                entries = [entry for entry in entries if entry.name in still]
                continue
            needs = self._slices.needs()
            if needs.blind:
                return
            self._surveyor.index.add(left)
            keep = needs.blobs | self._surveyor.index.blobs()
            if passing_seconds() - read_at > self._policy.fresh:
                continue
            looks = 0
            batch, entries = entries[:_BATCH], entries[_BATCH:]
            gone = [entry for entry in batch if entry.name.removeprefix("blobs/") not in keep]
            self.swept.kept[Kind.BLOBS] += len(batch) - len(gone)
            self._remove(Kind.BLOBS, gone)
            self._tell(f"removing {Kind.BLOBS}", total - len(entries), total)

    def _batches(self, kind: Kind, entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
        done = 0
        for batch in _cut(entries):
            yield batch
            done += len(batch)
            self._tell(f"removing {kind}", done, len(entries))

    def _remove(self, kind: Kind, entries: Sequence[Entry], age: float | None = None) -> bool:
        """Remove those that are still what they were, and old; whether all of them went."""
        oldest = self._slices.now() - (self._policy.grace if age is None else age)

        def remove(entry: Entry) -> bool:
            seen = self._objects.stat(entry.name)
            if seen is None or seen.version != entry.version or seen.modified >= oldest:
                return False
            self._slices.check()
            return self._objects.remove(entry.name, seen.version)

        went = 0
        for entry, gone in in_lanes(remove, entries, LANES):
            if gone:
                went += 1
                self.swept.counts[kind] += 1
                if kind is Kind.RECORDS:
                    self._went.add(entry.name)
                self.swept.bytes[kind] += entry.size
            else:
                self.swept.kept[kind] += 1
        return went == len(entries)


def _unneeded(kind: Kind, entry: Entry, needs: Needs) -> bool:
    if kind in {Kind.RECORDS, Kind.FAILURES}:
        return entry.name.rpartition("/")[2] not in needs.keys
    return kind is not Kind.CLAIMS or entry.name in needs.dead


def _names(look: Survey, kind: Kind) -> set[str]:
    return {entry.name for entry in look.entries(kind)}


def _remove_empty_folders(objects: Objects, run: str) -> None:
    """What is left of a run in a home that has folders as such."""
    if not isinstance(objects, LocalObjects):
        return
    top = objects.root / RUNS / run
    for folder, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):  # not empty
            Path(folder).rmdir()


def _cut(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    for start in range(0, len(entries), _BATCH):
        yield entries[start : start + _BATCH]
