"""The store in a folder of this machine, safe against crashes and against other writers."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from flows.store import atomic
from flows.store.base import BlobDamaged, FailureNote, StoreError
from flows.store.record import Record, RecordError, decode_record, encode_record, is_digest

_FOLDERS = ("blobs", "records", "failures", "quarantine", "tmp")
_Judge = Callable[[bytes], bool]
_ATTEMPTS = 5  # how often a put takes on a key whose holder turns out damaged


class LocalStore:
    """``Store`` over ``root``; the folders are made when something is first written.

    Reading needs no right to write: damage met in a read-only store counts as "not done" and
    stays where it is.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ready = False

    def prepare(self) -> None:
        """Make the folders, and try whether a name can be created there."""
        with atomic.disk_errors(self.root):
            self._prepare()
            atomic.probe(self._scratch)

    def find(self, key: str) -> Record | None:
        """The verified record of a done step, or ``None``; damage is quarantined."""
        with atomic.disk_errors(self.root):
            data = _read(self._record_path(key))
            if data is None:
                return None
            try:
                record = decode_record(data, key)
            except RecordError as why:
                self._quarantine_record(key, data, f"the record {why}")
                return None
        try:
            self.read(record)
        except BlobDamaged:
            return None
        return record

    def has(self, key: str) -> bool:
        """Whether the record is sound and its blob there with the right size."""
        with atomic.disk_errors(self.root):
            data = _read(self._record_path(key))
            if data is None:
                return False
            try:
                record = decode_record(data, key)
                return self._blob_path(record.blob).stat().st_size == record.size
            except (RecordError, FileNotFoundError):
                return False

    def read(self, record: Record) -> bytes:
        """The picture's bytes, verified against the digest in ``record``."""
        with atomic.disk_errors(self.root):
            path = self._blob_path(record.blob)
            data = _read(path)
            if data is not None and _sha256(data) == record.blob:
                return data
            what = "is missing" if data is None else "has another digest than its name"
            # The record goes first: while it stands, another writer would take the key for done.
            held = _read(self._record_path(record.key))
            if held is not None and _names_blob(held, record):
                self._quarantine_record(record.key, held, f"the blob {what}")
            if data is not None:
                self._quarantine_blob(record.blob)
        raise BlobDamaged(f"{path}: the picture of '{record.label}' {what}; run again to remake it")

    def put(self, record: Record, blob: bytes) -> Record:
        """Blob first, record last; the record that holds the key afterwards."""
        if _sha256(blob) != record.blob or len(blob) != record.size:
            raise ValueError(f"record {record.key[:12]} does not name the blob it came with")
        data = encode_record(record)
        with atomic.disk_errors(self.root):
            self._prepare()
            for _ in range(_ATTEMPTS):
                self._put_blob(record.blob, blob)
                if atomic.create(self._record_path(record.key), data, self._scratch):
                    return record
                if winner := self.find(record.key):
                    return winner
        raise StoreError(
            f"{self._record_path(record.key)}: this record is damaged again each time it is "
            "remade; check the disk, then run again"
        )

    def sample(self, limit: int) -> Iterator[Record]:
        """Some records in the folder's own order; what cannot be read is passed over."""
        folder = self.root / "records"
        with atomic.disk_errors(self.root):
            found = itertools.islice(folder.iterdir() if folder.is_dir() else (), limit)
            for path in found:
                with contextlib.suppress(RecordError, FileNotFoundError):
                    yield decode_record(path.read_bytes(), path.name)

    def note_failure(self, note: FailureNote) -> None:
        """Write ``failures/<key>`` over an older note."""
        with atomic.disk_errors(self.root):
            self._prepare()
            data = json.dumps(asdict(note), sort_keys=True, indent=1).encode("ascii") + b"\n"
            atomic.replace(self._path("failures", note.key), data, self._scratch)

    def last_failure(self, key: str) -> FailureNote | None:
        """The latest note for a key, or ``None``."""
        with atomic.disk_errors(self.root):
            data = _read(self._path("failures", key))
        if data is None:
            return None
        try:
            return FailureNote(**json.loads(data))
        except (ValueError, TypeError):
            return None

    @property
    def _scratch(self) -> Path:
        return self.root / "tmp"

    def _path(self, folder: str, name: str) -> Path:
        if not is_digest(name):
            raise ValueError(f"{name!r} is no key: expected a SHA-256 in hex")
        return self.root / folder / name

    def _record_path(self, key: str) -> Path:
        return self._path("records", key)

    def _blob_path(self, digest: str) -> Path:
        return self._path("blobs", digest)

    def _prepare(self) -> None:
        if self._ready:
            return
        for name in _FOLDERS:
            (self.root / name).mkdir(parents=True, exist_ok=True)
        atomic.sync_folder(self.root)
        atomic.clean_scratch(self._scratch)
        self._ready = True

    def _put_blob(self, digest: str, blob: bytes) -> None:
        path = self._blob_path(digest)
        if atomic.create(path, blob, self._scratch):
            return
        held = _read(path)
        if held is not None and _sha256(held) == digest:
            return
        if held is not None:
            self._quarantine_blob(digest)
        atomic.create(path, blob, self._scratch)

    def _quarantine_blob(self, digest: str) -> None:
        path = self._blob_path(digest)
        self._set_aside(path, "blob", lambda data: _sha256(data) != digest, "another digest")

    def _quarantine_record(self, key: str, damaged: bytes, why: str) -> None:
        path = self._record_path(key)
        self._set_aside(path, "record", lambda data: data == damaged, why)

    def _set_aside(self, path: Path, kind: str, damaged: _Judge, why: str) -> None:
        """Move a damaged file to ``quarantine/`` with a note, but never a sound newer one."""
        try:
            self._prepare()
            held = _read(path)
            if held is None or not damaged(held):
                return  # another process was quicker
            aside = self.root / "quarantine" / f"{kind}-{path.name}-{uuid.uuid4().hex[:8]}"
            try:
                path.rename(aside)
            except FileNotFoundError:
                return
            if not damaged(aside.read_bytes()):
                # Between the look and the move another process put a sound one: give it back.
                atomic.create(path, aside.read_bytes(), self._scratch)
                aside.unlink()
                return
            note = {"kind": kind, "name": path.name, "why": why}
            atomic.replace(Path(f"{aside}.json"), json.dumps(note).encode(), self._scratch)
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
                raise


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _names_blob(data: bytes, record: Record) -> bool:
    try:
        return decode_record(data, record.key).blob == record.blob
    except RecordError:
        return False
