"""Inputs in S3: ``s3://bucket/prefix/*.png`` found, limited, and read once.

A recipe that somebody sent must not read whatever the credentials of this machine can: without
``inputs.buckets`` in the settings it may read the store's own bucket and nothing else.
"""

from __future__ import annotations

import fnmatch
import functools
import glob
import hashlib
import itertools
import re
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import PurePosixPath

from flows.problems import did_you_mean
from flows.settings import S3Settings, Settings
from flows.settings.address import SCHEME
from flows.settings.secrecy import masked
from flows.sources.cache import ContentCache
from flows.sources.place import S3Object, Seen
from flows.store.address import parse_address
from flows.store.base import AddressError, StoreError
from flows.store.objects import Entry, Objects, checked

MAX_LISTED = 200_000  # keys looked at for one glob
READERS = 8


class RemoteError(Exception):
    """An object cannot be had; the message says what was expected and what to do."""


@functools.lru_cache(maxsize=16)
def open_bucket(bucket: str, server: S3Settings) -> Objects:
    """A whole bucket as objects; boto3 is imported at the first call."""
    from flows.store.s3 import S3Objects

    return S3Objects(bucket, "", server)


def is_remote(text: str) -> bool:
    """Whether an input's entry names objects in S3."""
    return text.startswith(SCHEME)


def is_pattern(text: str) -> bool:
    """Whether it stands for several; ``[*]`` stands for a ``*`` in a key."""
    return glob.has_magic(text)


def is_allowed(bucket: str, key: str, allowed: Iterable[str]) -> bool:
    """Whether a key lies in one of these buckets, or below one of these ``bucket/prefix``."""
    places = (place.partition("/") for place in allowed)
    return any(b == bucket and (not p or key.startswith(f"{p}/")) for b, _, p in places)


def find_objects(
    text: str, settings: Settings, suffixes: Collection[str]
) -> tuple[list[S3Object], list[str]]:
    """The objects that ``s3://bucket/key`` or a pattern of keys means, in order of name.

    A pattern picks up names that end in one of ``suffixes`` and, as with files, no hidden ones;
    the keys of all else that it matches come second.

    Raises:
        RemoteError: not allowed, not there, too large or too many, or the server does not tell.
    """
    bucket, key = _parts(text)
    fixed = key[: re.search(r"[*?[]|\Z", key).start()]  # type: ignore[union-attr]
    _check_allowed(text, bucket, fixed, settings)
    objects = open_bucket(bucket, settings.s3)
    passed: list[str] = []
    try:
        if is_pattern(key):
            found = [e for e in _listed(objects, text, fixed) if _is_meant(e, key)]
            entries = [e for e in found if PurePosixPath(e.name).suffix.lower() in suffixes]
            passed = sorted({e.name for e in found} - {e.name for e in entries})
        else:
            entries = [_one(objects, text, key)]
    except StoreError as error:
        raise RemoteError(_failed(text, error)) from None
    for entry in entries:
        _check_size(f"{SCHEME}{bucket}/{entry.name}", entry.size, settings)
    entries.sort(key=lambda entry: (entry.name.rpartition("/")[2], entry.name))
    return [S3Object(bucket, e.name, e.version, e.size, settings) for e in entries], passed


def read_all(sources: Iterable[S3Object]) -> tuple[dict[S3Object, Seen], dict[S3Object, str]]:
    """What is to be seen in each object, and why it could not be read for those that could not.

    What this machine has read before is not read again. Once a server has been waited for in vain,
    the objects that are left are asked for once each: thousands of them would wait for days.
    """
    seen: dict[S3Object, Seen] = {}
    missing: list[S3Object] = []
    for source in dict.fromkeys(sources):
        if (known := ContentCache.of(source).known(source)) is not None:
            seen[source] = known
        else:
            missing.append(source)
    failures: dict[S3Object, str] = {}
    if missing:
        from concurrent.futures import ThreadPoolExecutor

        read = functools.partial(_read, away=threading.Event())
        with ThreadPoolExecutor(READERS, thread_name_prefix="read-input") as pool:
            for source, found in zip(missing, pool.map(read, missing), strict=True):
                if isinstance(found, Seen):
                    seen[source] = found
                else:
                    failures[source] = found
        ContentCache.of(missing[0]).trim()
    return seen, failures


def read_planned(source: S3Object, sha256: str) -> bytes:
    """The bytes that a step was planned with, or what the object holds now.

    While its server does not answer, what this machine has read before will do: its digest is the
    planned one.

    Raises:
        RemoteError: gone, grown too large, or not to be had.
    """
    cache, server = ContentCache.of(source), source.settings.s3
    kept = cache.read(sha256)
    if kept is not None:  # then no outage is worth waiting for
        server = server.model_copy(update={"attempts": 2, "patience": 0.0})
    objects = open_bucket(source.bucket, server)
    try:
        now = objects.stat(source.key)
        if now is not None and now.version == source.version and kept is not None:
            return kept
        if now is not None:
            _check_size(source.address, now.size, source.settings)
        held = objects.get(source.key) if now is not None else None
    except StoreError as error:
        if kept is not None:
            return kept
        raise RemoteError(f"cannot be read ({masked(str(error))})") from None
    if held is None:
        raise RemoteError("the object is gone; put it back, then run again")
    if hashlib.sha256(held.data).hexdigest() == sha256:
        cache.add(source, held.data)
        cache.trim()
    return held.data


def _read(source: S3Object, away: threading.Event) -> Seen | str:
    """What is to be seen in one object, or why there is nothing; ``away``: waited for in vain."""
    server, began = source.settings.s3, time.monotonic()
    if away.is_set():
        server = server.model_copy(update={"attempts": 1, "patience": 0.0})
    try:
        held = open_bucket(source.bucket, server).get(source.key)
    except StoreError as error:
        # What is refused at once (no such right) says nothing about the others.
        if time.monotonic() - began >= source.settings.s3.patience:
            away.set()
        return _failed(source.address, error)
    if held is None or held.version != source.version:
        text = "changed while it was being read; expected it to stay as it is; try again"
        return f"'{source.address}' {text}"
    return ContentCache.of(source).add(source, held.data)


def _parts(text: str) -> tuple[str, str]:
    bucket, _, key = text.removeprefix(SCHEME).partition("/")
    if set(bucket) & set("@:?#"):  # a password with a slash in it ends before its @
        raise RemoteError(
            "this address holds more than a bucket and a key; expected s3://bucket/key; "
            "credentials belong into the environment, a profile or a role"
        )
    try:
        parse_address(f"{SCHEME}{bucket}")
    except AddressError as error:
        raise RemoteError(f"{error}; mend the address") from None
    if not key or key.endswith("/"):
        every = f"{text.rstrip('/')}/*"
        raise RemoteError(
            f"'{text}' is a folder; expected a picture; write '{every}' for all in it"
        )
    try:
        checked(key)
    except ValueError:
        raise RemoteError(
            f"'{text[:80]}' is no address of an object; expected s3://bucket/key without '.', '..' "
            "or empty parts; mend it"
        ) from None
    return bucket, key


def _check_allowed(text: str, bucket: str, fixed: str, settings: Settings) -> None:
    if "s3" not in settings.inputs.schemes:
        raise RemoteError(
            f"'{SCHEME}' is not among inputs.schemes; expected a file; download it first or allow "
            "it in kontext.toml"
        )
    own = settings.store.removeprefix(SCHEME).partition("/")[0] if is_remote(settings.store) else ""
    allowed = [*filter(None, [own]), *settings.inputs.buckets]
    if is_allowed(bucket, fixed, allowed):
        return
    listed = ", ".join(f"'{name}'" for name in dict.fromkeys(allowed)) or "none yet"
    raise RemoteError(
        f"'{text[:80]}' lies where recipes may not read; expected the store's bucket or one of "
        f"inputs.buckets ({listed}); add '{bucket}' there if this recipe is to be trusted with it"
    )


def _one(objects: Objects, text: str, key: str) -> Entry:
    if (entry := objects.stat(key)) is not None:
        return entry
    folder = key[: key.rfind("/") + 1]
    siblings = [f"{SCHEME}{text.removeprefix(SCHEME).partition('/')[0]}/{entry.name}"
                for entry in itertools.islice(objects.list(folder), 1000)]  # fmt: skip
    hint = did_you_mean(text, siblings)
    raise RemoteError(
        f"no object '{text}': {hint}"
        if hint
        else f"no object '{text}'; expected a picture; check the address"
    )


def _listed(objects: Objects, text: str, fixed: str) -> Iterator[Entry]:
    # A beginning that ends in a lone dot is no name; its folder is.
    whole = fixed if fixed.rpartition("/")[2] not in {".", ".."} else fixed[: fixed.rfind("/") + 1]
    for count, entry in enumerate(objects.list(whole)):
        if count == MAX_LISTED:
            raise RemoteError(
                f"'{text}' has more than {MAX_LISTED} objects to look through; expected fewer; "
                "write more of the key before the first '*'"
            )
        yield entry


def _is_meant(entry: Entry, pattern: str) -> bool:
    try:
        checked(entry.name)  # an object whose name no recipe could write is passed over
    except ValueError:
        return False
    return matches(pattern, entry.name)


def matches(pattern: str, key: str) -> bool:
    """Whether a key matches as a path would: ``*`` stays within a part, ``**`` spans parts.

    Wildcards match no part that begins with a dot, unless the pattern says the dot.
    """
    parts = pattern.split("/")
    states = _reached(parts, {0})
    for part in key.split("/"):
        after: set[int] = set()
        for state in states:
            if state == len(parts):
                continue
            wanted = parts[state]
            if part.startswith(".") and not wanted.startswith("."):
                continue
            if wanted == "**":
                after.add(state)
            elif fnmatch.fnmatchcase(part, wanted):
                after.add(state + 1)
        states = _reached(parts, after)
    return len(parts) in states


def _reached(parts: list[str], states: set[int]) -> set[int]:
    """With the states behind each ``**``, which may also stand for no part at all."""
    found = set(states)
    for state in sorted(states):
        after = state
        while after < len(parts) and parts[after] == "**":
            after += 1
            found.add(after)
    return found


def _check_size(address: str, size: int, settings: Settings) -> None:
    limit = settings.inputs.max_bytes
    if size > limit:
        raise RemoteError(
            f"'{address}' has {size:,} bytes; expected at most {limit:,} (inputs.max_bytes); "
            "scale it down or raise the limit"
        )


def _failed(address: str, error: StoreError) -> str:
    return (
        f"'{address}' cannot be read ({masked(str(error))}); expected a picture; check the server"
    )
