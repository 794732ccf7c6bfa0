"""What a server can do, found out by trying; once per process and bucket.

Some servers ignore ``If-None-Match`` and say nothing. Others look whether the name is new and only
then write, so that several writers at once all hear that they made it, while one after the other
are told the truth. (SeaweedFS 4.16 does so with a PUT.) So rivals are let loose on one name.

That an upload in parts keeps the condition is never relied on: SeaweedFS 4.48 lets several writers
complete one name, and on a busy machine 12 races of 8 did not show it. What is created goes up in
one PUT, whatever its size; parts are for what is replaced.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from enum import Enum
from typing import Any, TypeVar

from flows.store.base import StoreUnfit
from flows.store.boto import connection
from flows.store.s3_errors import REMOVING, WRITING, Refused
from flows.store.s3_place import Place
from flows.store.s3_retry import attempt
from flows.store.s3_write import WRITER, write

PATIENCE = 20.0  # seconds: enough for a quick restart, while somebody waits to hear of a mistake
RIVALS = 8
PUT_RACES = 2

log = logging.getLogger(__name__)

Shown = TypeVar("Shown")
New = Callable[[], dict[str, Any]]  # a name that nobody uses, as requests want it


class Guard(Enum):
    """What a server makes of the condition "only if the name is new"."""

    KEPT = "kept"
    IGNORED = "ignores the condition of a write (If-None-Match)"
    RACY = "lets several writers at once pass the condition of a write (If-None-Match)"
    UNMARKED = "does not keep the metadata of an object"


_puts: dict[Hashable, Guard] = {}
_parts: dict[Hashable, bool] = {}
_warned: set[Hashable] = set()


def find_out(place: Place, *, hasty: bool = False) -> None:
    """Try how a PUT fares there, anew.

    Raises:
        StoreUnfit: not well enough, and the place's settings do not say "degrade".
        StoreError: it cannot be tried.
    """
    trying = place
    if hasty:
        patience = min(place.settings.patience, PATIENCE)
        update = {"attempts": 1, "patience": patience}
        trying = replace(place, settings=place.settings.model_copy(update=update))
    _puts[_server(place)] = _on_new_names(trying, _try_puts)
    is_guarded(place)


def is_guarded(place: Place) -> bool:
    """Whether one writer only creates a name; tried by whoever did not prepare.

    Raises:
        StoreUnfit, StoreError: as ``find_out``.
    """
    if _server(place) not in _puts:
        find_out(place)
    guard = _puts[_server(place)]
    if guard is not Guard.KEPT:
        _refuse_or_warn(place, guard)
    return guard is Guard.KEPT


def goes_in_parts(place: Place, data: bytes) -> bool:
    """Whether data go up in parts: too large for one, and the server knows such uploads."""
    if len(data) <= place.settings.part_size:
        return False
    server = _server(place)
    if server not in _parts:
        _parts[server] = _on_new_names(place, _try_parts)
        log.info("%s: multipart there: %s", place.url, _parts[server])
    return _parts[server]


def race(run: Callable[[str], bool], rivals: int = RIVALS) -> int:
    """How many of so many, let loose at one moment, say that they were first."""
    start = threading.Barrier(rivals)

    def rival(number: int) -> bool:
        start.wait()
        return run(f"rival {number}")

    with ThreadPoolExecutor(rivals) as pool:
        return sum(pool.map(rival, range(rivals)))


def _server(place: Place) -> Hashable:
    return place.bucket, connection(place.settings)


def _refuse_or_warn(place: Place, guard: Guard) -> None:
    what = f"{place.url}: this server {guard.value}, so "
    if guard is Guard.UNMARKED:
        raise StoreUnfit(f"{what}nobody could tell whose one is; use another server")
    what += "two runs could overwrite each other's results"
    if place.settings.unconditional == "refuse":
        raise StoreUnfit(
            f"{what}; use another server, or set s3.unconditional: degrade "
            "(KONTEXT_S3__UNCONDITIONAL) where only one run at a time writes there"
        )
    if _server(place) not in _warned:
        _warned.add(_server(place))
        log.warning("%s; going on as s3.unconditional says: degrade", what)


def _on_new_names(place: Place, trying: Callable[[Place, New], Shown]) -> Shown:
    """What trying shows; the names that it used are removed.

    Raises:
        StoreError: not even writing and removing works: no right, no bucket, no server.
    """
    used: list[dict[str, Any]] = []
    doing = WRITING

    def new() -> dict[str, Any]:
        used.append(place.target(f"tmp/probe-{uuid.uuid4().hex}"))
        return used[-1]

    def remove(patience: float | None = None) -> None:
        for target in used:
            attempt(place.settings, lambda client: client.delete_object(**target), patience)  # noqa: B023

    try:
        shown = trying(place, new)
        doing = REMOVING
        remove()
    except Refused as refused:
        if doing is WRITING:
            with contextlib.suppress(Refused):
                remove(0)
        raise place.explained(refused, doing) from None
    return shown


def _try_puts(place: Place, new: New) -> Guard:
    target = new()
    ignored = not (_created(place, target, "first") and not _created(place, target, "second"))
    head = attempt(place.settings, lambda client: client.head_object(**target))
    if head["Metadata"].get(WRITER) not in {"first", "second"}:
        return Guard.UNMARKED
    if ignored:
        return Guard.IGNORED
    for _ in range(PUT_RACES):
        contested = new()
        if race(lambda mark, at=contested: _created(place, at, mark)) > 1:  # type: ignore[misc]
            return Guard.RACY
    return Guard.KEPT


def _created(place: Place, target: dict[str, Any], mark: str) -> bool:
    try:
        write(place.settings, target, mark.encode(), mark, only_new=True)
    except Refused as refused:
        if refused.trouble.conflict:
            return refused.doubtful and mark == "first"  # its own: the name was nobody's
        if not refused.trouble.unknown:
            raise
        write(place.settings, target, mark.encode(), mark)  # without the condition
    return True


def _try_parts(place: Place, new: New) -> bool:
    """Whether an upload of one small part goes through."""
    target = new()
    try:
        write(place.settings, target, b"x", "probe", in_parts=True)
    except Refused as refused:
        if refused.trouble.unknown:
            return False
        raise
    return True
