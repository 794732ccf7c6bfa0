"""What a server can do, found out by trying: some ignore ``If-None-Match`` and say nothing.

Others look whether the name is new and only then write, so that several writers at once all hear
that they made it, while one after the other are told the truth. (SeaweedFS 4.16 does so with a
PUT, 4.48 still when a multipart upload is completed.) So rivals are let loose on one name.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Any

from flows.settings import S3Settings
from flows.store.s3_errors import REMOVING, WRITING, Doing, Refused
from flows.store.s3_retry import attempt
from flows.store.s3_write import WRITER, kept_as, send_part, write

PATIENCE = 20.0  # seconds: enough for a quick restart
RIVALS = 8
PUT_RACES = 2
PART_RACES = 4  # of 40 races of 8 on SeaweedFS 4.48, 32 had several winners


class Guard(Enum):
    """What a server makes of the condition "only if the name is new"."""

    KEPT = "kept"
    IGNORED = "ignores the condition of a write (If-None-Match)"
    RACY = "lets several writers at once pass the condition of a write (If-None-Match)"
    UNMARKED = "does not keep the metadata of an object"
    NO_PARTS = "has no multipart upload"


class Failed(Exception):  # noqa: N818
    """Trying came to an end that says nothing about abilities: no right, no bucket, no server."""

    def __init__(self, refused: Refused, doing: Doing) -> None:
        super().__init__(refused.trouble.code)
        self.refused = refused
        self.doing = doing


def hasty(settings: S3Settings) -> S3Settings:
    """For trying while somebody waits to hear of a wrong address."""
    patience = min(settings.patience, PATIENCE)
    return settings.model_copy(update={"attempts": 1, "patience": patience})


def probe(settings: S3Settings, bucket: str, folder: str) -> Guard:
    """How a PUT fares under new names in ``folder`` (a key prefix, "" or ending in a slash).

    Raises:
        Failed: not even writing and removing works.
    """
    return _on_new_names(settings, bucket, folder, _try_puts)


def probe_parts(settings: S3Settings, bucket: str, folder: str) -> Guard:
    """How completing a multipart upload fares. ``Failed`` likewise."""
    return _on_new_names(settings, bucket, folder, _try_parts)


def _on_new_names(
    settings: S3Settings,
    bucket: str,
    folder: str,
    trying: Callable[[S3Settings, Callable[[], dict[str, Any]]], Guard],
) -> Guard:
    used: list[dict[str, Any]] = []

    def new() -> dict[str, Any]:
        used.append({"Bucket": bucket, "Key": f"{folder}tmp/probe-{uuid.uuid4().hex}"})
        return used[-1]

    def remove(target: dict[str, Any], patience: float | None = None) -> None:
        attempt(settings, lambda client: client.delete_object(**target), patience)

    try:
        guard = trying(settings, new)
    except Refused as refused:
        with contextlib.suppress(Refused):
            for target in used:
                remove(target, 0)
        raise Failed(refused, WRITING) from None
    try:
        for target in used:
            remove(target)
    except Refused as refused:
        raise Failed(refused, REMOVING) from None
    return guard


def _try_puts(settings: S3Settings, new: Callable[[], dict[str, Any]]) -> Guard:
    target = new()
    ignored = not (_created(settings, target, "first") and not _created(settings, target, "second"))
    head = attempt(settings, lambda client: client.head_object(**target))
    if head["Metadata"].get(WRITER) not in {"first", "second"}:
        return Guard.UNMARKED
    if ignored:
        return Guard.IGNORED
    for _ in range(PUT_RACES):
        contested = new()
        if race(lambda mark, at=contested: _created(settings, at, mark)) > 1:  # type: ignore[misc]
            return Guard.RACY
    return Guard.KEPT


def _created(settings: S3Settings, target: dict[str, Any], mark: str) -> bool:
    try:
        write(settings, target, mark.encode(), mark, only_new=True)
    except Refused as refused:
        if refused.trouble.conflict:
            return refused.doubtful and mark == "first"  # its own: the name was nobody's
        if not refused.trouble.unknown:
            raise
        write(settings, target, mark.encode(), mark)  # without the condition
    return True


def _try_parts(settings: S3Settings, new: Callable[[], dict[str, Any]]) -> Guard:
    taken = new()
    try:
        if not _completed(settings, _begun(settings, taken)):
            return Guard.NO_PARTS
        if _completed(settings, _begun(settings, taken)):
            return Guard.IGNORED
        for _ in range(PART_RACES):
            contested = new()
            begun = [_begun(settings, contested) for _ in range(RIVALS)]
            if race(lambda _, rest=begun: _completed(settings, rest.pop())) > 1:  # type: ignore[misc]
                return Guard.RACY
    except Refused as refused:
        if refused.trouble.unknown:
            return Guard.NO_PARTS
        raise
    return Guard.KEPT


def _begun(settings: S3Settings, target: dict[str, Any]) -> dict[str, Any]:
    """An upload of one small part, ready to be completed."""
    asked = {**target, **kept_as(settings)}
    answer = attempt(settings, lambda client: client.create_multipart_upload(**asked))
    upload = {**target, "UploadId": answer["UploadId"]}
    return {**upload, "MultipartUpload": {"Parts": [send_part(settings, upload, b"x", 1)]}}


def _completed(settings: S3Settings, begun: dict[str, Any]) -> bool:
    asked = {**begun, "IfNoneMatch": "*"}
    try:
        attempt(settings, lambda client: client.complete_multipart_upload(**asked))
    except Refused as refused:
        upload = {name: begun[name] for name in ("Bucket", "Key", "UploadId")}
        with contextlib.suppress(Refused):
            attempt(settings, lambda client: client.abort_multipart_upload(**upload))
        if refused.trouble.conflict:
            return False
        raise
    return True


def race(run: Callable[[str], bool], rivals: int = RIVALS) -> int:
    """How many of so many, let loose at one moment, say that they were first."""
    start = threading.Barrier(rivals)

    def rival(number: int) -> bool:
        start.wait()
        return run(f"rival {number}")

    with ThreadPoolExecutor(rivals) as pool:
        return sum(pool.map(rival, range(rivals)))
