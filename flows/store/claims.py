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
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from flows.store.base import StoreError, StoreReadOnly
from flows.store.lock import POLL, HomeClock, Say, passing_seconds, silent, wait_for_collector
from flows.store.objects import Objects
from flows.store.record import Digest

FOLDER = "claims/"
RENEWED_EVERY = 60.0  # seconds
ALIVE_FOR = 5 * RENEWED_EVERY  # for people: a run whose claim is older is not running any more
ASLEEP = 3600.0  # seconds without renewal after which a clean-up may have taken keys


@dataclass(frozen=True, slots=True)
class Claim:
    """What one run needs. ``renewed`` is by the home's clock, ``name`` the object's."""

    name: str
    run: str
    plan: str
    keys: frozenset[str]
    renewed: float
    version: str


class _Body(BaseModel):
    """What a claim's object says."""

    kind: Literal["kontext.claim"] = Field("kontext.claim", alias="schema")
    run: str
    plan: str
    keys: list[Digest]


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
    body = {"schema": "kontext.claim", "run": run, "plan": plan, "keys": sorted(keys)}
    data = json.dumps(body).encode("ascii")
    try:
        objects.create(name, data)
    except StoreReadOnly:
        yield
        return
    stop = threading.Event()
    renewal = threading.Thread(
        target=_renew, args=(objects, name, data, every, say, stop), name="claim", daemon=True
    )
    try:
        clock = HomeClock.of(objects, name)
        if clock is None:
            raise StoreError(f"{objects.where}: what was just written is not there; run again")
        renewal.start()
        wait_for_collector(objects, clock, say, poll=poll)
        yield
    finally:
        stop.set()
        if renewal.is_alive():
            renewal.join()  # nothing is written any more from here on
        with contextlib.suppress(StoreError):  # it expires
            objects.remove(name)


def _renew(
    objects: Objects, name: str, data: bytes, every: float, say: Say, stop: threading.Event
) -> None:
    """Keep a claim young until it is to stop."""
    renewed, pause = passing_seconds(), every
    while not stop.wait(pause):
        pause = every / 4  # after a failure it is tried again sooner
        with contextlib.suppress(StoreError):
            if not objects.touch(name):
                objects.replace(name, data)
            gap = passing_seconds() - renewed
            renewed, pause = passing_seconds(), every
            if gap > max(ASLEEP, 3 * every):
                say(
                    f"{objects.where}: this run could not say for {gap / 3600:.1f} h that it "
                    "lives; if a clean-up ran meanwhile, run again when it ends: whatever went "
                    "is made again"
                )


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
            body = _Body.model_validate_json(held.data, strict=True)
        except ValidationError:
            unreadable.append((entry.name, entry.modified, entry.version))
        else:
            keys = frozenset(body.keys)
            claims.append(
                Claim(entry.name, body.run, body.plan, keys, entry.modified, entry.version)
            )
    return claims, unreadable
