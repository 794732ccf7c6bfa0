"""Taking what may go, beside runs that go on.

Why nothing needed is taken
---------------------------
A *run* writes its claim (all keys of its plan), then waits while ``gc.lock`` is held, then looks
keys up, puts pictures, writes its manifest, and only then takes its claim away. A run of several
workers writes its stage (again all keys) under its claim, and its verdict after its manifest; its
claim also goes when its worker must end before it does. A *sweep* works in slices; each takes
``gc.lock``, then reads claims, then stages, then verdicts, then pins and manifests, then deletes
for ``SLICE`` seconds at most, then releases the lock. Below, "old" means: older than the grace
period by the home's own clock, looked up again right before the deletion.

1. *A key that a run looks up.* If its claim was there when the slice read the claims, the key is
   kept. If not, either the claim was written after the lock was taken: then the run sees the lock
   when it looks and waits until this slice is over; a later slice reads the claim, so it need not
   wait for that one. Or the claim was gone again: then its stage was there before, and stages are
   read after claims, or its manifest was, and manifests are read last. A stage stops counting with
   its verdict, before which the manifest was written; or ``LONGEST`` after it was written, when
   nobody is expected to go on with it. A run that was killed is covered by its claim until that is
   old, by its stage if it has one, and afterwards makes anew what it needs.
2. *A record*, of a step or of an output file, goes only if it is old and no manifest, claim or
   stage names its step's key: by 1 nobody is using it, and who comes later finds nothing and makes
   it again. It is removed with its version, so one that was remade in between stays.
3. *A blob* goes only if it is old and neither a manifest, claim, stage or order nor any record that
   stays names it. All records that stay were read at most ``Policy.fresh`` = grace / 4 ago, and so
   were those that should have gone and did not. A record created since then names a blob that its
   writer created, touched or found younger than ``touch_after`` at that time, so it was at most
   grace / 2 old then: it is not old now. Records go before blobs, so no sweep leaves a record
   without its blob.
4. *A blob that a put adopts* between our last look at it and its removal: in a folder the touch
   changes its version, and it is not removed. S3 removes by ETag, which a touch does not change
   (and a DELETE may be repeated for a minute); so a put that adopted a blob writes its record,
   then waits while ``gc.lock`` is held, then looks whether the blob is still there, and puts it
   again. If no lock was held, every later sweep looks at the blob after it was touched.
5. *A run's folder* goes only if the run is unpinned, unclaimed and its manifest old enough; the
   manifest goes first. A crash in between leaves a folder without a manifest, which nobody lists
   as finished, and which a later sweep takes once everything in it is old. A run of the same name
   that starts in between holds a claim, and the rest of the folder stays.
6. *What cannot be read* of manifests, living claims and stages of runs under way may name anything:
   then only what nobody's result depends on goes (``Kind.is_clear``).
7. *Stages and verdicts* go once they are old and their run has ended; stages first, since a stage
   without its verdict would count again. *A thumbnail* goes with its picture; whoever lacks one
   makes it again. Leases are not ours: the workers of parents look after them.
8. *Two sweeps*: the lock admits one. A holder that stalls (a machine asleep, a server away) finds
   ``GcLock.safe`` false before its next deletion; the one on its way is over long before the lock
   counts as expired.

Killed at any moment, a sweep leaves garbage, never harm; run again, it goes on from there.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from flows.gc.kinds import Kind, Policy, Uploads
from flows.gc.mark import Marker, Marks, run_of
from flows.gc.reading import Tell, nothing
from flows.gc.roots import RootReader, Roots
from flows.gc.slices import SLICE, Slices, cut
from flows.run.manifest import FILE_NAME
from flows.store.base import StoreError
from flows.store.folder import LocalObjects
from flows.store.lock import LEASE, HomeClock, passing_seconds
from flows.store.objects import Entry, Objects
from flows.store.runfolder import RUNS

_LOOKS = 3  # at the whole store without anything removed in between


def mark(objects: Objects, policy: Policy, now: float, tell: Tell = nothing) -> Marks:
    """What would go, changing nothing; ``now`` by the home's clock, as nearly as it is known.

    Raises:
        StoreError: the home fails.
    """
    roots = RootReader(objects, policy.grace).read(now)
    return Marker(objects, policy, tell).look(roots, now)


@dataclass
class Swept:
    """What went, by kind, and what was a candidate but stayed when looked at again."""

    counts: Counter[Kind] = field(default_factory=Counter)
    bytes: Counter[Kind] = field(default_factory=Counter)
    kept: Counter[Kind] = field(default_factory=Counter)


class Sweep:
    """One clean-up. ``lease`` and ``slice_seconds`` are the lock's; ``swept`` what went so far."""

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
        self._roots = RootReader(objects, policy.grace)
        self._marker = Marker(objects, policy, tell)
        self._slices = Slices(objects, self._roots, lease, slice_seconds)
        self._read_at = 0.0  # when all records were read
        self._went: set[str] = set()  # names of what is gone since

    def run(self) -> Marks:
        """Take everything that may go; the first look. ``swept`` tells what went, also midway.

        Raises:
            CollectorBusy: another clean-up is under way.
            StoreError: the home fails or cannot be written.
        """
        self._slices.clock = HomeClock.probe(self._objects)
        first = self._look()
        with self._slices:
            for kind in Kind:
                match kind:
                    case Kind.RUNS | Kind.UNFINISHED:
                        self._take_runs(kind, first.entries(kind))
                    case Kind.UPLOADS:
                        self._abort(first.uploads)
                    case _:
                        if kind is Kind.THUMBS:  # those that should have gone, and did not, count
                            left = (one for one in first.records if one.name not in self._went)
                            self._marker.count(left)
                        self._take(kind, first.entries(kind))
        return first

    def _look(self) -> Marks:
        self._read_at = passing_seconds()
        self._went.clear()
        now = self._slices.clock.now()
        return self._marker.look(self._roots.read(now), now)

    def _take(self, kind: Kind, entries: Sequence[Entry]) -> None:
        done = 0
        for batch in cut(entries):
            roots = self._slices.roots() if kind is not Kind.BLOBS else self._fresh_roots()
            if roots is None or (roots.blind and not kind.is_clear):
                return
            going = [entry for entry in batch if self._marker.may_go(kind, entry, roots)]
            self.swept.kept[kind] += len(batch) - len(going)
            self._remove(kind, going, self._policy.age(kind))
            done += len(batch)
            self._tell(f"removing {kind}", done, len(entries))

    def _fresh_roots(self) -> Roots | None:
        """What must stay, beside a reading of all records that is not too old (3).

        ``None`` where another look finds that it cannot be known.
        """
        for looks in range(_LOOKS + 1):
            if looks:
                self._slices.end()
                again = self._look()
                if again.blind:
                    return None
                self._marker.count(again.records)
            if self._is_fresh():
                roots = self._slices.roots()
                if self._is_fresh():
                    return roots
        raise StoreError(
            f"{self._objects.where}: reading all records takes longer than a quarter of the grace "
            "period, so blobs stay; give a longer --grace"
        )

    def _is_fresh(self) -> bool:
        return passing_seconds() - self._read_at <= self._policy.fresh

    def _remove(self, kind: Kind, entries: Sequence[Entry], age: float) -> bool:
        """Remove those that are still what they were, and so old; whether all of them went."""
        before = self.swept.counts[kind]
        for entry, gone in self._slices.remove(entries, age):
            if gone:
                self.swept.counts[kind] += 1
                self.swept.bytes[kind] += entry.size
                self._went.add(entry.name)
            else:
                self.swept.kept[kind] += 1
        return self.swept.counts[kind] - before == len(entries)

    def _abort(self, uploads: Sequence[Any]) -> None:
        # Nobody takes up an upload that another process began: an old one is nobody's.
        for done, upload in enumerate(uploads, 1):
            if isinstance(self._objects, Uploads):
                self._objects.abort(upload)
                self.swept.counts[Kind.UPLOADS] += 1
                self._tell(f"removing {Kind.UPLOADS}", done, len(uploads))

    def _take_runs(self, kind: Kind, entries: Sequence[Entry]) -> None:
        """Take those folders of runs that may still go."""
        by_run = [(run, list(inside)) for run, inside in groupby(entries, run_of)]
        for done, (run, inside) in enumerate(by_run, 1):
            if self._take_run(kind, run, inside):
                _remove_empty_folders(self._objects, run)
            self._tell(f"removing {kind}", done, len(by_run))
        if self.swept.counts[kind]:
            self._slices.end()  # what only these runs named is free in the next slice

    def _take_run(self, kind: Kind, run: str, entries: Sequence[Entry]) -> bool:
        """The manifest, then the rest."""
        manifest = [one for one in entries if one.name == f"{RUNS}/{run}/{FILE_NAME}"]
        rest = [one for one in entries if one not in manifest]
        began = self._slices.roots()
        if began.blind or not began.may_drop(run):
            return False
        age = self._policy.grace
        if kind is Kind.RUNS:
            older, age = self._policy.runs_older or 0.0, 0.0
            if not began.may_expire(run, self._slices.clock.now() - older):
                return False
            if not self._remove(kind, manifest, older):
                return False
        elif run not in began.bare:
            return False
        for batch in cut(rest):
            roots = self._slices.roots()
            back = roots is not began and run in roots.runs
            if back or not roots.may_drop(run):
                return False
            self._remove(kind, batch, age)
        return True


def _remove_empty_folders(objects: Objects, run: str) -> None:
    """What is left of a run in a home that has folders as such."""
    if not isinstance(objects, LocalObjects):
        return
    for folder, _, _ in os.walk(objects.root / RUNS / run, topdown=False):
        with contextlib.suppress(OSError):  # not empty
            Path(folder).rmdir()
