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
   then only what nobody's result depends on goes (``CLEAR``).
7. *Stages and verdicts* go once they are old and their run has ended; stages first, since a stage
   without its verdict would count again. *A thumbnail* goes with its picture; whoever lacks one
   makes it again. Leases are not ours: the workers of parents look after them.
8. *Two sweeps*: the lock admits one. A holder that stalls (a machine asleep, a server away) finds
   ``GcLock.safe`` false before its next deletion; the one on its way is over long before the lock
   counts as expired.

Killed at any moment, a sweep leaves garbage, never harm; run again, it goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flows.gc import slices as batches
from flows.gc.folders import take_folders
from flows.gc.kinds import CLEAR, Kind, Policy, Upload, Uploads
from flows.gc.needs import ORDERED_FOR, Needs, NeedsReader
from flows.gc.remover import Remover, Swept, Tell
from flows.gc.slices import SLICE, Slices, cut
from flows.gc.survey import Survey, Surveyor
from flows.store.base import StoreError
from flows.store.lock import LEASE, HomeClock, passing_seconds
from flows.store.objects import Entry, Objects
from flows.thumbs import Thumbnail

_LOOKS = 3  # at the whole store without anything removed in between


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
        self._objects = objects
        self._policy = policy
        self._tell = tell
        self._needs = NeedsReader(objects, policy.grace)
        self._surveyor = Surveyor(objects, policy, tell)
        self._slices = Slices(objects, self._needs, lease, slice_seconds)
        self._pictures: frozenset[str] = frozenset()  # that records name
        self._remover = Remover(objects, policy, self._slices)

    @property
    def swept(self) -> Swept:
        """What went so far."""
        return self._remover.swept

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
        if kind in {Kind.RUNS, Kind.UNFINISHED}:
            home = (self._objects, self._policy, self._slices, self._remover, self._tell)
            take_folders(kind, first, *home)
            return
        if kind is Kind.UPLOADS:
            self._abort(first.uploads)
            return
        if kind is Kind.THUMBS:
            self._surveyor.records.add(self._left(first))
            self._pictures = self._surveyor.records.blobs()
        age = max(self._policy.grace, ORDERED_FOR) if kind is Kind.ORDERS else None
        for batch in self._batches(kind, first.entries(kind)):
            needs = self._slices.needs()
            if kind not in CLEAR and needs.blind:
                return
            gone = [entry for entry in batch if self._is_unneeded(kind, entry, needs)]
            self._remover.remove(kind, gone, age)

    def _left(self, look: Survey) -> set[str]:
        """Records that should have gone and did not: what they name stays."""
        return _names(look, Kind.RECORDS) - self._remover.went

    def _abort(self, uploads: Sequence[Upload]) -> None:
        # Nobody takes up an upload that another process began: an old one is nobody's.
        for done, upload in enumerate(uploads, 1):
            if isinstance(self._objects, Uploads):
                self._objects.abort(upload)
                self.swept.counts[Kind.UPLOADS] += 1
                self._tell(f"removing {Kind.UPLOADS}", done, len(uploads))

    def _take_blobs(self, first: Survey, read_at: float) -> None:
        entries = list(first.entries(Kind.BLOBS))
        total, looks = len(entries), 0
        recorded = self._recorded(self._left(first), frozenset(self._remover.went))
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
                recorded = self._recorded(_names(look, Kind.RECORDS), frozenset())
                still = _names(look, Kind.BLOBS)
                entries = [entry for entry in entries if entry.name in still]
                continue
            needs = self._slices.needs()
            if needs.blind:
                return
            if passing_seconds() - read_at > self._policy.fresh:
                continue
            looks = 0
            batch, entries = entries[: batches.BATCH], entries[batches.BATCH :]
            gone = [one for one in batch if not _is_named(one, needs.blobs, recorded)]
            self.swept.kept[Kind.BLOBS] += len(batch) - len(gone)
            self._remover.remove(Kind.BLOBS, gone)
            self._tell(f"removing {Kind.BLOBS}", total - len(entries), total)

    def _recorded(self, left: set[str], went: frozenset[str]) -> frozenset[str]:
        """The blobs that records name: those that stay, and those that are left."""
        self._surveyor.records.add(left)
        return self._surveyor.records.blobs() | self._surveyor.outputs.blobs(without=went)

    def _is_unneeded(self, kind: Kind, entry: Entry, needs: Needs) -> bool:
        if kind in {Kind.RECORDS, Kind.FAILURES}:
            return entry.name.rpartition("/")[2] not in needs.keys
        if kind is Kind.OUTPUTS:
            return self._surveyor.outputs.step(entry.name) not in needs.keys
        if kind is Kind.THUMBS:
            thumb = Thumbnail.named(entry.name.rpartition("/")[2])
            kept = needs.blobs, self._pictures
            return thumb is not None and not any(thumb.digest in blobs for blobs in kept)
        if kind in {Kind.STAGES, Kind.VERDICTS}:
            return needs.under_way.is_over(entry.name)
        return kind is not Kind.CLAIMS or entry.name in needs.dead

    def _batches(self, kind: Kind, entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
        done = 0
        for batch in cut(entries):
            yield batch
            done += len(batch)
            self._tell(f"removing {kind}", done, len(entries))


def _names(look: Survey, kind: Kind) -> set[str]:
    return {entry.name for entry in look.entries(kind)}


def _is_named(entry: Entry, *by: frozenset[str]) -> bool:
    digest = entry.name.removeprefix("blobs/")
    return any(digest in blobs for blobs in by)
