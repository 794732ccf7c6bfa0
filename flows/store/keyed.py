"""The store's contract, kept over any home that can create a name atomically."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from flows.store.base import BlobDamaged, FailureNote, StoreError, StoreReadOnly
from flows.store.lanes import in_lanes
from flows.store.lock import HomeClock, passing_seconds, wait_for_collector
from flows.store.objects import Held, Objects
from flows.store.record import Record, RecordError, decode_record, encode_record, is_digest

log = logging.getLogger(__name__)

TOUCH_AFTER = 3600.0  # seconds; the least grace period of gc is longer

MANY = 1000  # keys, from which on a listing may spare requests: as many names as a page of it has

_ATTEMPTS = 5  # how often a put takes on a name whose holder turns out damaged, or goes


class KeyedStore:
    """The one owner of "done", over ``objects``. Safe for many processes and threads at once.

    Every method raises ``StoreError`` when the home itself fails, ``ValueError`` for a key that is
    not a SHA-256 in hex. Reading needs no right to write: damage met in a read-only home counts as
    "not done" and stays where it is. ``lanes`` is how many requests may be on their way at once
    where many are made. ``touch_after`` seconds old, a blob that a new record comes to name is
    made young again, so that no clean-up takes it for forgotten in that moment.
    """

    def __init__(
        self, objects: Objects, *, touch_after: float = TOUCH_AFTER, lanes: int = 1
    ) -> None:
        self.objects = objects
        self.lanes = lanes
        self._touch_after = touch_after

    def prepare(self) -> None:
        """Make the home ready, and try what the contract needs."""
        self.objects.prepare()

    def find(self, key: str) -> Record | None:
        """The record of a done step, its blob read and verified; ``None`` when it is not done.

        A damaged record, or one whose blob is missing or damaged, is quarantined: ``None``.
        """
        found = self.find_picture(key)
        return None if found is None else found[0]

    def find_picture(self, key: str) -> tuple[Record, bytes] | None:
        """``find``, and the picture's bytes that it has read."""
        name = _name("records", key)
        held = self.objects.get(name)
        if held is None:
            return None
        try:
            record = decode_record(held.data, key)
        except RecordError as why:
            self._set_aside(name, held, f"the record {why}")
            return None
        try:
            return record, self.read(record)
        except BlobDamaged:
            return None

    def has(self, key: str) -> bool:
        """Whether the record is there and sound."""
        return self.peek(key) is not None

    def peek(self, key: str) -> Record | None:
        """The record, if it is there and sound; nothing is asked of its blob (``read`` does)."""
        held = self.objects.get(_name("records", key))
        if held is None:
            return None
        try:
            return decode_record(held.data, key)
        except RecordError:
            return None

    def holds(self, blob: str, size: int) -> bool:
        """Whether a blob of this digest and size is there, unread."""
        entry = self.objects.stat(_name("blobs", blob))
        return entry is not None and entry.size == size

    def peek_all(self, keys: Iterable[str]) -> Iterator[tuple[str, Record | None]]:
        """``peek`` for each key, in their order, several at once where the home is far."""
        return in_lanes(self.peek, keys, self.lanes)

    def has_all(self, keys: Iterable[str]) -> Iterator[tuple[str, bool]]:
        """``has`` for each key, likewise.

        Where a listing of no more names than there are keys is whole (a page of a thousand in S3
        is one request), it says which are not there, and only the others are read.
        """
        wanted = list(keys)
        listed = self._listed(len(wanted)) if len(wanted) >= MANY else None
        if listed is None:
            return in_lanes(self.has, wanted, self.lanes)
        there = dict(in_lanes(self.has, [key for key in wanted if key in listed], self.lanes))
        return ((key, there.get(key, False)) for key in wanted)

    def _listed(self, most: int) -> set[str] | None:
        """The keys of all records, or nothing where there are more, or nobody may list them."""
        with contextlib.suppress(StoreError):
            found = set(itertools.islice(self._digests("records"), most + 1))
            return found if len(found) <= most else None
        return None

    def _digests(self, folder: str) -> Iterator[str]:
        """What a folder has names of."""
        return (entry.name.rpartition("/")[2] for entry in self.objects.list(f"{folder}/"))

    def failures(self, keys: Iterable[str]) -> Iterator[tuple[str, FailureNote | None]]:
        """``last_failure`` for each key that has one: they are few, and listed."""
        noted = set(self._digests("failures"))
        return in_lanes(self.last_failure, [key for key in keys if key in noted], self.lanes)

    def read(self, record: Record) -> bytes:
        """The picture's bytes, verified.

        Raises:
            BlobDamaged: missing or another digest; quarantined together with its record.
        """
        name = _name("blobs", record.blob)
        blob = self.objects.get(name)
        if blob is not None and _sha256(blob.data) == record.blob:
            return blob.data
        what = "is missing" if blob is None else "has another digest than its name"
        # The record goes first: while it stands, another writer would take the key for done.
        held = self.objects.get(_name("records", record.key))
        if held is not None and _names_blob(held.data, record):
            self._set_aside(_name("records", record.key), held, f"the blob {what}")
        if blob is not None:
            self._set_aside(name, blob, "another digest")
        raise BlobDamaged(
            f"{self.objects.where}/{name}: the picture of '{record.label}' {what}; run again to "
            "remake it"
        )

    def check_blob(self, digest: str) -> str:
        """Read and hash a blob; what is wrong with it, if something is: then it is set aside."""
        name = _name("blobs", digest)
        held = self.objects.get(name)
        if held is None:
            return "is missing"
        if _sha256(held.data) == digest:
            return ""
        self._set_aside(name, held, "another digest")
        return "has another digest than its name"

    def put(self, record: Record, blob: bytes) -> Record:
        """Blob first, record last; the record that holds the key: this, or an earlier writer's.

        Raises:
            ValueError: ``record`` does not name these bytes.
        """
        if _sha256(blob) != record.blob or len(blob) != record.size:
            raise ValueError(f"record {record.key[:12]} does not name the blob it came with")
        name, data = _name("records", record.key), encode_record(record)
        for _ in range(_ATTEMPTS):
            if self.put_named(name, data, blob):
                return record
            if winner := self.find(record.key):
                return winner
        raise self.never_sound(name)

    def put_named(self, name: str, data: bytes, blob: bytes) -> bool:
        """Put ``blob``, then ``data``, which names it, under a new name; whether it was new."""
        digest, began = _sha256(blob), passing_seconds()
        adopted = self._put_blob(digest, blob)
        if not self.objects.create(name, data):
            return False
        if adopted:
            self._let_clean_up_pass(name)
        # A clean-up that looked before the name was there may have taken the blob since, unless
        # it is new: nothing so young goes.
        late = passing_seconds() - began > self._touch_after
        if (adopted or late) and self.objects.stat(_name("blobs", digest)) is None:
            self._put_blob(digest, blob)
        return True

    def keep(self, blob: bytes) -> str:
        """Store bytes that no record names, a source picture for one; their SHA-256."""
        digest = _sha256(blob)
        self._put_blob(digest, blob)
        return digest

    def sample(self, limit: int) -> Iterator[Record]:
        """Some records in the home's own order; what cannot be read is passed over."""
        listed = itertools.islice(self.objects.list("records/"), limit)
        names = [entry.name for entry in listed]
        for name, held in in_lanes(self.objects.get, names, self.lanes):
            if held is not None:
                with contextlib.suppress(RecordError):
                    yield decode_record(held.data, name.removeprefix("records/"))

    def note_failure(self, note: FailureNote) -> None:
        """Write ``failures/<key>`` over an older note."""
        data = json.dumps(asdict(note), sort_keys=True, indent=1).encode("ascii") + b"\n"
        self.objects.replace(_name("failures", note.key), data)

    def last_failure(self, key: str) -> FailureNote | None:
        """The latest note for a key, or ``None``."""
        held = self.objects.get(_name("failures", key))
        if held is None:
            return None
        try:
            return FailureNote(**json.loads(held.data))
        except (ValueError, TypeError):
            return None

    def _let_clean_up_pass(self, name: str) -> None:
        """Wait while a clean-up is under way: it may have looked at a blob before it was touched.

        S3 removes by ETag, which a touch does not change. ``name`` was written a moment ago.
        """
        clock = HomeClock.of(self.objects, name)
        if clock is not None:
            wait_for_collector(self.objects, clock, log.info)

    def _put_blob(self, digest: str, blob: bytes) -> bool:
        """Put it, or make one that is there young; whether there was one."""
        name = _name("blobs", digest)
        for _ in range(_ATTEMPTS):
            if self.objects.create(name, blob):
                return False
            held = self.objects.get(name)
            if held is None:
                continue
            if _sha256(held.data) != digest:
                self._set_aside(name, held, "another digest")
            elif self._is_young(name):
                return True
        raise self.never_sound(name)

    def _is_young(self, name: str) -> bool:
        """Whether it is young, or was made so; ``False`` when it is gone."""
        entry = self.objects.stat(name)
        if entry is None:
            return False
        # Either way: a home whose clock is ahead shows ages that are too small.
        if abs(time.time() - entry.modified) <= self._touch_after:
            return True
        return self.objects.touch(name)

    def _set_aside(self, name: str, damaged: Held, why: str) -> None:
        """Move a damaged object to ``quarantine/`` with a note, but never a sound newer one."""
        kind = {"blobs": "blob", "records": "record"}[name.partition("/")[0]]
        last = name.rpartition("/")[2]
        aside = f"quarantine/{kind}-{last}-{uuid.uuid4().hex[:8]}"
        note = {"kind": kind, "name": last, "why": why}
        with contextlib.suppress(StoreReadOnly):
            self.objects.replace(aside, damaged.data)
            self.objects.replace(f"{aside}.json", json.dumps(note).encode())
            if not self.objects.remove(name, damaged.version):  # another process was quicker
                self.objects.remove(f"{aside}.json")
                self.objects.remove(aside)

    def never_sound(self, name: str) -> StoreError:
        """The error when what is put under a name is damaged again each time."""
        kind = "blob" if name.startswith("blobs/") else "record"
        return StoreError(
            f"{self.objects.where}/{name}: this {kind} is damaged again each time it is remade; "
            "check the disk or the server, then run again"
        )


def _name(folder: str, digest: str) -> str:
    if not is_digest(digest):
        raise ValueError(f"{digest!r} is no key: expected a SHA-256 in hex")
    return f"{folder}/{digest}"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _names_blob(data: bytes, record: Record) -> bool:
    try:
        return decode_record(data, record.key).blob == record.blob
    except RecordError:
        return False
