"""What was read from S3, kept on this disk so that it is read once.

``index/<identity>`` holds what was seen in one version of one object (``Seen``), ``content/<its
SHA-256>`` the bytes. Files are written whole under their final names, so many processes may use
one cache. Nothing in it is trusted: content that does not have its own digest is removed. A cache
that cannot be written is no mistake; everything is read from its server again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import time
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from flows.sources.place import S3Object, Seen
from flows.store.record import canonical_json, is_digest
from kontext_engine.files import write_whole
from kontext_engine.picture import FACTS_VERSION

MAX_INDEX = 50_000
_LEFTOVER = 24 * 3600  # seconds: a temporary file this old has lost its writer


@functools.cache
def _seen() -> TypeAdapter[Seen]:
    return TypeAdapter(Seen)


def default_folder() -> Path:
    """``kontext/inputs`` in the user's cache folder (``XDG_CACHE_HOME``, else ``~/.cache``)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "kontext" / "inputs"


def identity(source: S3Object) -> str:
    """What names one version of one object: SHA-256 over server, bucket, key, ETag and size."""
    server = source.settings.s3
    place = server.endpoint_url or f"aws:{server.region or ''}"
    version = [place, source.bucket, source.key, source.version, source.size]
    return hashlib.sha256(canonical_json(version)).hexdigest()


class ContentCache:
    """Bytes by their SHA-256, at most ``limit`` bytes of them; 0 keeps nothing."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._content = folder / "content"
        self._index = folder / "index"
        self._limit = limit

    @classmethod
    def of(cls, source: S3Object) -> ContentCache:
        """The cache that an object's settings name."""
        inputs = source.settings.inputs
        return cls(inputs.cache or default_folder(), inputs.cache_bytes)

    def known(self, source: S3Object) -> Seen | None:
        """What was seen in this version, if it has been read before, by the rules of today."""
        path = self._index / identity(source)
        try:
            entry = json.loads(path.read_text("ascii"))
            if entry.pop("facts") != FACTS_VERSION:
                return None
            found = _seen().validate_python(entry)
        except (OSError, ValueError, AttributeError, KeyError, ValidationError):
            return None
        if not is_digest(found.digest):
            return None
        _mark_used(path)
        return found

    def read(self, sha256: str) -> bytes | None:
        """The bytes with this digest, or ``None``."""
        path = self._content / sha256
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest() != sha256:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        _mark_used(path)
        return data

    def add(self, source: S3Object, data: bytes) -> Seen:
        """Keep what was read of ``source``, if there is room; what is to be seen in it."""
        found = Seen.of(data)
        with contextlib.suppress(OSError):
            for folder in (self._content, self._index):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if len(data) <= self._limit:
                write_whole(self._content / found.digest, data)
            # Small, and of use without the bytes: a plan needs no more.
            entry = json.dumps(asdict(found) | {"facts": FACTS_VERSION})
            write_whole(self._index / identity(source), entry)
        return found

    def trim(self) -> None:
        """Remove what was used longest ago until the rest is within its limits."""
        with contextlib.suppress(OSError):
            _trim(self._content, self._limit, None)
            _trim(self._index, None, MAX_INDEX)


def _mark_used(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.utime(path)


def _trim(folder: Path, most_bytes: int | None, most_files: int | None) -> None:
    now = time.time()
    kept_bytes = kept_files = 0
    with os.scandir(folder) as entries:
        found = [(entry.stat().st_mtime, entry.stat().st_size, entry.path) for entry in entries]
    for used, size, path in sorted(found, reverse=True):
        if path.endswith(".part"):
            excess = now - used > _LEFTOVER
        else:
            kept_bytes += size
            kept_files += 1
            excess = (most_bytes is not None and kept_bytes > most_bytes) or (
                most_files is not None and kept_files > most_files
            )
        if excess:
            with contextlib.suppress(OSError):
                Path(path).unlink()
