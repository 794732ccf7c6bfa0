"""What a server can do, found out by trying: some ignore ``If-None-Match`` and say nothing."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass
from typing import Any

from flows.settings import S3Settings
from flows.store.s3_errors import REMOVING, WRITING, Doing, Refused
from flows.store.s3_retry import attempt
from flows.store.s3_write import WRITER, send_part, write

PATIENCE = 20.0  # seconds: enough for a quick restart


@dataclass(frozen=True, slots=True)
class Abilities:
    """``conditional``: a PUT can be made to leave a taken name alone. ``parts``: a multipart
    upload works, and respects a condition if a PUT does. ``marks``: metadata are kept.
    """

    conditional: bool
    parts: bool
    marks: bool


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


def probe(settings: S3Settings, bucket: str, folder: str) -> Abilities:
    """Try under a new name in ``folder`` (a key prefix, "" or ending in a slash).

    Raises:
        Failed: not even writing and removing works.
    """
    key = f"{folder}tmp/probe-{uuid.uuid4().hex}"
    target: dict[str, Any] = {"Bucket": bucket, "Key": key}
    try:
        conditional = _put_is_conditional(settings, target)
        marks = _marks(settings, target) in {"first", "second"}
        parts = _parts_work(settings, target, conditional=conditional)
    except Refused as refused:
        with contextlib.suppress(Refused):
            attempt(settings, lambda client: client.delete_object(**target), patience=0)
        raise Failed(refused, WRITING) from None
    try:
        attempt(settings, lambda client: client.delete_object(**target))
    except Refused as refused:
        raise Failed(refused, REMOVING) from None
    return Abilities(conditional, parts, marks)


def _put_is_conditional(settings: S3Settings, target: dict[str, Any]) -> bool:
    try:
        write(settings, target, b"first", "first", only_new=True)
    except Refused as refused:
        if refused.trouble.unknown:
            write(settings, target, b"first", "first")
            return False
        if not (refused.trouble.conflict and refused.doubtful):  # an answer that was lost
            raise
    try:
        write(settings, target, b"second", "second", only_new=True)
    except Refused as refused:
        if refused.trouble.conflict:
            return True
        raise
    return False


def _marks(settings: S3Settings, target: dict[str, Any]) -> str:
    answer = attempt(settings, lambda client: client.head_object(**target))
    return str(answer["Metadata"].get(WRITER, ""))


def _parts_work(settings: S3Settings, target: dict[str, Any], *, conditional: bool) -> bool:
    """Whether completing an upload onto a name that is taken is refused as a PUT would be."""
    begun: dict[str, Any] | None = None
    try:
        answer = attempt(settings, lambda client: client.create_multipart_upload(**target))
        begun = {**target, "UploadId": answer["UploadId"]}
        part = send_part(settings, begun, b"third", 1)
        done = {**begun, "MultipartUpload": {"Parts": [part]}}
        if conditional:
            done["IfNoneMatch"] = "*"
        attempt(settings, lambda client: client.complete_multipart_upload(**done))
    except Refused as refused:
        if begun is not None:
            aborted = begun
            with contextlib.suppress(Refused):
                attempt(settings, lambda client: client.abort_multipart_upload(**aborted))
        if refused.trouble.passing:
            raise
        return conditional and refused.trouble.conflict and begun is not None
    return not conditional
