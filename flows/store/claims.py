"""Claims: a run says which keys it needs before it looks anything up.

A run writes its claim and *then* looks at ``gc.lock``; a clean-up takes ``gc.lock`` and *then*
reads the claims. Whatever the interleaving, either the clean-up sees the claim, or the run sees
the lock and waits. ``flows/gc/sweep.py`` has the whole argument.

A claim is ``claims/<run>-<hex>.json``: ``{"schema", "run", "plan", "keys"}``. It is renewed by
touching it, so its age by the home's own clock tells whether its run lives.
"""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from flows.store.base import StoreError, StoreReadOnly
from flows.store.lock import POLL, HomeClock, Say, passing_seconds, silent, wait_for_collector
from flows.store.objects import Objects
from flows.store.record import is_digest

FOLDER = "claims/"
RENEWED_EVERY = 60.0  # seconds
ALIVE_FOR = 5 * RENEWED_EVERY  # for people: a run whose claim is older is not running any more
ASLEEP = 3600.0  # seconds without renewal after which a clean-up may have taken keys
_SCHEMA = "kontext.claim"


@dataclass(frozen=True, slots=True)
class Claim:
    """What one run needs. ``renewed`` is by the home's clock, ``name`` the object's."""

    name: str
    run: str
    plan: str
    keys: frozenset[str]
    renewed: float
    version: str


class ClaimError(ValueError):
    """These bytes are not a claim that can be trusted."""


@contextlib.contextmanager
def claim(
    objects: Objects,
    *,
    run: str,
    plan: str,
    keys: Collection[str],
    say: Say = silent,
    every: float = RENEWED_EVERY,
    poll: float = POLL,
) -> Iterator[None]:
    """Hold a claim on ``keys``: enter before the first look-up, leave once the manifest is there.

    Digests of blobs that no record names (source pictures) may be among ``keys``.

    Waits, telling so through ``say``, while a clean-up is under way. Renewed by a thread; removed
    at the end, whatever the end is; after a SIGKILL it expires. In a home that cannot be written
    there is no claim, and nothing fails.

    Raises:
        StoreError: the home fails.
    """
    name = f"{FOLDER}{run}-{uuid.uuid4().hex[:12]}.json"
    body = {"schema": _SCHEMA, "run": run, "plan": plan, "keys": sorted(keys)}
    data = json.dumps(body).encode("ascii")
    if not _announce(objects, name, data):
        yield
        return
    renewal = _Renewal(objects, name, data, every, say)
    try:
        clock = HomeClock.of(objects, name)
        if clock is None:
            raise StoreError(f"{objects.where}: what was just written is not there; run again")
        renewal.start()
        wait_for_collector(objects, clock, say, poll=poll)
        yield
    finally:
        renewal.stop()
        with contextlib.suppress(StoreError):  # it expires
            objects.remove(name)


def _announce(objects: Objects, name: str, data: bytes) -> bool:
    try:
        return objects.create(name, data)
    except StoreReadOnly:
        return False


class _Renewal:
    """A thread that keeps a claim young until it is stopped."""

    def __init__(self, objects: Objects, name: str, data: bytes, every: float, say: Say) -> None:
        self._objects = objects
        self._name = name
        self._data = data
        self._every = every
        self._say = say
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="claim", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; the object is not written any more once this returns."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        renewed, pause = passing_seconds(), self._every
        while not self._stop.wait(pause):
            pause = self._every / 4  # after a failure it is tried again sooner
            with contextlib.suppress(StoreError):
                if not self._objects.touch(self._name):
                    self._objects.replace(self._name, self._data)
                gap = passing_seconds() - renewed
                renewed, pause = passing_seconds(), self._every
                if gap > max(ASLEEP, 3 * self._every):
                    self._say(
                        f"{self._objects.where}: this run could not say for {gap / 3600:.1f} h "
                        "that it lives; if a clean-up ran meanwhile, run again when it ends: "
                        "whatever went is made again"
                    )


def decode_claim(name: str, data: bytes, renewed: float, version: str) -> Claim:
    """The claim in ``data``.

    Raises:
        ClaimError: it is none.
    """
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise ClaimError(f"{name}: is not JSON") from None
    if not isinstance(body, dict) or body.get("schema") != _SCHEMA:
        raise ClaimError(f"{name}: is not a {_SCHEMA}")
    run, plan, keys = body.get("run"), body.get("plan"), body.get("keys")
    if not isinstance(run, str) or not isinstance(plan, str) or not isinstance(keys, list):
        raise ClaimError(f"{name}: has a wrong run, plan or keys")
    if not all(map(is_digest, keys)):
        raise ClaimError(f"{name}: names a key that is no SHA-256")
    return Claim(name, run, plan, frozenset(keys), renewed, version)


def read_claims(objects: Objects) -> tuple[list[Claim], list[tuple[str, float, str]]]:
    """All claims; and name, age mark and version of each that cannot be read.

    One that goes while it is read is left out: its run has written its manifest by then.
    """
    claims: list[Claim] = []
    unreadable: list[tuple[str, float, str]] = []
    for entry in objects.list(FOLDER):
        held = objects.get(entry.name)
        if held is None:
            continue
        try:
            claims.append(decode_claim(entry.name, held.data, entry.modified, entry.version))
        except ClaimError:
            unreadable.append((entry.name, entry.modified, entry.version))
    return claims, unreadable
