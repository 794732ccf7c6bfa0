"""What a server can do, found out by trying; once per process and bucket.

Some servers ignore ``If-None-Match`` and say nothing. Others look whether the name is new and only
then write, so that several writers at once all hear that they made it, while one after the other
are told the truth. (SeaweedFS 4.16 does so with a PUT, 4.48 still when a multipart upload is
completed.) So rivals are let loose on one name.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
from collections.abc import Callable, Container, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from enum import Enum
from typing import Any

from flows.store.base import StoreUnfit
from flows.store.boto import connection
from flows.store.s3_errors import REMOVING, WRITING, Refused
from flows.store.s3_place import Place
from flows.store.s3_retry import attempt
from flows.store.s3_write import WRITER, kept_as, send_part, write

PATIENCE = 20.0  # seconds: enough for a quick restart, while somebody waits to hear of a mistake
RIVALS = 8
PUT_RACES = 2
PART_RACES = 4  # of 40 races of 8 on SeaweedFS 4.48, 32 had several winners

log = logging.getLogger(__name__)

New = Callable[[], dict[str, Any]]  # a name that nobody uses, as requests want it


class Guard(Enum):
    """What a server makes of the condition "only if the name is new"."""

    KEPT = "kept"
    IGNORED = "ignores the condition of a write (If-None-Match)"
    RACY = "lets several writers at once pass the condition of a write (If-None-Match)"
    UNMARKED = "does not keep the metadata of an object"
    NO_PARTS = "has no multipart upload"


WORKING = frozenset({Guard.KEPT, Guard.IGNORED, Guard.RACY})  # parts do, whatever of conditions

_puts: dict[Hashable, Guard] = {}
_parts: dict[Hashable, Guard] = {}
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


def goes_in_parts(place: Place, data: bytes, fit: Container[Guard] = WORKING) -> bool:
    """Whether data go up in parts: too large for one, and the server does ``fit`` things."""
    if len(data) <= place.settings.part_size:
        return False
    server = _server(place)
    if server not in _parts:
        _parts[server] = _on_new_names(place, _try_parts)
        log.info("%s: multipart there: %s", place.url, _parts[server].value)
    return _parts[server] in fit


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


def _on_new_names(place: Place, trying: Callable[[Place, New], Guard]) -> Guard:
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
        guard = trying(place, new)
        doing = REMOVING
        remove()
    except Refused as refused:
        if doing is WRITING:
            with contextlib.suppress(Refused):
                remove(0)
        raise place.explained(refused, doing) from None
    return guard


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


def _try_parts(place: Place, new: New) -> Guard:
    taken = new()
    try:
        if not _completed(place, _begun(place, taken)):
            return Guard.NO_PARTS
        if _completed(place, _begun(place, taken)):
            return Guard.IGNORED
        for _ in range(PART_RACES):
            contested = new()
            begun = [_begun(place, contested) for _ in range(RIVALS)]
            if race(lambda _, rest=begun: _completed(place, rest.pop())) > 1:  # type: ignore[misc]
                return Guard.RACY
    except Refused as refused:
        if refused.trouble.unknown:
            return Guard.NO_PARTS
        raise
    return Guard.KEPT


def _begun(place: Place, target: dict[str, Any]) -> dict[str, Any]:
    """An upload of one small part, ready to be completed."""
    asked = {**target, **kept_as(place.settings)}
    answer = attempt(place.settings, lambda client: client.create_multipart_upload(**asked))
    upload = {**target, "UploadId": answer["UploadId"]}
    return {**upload, "MultipartUpload": {"Parts": [send_part(place.settings, upload, b"x", 1)]}}


def _completed(place: Place, begun: dict[str, Any]) -> bool:
    asked = {**begun, "IfNoneMatch": "*"}
    try:
        attempt(place.settings, lambda client: client.complete_multipart_upload(**asked))
    except Refused as refused:
        upload = {name: begun[name] for name in ("Bucket", "Key", "UploadId")}
        with contextlib.suppress(Refused):
            attempt(place.settings, lambda client: client.abort_multipart_upload(**upload))
        if refused.trouble.conflict:
            return False
        raise
    return True
