"""A model folder's digest: SHA-256 over what decides its pictures, remembered by file stat.

``kontext.json`` is not part of it: what in that file decides pixels is in every step's key by
itself (``ModelSpec.deciding``), so a default can be changed and a figure be written there without
making anything anew that did not ask for it.

Where a machine only plans, weights may be absent: ``weights.sha256`` in the folder, as the program
``sha256sum`` writes it, then says what they are.

Torch-free. Reading 24 GB of weights takes minutes, and every plan needs the digest before any
model loads; so each file's hash is kept with its size, modification time and inode.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from kontext_engine.files import write_whole

COMPONENTS = (
    "scheduler",
    "text_encoder",
    "text_encoder_2",
    "tokenizer",
    "tokenizer_2",
    "transformer",
    "vae",
)
STATED = "weights.sha256"  # lines of `sha256sum`: digest, two spaces, path from the folder
_INDEX = "model_index.json"
_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")
_SUFFIXES = frozenset({".json", ".safetensors", ".txt", ".model"})
_CHUNK = 8 << 20  # bytes
_MANY = 500  # remembered files, of which those that are gone are forgotten
# A file written this lately may change again without its time moving on: hash, do not remember.
_SETTLING_NS = 2_000_000_000

# path -> (size, modification time in ns, inode, SHA-256)
_Entry = tuple[int, int, int, str]


def cache_path() -> Path:
    """Where hashes are remembered: ``$XDG_CACHE_HOME/kontext/digests.json``."""
    root = os.environ.get("XDG_CACHE_HOME")
    base = Path(root) if root and Path(root).is_absolute() else Path("~/.cache").expanduser()
    return base / "kontext" / "digests.json"


def model_files(folder: Path) -> list[Path]:
    """The files that decide a model's pictures: weights, configurations, tokenizers. Sorted."""
    found = [folder / _INDEX] if (folder / _INDEX).is_file() else []
    for component in COMPONENTS:
        inside = (folder / component).rglob("*") if (folder / component).is_dir() else ()
        found += [path for path in inside if path.suffix in _SUFFIXES and path.is_file()]
    return sorted(found)


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a model folder's files, in hexadecimal.

    Neither the folder's place nor files of no effect (README, samples) change it. Files that are
    absent and stated count as if they were there.

    Raises:
        OSError: a file cannot be read.
        ValueError: a line of what is stated is none of ``sha256sum``'s.
    """
    remembered = _load_cache()
    fresh: dict[str, _Entry] = {}
    contents = stated(folder)
    for path in model_files(folder):
        contents[path.relative_to(folder)] = _file_digest(path, remembered, fresh)
    total = hashlib.sha256()
    for name, content in sorted(contents.items()):
        total.update(f"{content} {name.as_posix()}\n".encode())
    if fresh:
        _save_cache({**_load_cache(), **fresh})
    return total.hexdigest()


def stated(folder: Path) -> dict[Path, str]:
    """Digests of files that may be absent, by their path from the folder.

    Raises:
        OSError: it cannot be read.
        ValueError: a line is none of ``sha256sum``'s.
    """
    if not (folder / STATED).is_file():
        return {}
    found = {}
    for number, line in enumerate((folder / STATED).read_text("utf-8").splitlines(), 1):
        if (parts := _LINE.fullmatch(line)) is None:
            raise ValueError(f"{STATED}:{number}: expected a line of `sha256sum`; write it anew")
        found[Path(parts[2])] = parts[1]
    return found


def _file_digest(path: Path, remembered: Mapping[str, _Entry], fresh: dict[str, _Entry]) -> str:
    key = str(path.resolve())
    stat = path.stat()
    known = remembered.get(key)
    if known and known[:3] == (stat.st_size, stat.st_mtime_ns, stat.st_ino):
        return known[3]
    with path.open("rb") as stream:
        hashed = hashlib.sha256()
        while chunk := stream.read(_CHUNK):
            hashed.update(chunk)
    after = path.stat()
    unchanged = (after.st_size, after.st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    if unchanged and time.time_ns() - stat.st_mtime_ns > _SETTLING_NS:
        fresh[key] = (stat.st_size, stat.st_mtime_ns, stat.st_ino, hashed.hexdigest())
    return hashed.hexdigest()


def _load_cache() -> dict[str, _Entry]:
    """What is remembered; nothing when the cache is missing, unreadable or corrupt."""
    try:
        saved = json.loads(cache_path().read_text("utf-8"))
        return {
            str(path): (int(size), int(modified), int(inode), str(content))
            for path, (size, modified, inode, content) in saved["files"].items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _save_cache(entries: Mapping[str, _Entry]) -> None:
    """Replace the cache whole; a home that cannot be written costs time, not the run."""
    path = cache_path()
    if len(entries) > _MANY:
        entries = {name: entry for name, entry in entries.items() if Path(name).exists()}
    with suppress(OSError):
        write_whole(path, json.dumps({"version": 1, "files": dict(sorted(entries.items()))}))
