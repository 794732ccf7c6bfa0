"""Writing one object to S3, in one request or in parts; with or without "only if it is new"."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from flows.settings import S3Settings
from flows.store.s3_errors import CutAnswer, Refused
from flows.store.s3_retry import attempt
from flows.store.signed import put_object

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CompletedPartTypeDef

Answer = TypeVar("Answer", bound=Mapping[str, Any])

WRITER = "kontext-writer"  # the metadata that says whose write an object is of

_BY_SUFFIX = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "json": "application/json",
    "html": "text/html; charset=utf-8",
    # A browser shows plain text, and offers other kinds of YAML for download.
    "yaml": "text/plain; charset=utf-8",
    "yml": "text/plain; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that was begun and neither completed nor aborted.

    ``name`` as of an object; ``started`` in seconds since 1970, ``age`` in seconds, both by the
    server's clock.
    """

    name: str
    id: str
    started: float
    age: float


def type_of(name: str) -> str | None:
    """By the name's suffix; ``None`` for a name without a known one (a blob)."""
    return _BY_SUFFIX.get(name.rpartition("/")[2].rpartition(".")[2].lower())


def media_type(name: str, data: bytes) -> str:
    """By the name's suffix, or for a name without one by the first bytes."""
    known = type_of(name)
    if known:
        return known
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return "application/json" if data.startswith(b"{") else "application/octet-stream"


def told(answer: Answer, *names: str) -> Answer:
    """``answer`` if it tells all of this.

    Raises:
        CutAnswer: a server, or a proxy before it, lost what every such answer has.
    """
    if not all(answer.get(name) for name in names):
        raise CutAnswer
    return answer


def kept_as(settings: S3Settings) -> dict[str, Any]:
    """What every write asks for: encryption, storage class."""
    asked = {
        "ServerSideEncryption": settings.encryption,
        "SSEKMSKeyId": settings.kms_key,
        "StorageClass": settings.storage_class,
    }
    return {name: value for name, value in asked.items() if value is not None}


def write(
    settings: S3Settings,
    target: dict[str, Any],
    data: bytes,
    writer: str,
    *,
    only_new: bool = False,
    in_parts: bool = False,
) -> None:
    """Write an object whole, marked as ``writer``'s; nothing of a failed write can be seen.

    ``target`` has its ``Bucket`` and ``Key``. ``only_new``: unless the name is taken; never in
    parts, since servers are not to be trusted with that.

    Raises:
        Refused: with ``trouble.conflict`` where the name is taken, or another request for it was
            under way, or a try whose answer was lost has done the work: look at its writer.
    """
    kept: dict[str, Any] = {
        "ContentType": media_type(target["Key"], data),
        "Metadata": {WRITER: writer},
        **kept_as(settings),
    }
    if in_parts:
        _write_parts(settings, target, data, kept)
        return
    condition: dict[str, Any] = {"IfNoneMatch": "*"} if only_new else {}
    whole = {**target, **kept, **condition, "Body": data, **sum_of(settings, data)}
    attempt(settings, lambda _: put_object(settings, whole))


def _write_parts(
    settings: S3Settings, target: dict[str, Any], data: bytes, kept: dict[str, Any]
) -> None:
    begun = attempt(
        settings, lambda client: told(client.create_multipart_upload(**target, **kept), "UploadId")
    )
    target = {**target, "UploadId": begun["UploadId"]}
    try:
        parts = list(_send_parts(settings, target, data))
        attempt(settings, lambda client: _complete(client, target, parts))
    except BaseException:
        # Not for long: what stays behind is found by `abandoned`, and costs only space.
        with contextlib.suppress(Refused):
            attempt(settings, lambda client: client.abort_multipart_upload(**target), patience=0)
        raise


def _complete(client: Any, target: dict[str, Any], parts: list[CompletedPartTypeDef]) -> None:
    answer = client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
    told(answer, "ETag")  # the server answers 200 before it has done the work


def _send_parts(
    settings: S3Settings, target: dict[str, Any], data: bytes
) -> Iterator[CompletedPartTypeDef]:
    view = memoryview(data)
    for number, start in enumerate(range(0, len(data), settings.part_size), start=1):
        yield _send_part(settings, target, bytes(view[start : start + settings.part_size]), number)


def _send_part(
    settings: S3Settings, target: dict[str, Any], body: bytes, number: int
) -> CompletedPartTypeDef:
    """Send one part; what completing the upload must tell of it."""
    given: dict[str, Any] = {"Body": body, "PartNumber": number, **sum_of(settings, body)}
    answer = attempt(settings, lambda client: told(client.upload_part(**target, **given), "ETag"))
    part: Any = {"PartNumber": number, "ETag": answer["ETag"]}
    part.update((name, value) for name, value in answer.items() if name.startswith("Checksum"))
    part.pop("ChecksumType", None)
    return part  # type: ignore[no-any-return]


def sum_of(settings: S3Settings, body: bytes) -> dict[str, str]:
    """Without boto3's checksums, S3's oldest one, which every server knows."""
    if settings.checksums == "when_supported":
        return {}
    digest = hashlib.md5(body, usedforsecurity=False).digest()
    return {"ContentMD5": base64.b64encode(digest).decode()}


def seconds_of(moment: datetime) -> float:
    """Whole seconds: a HEAD tells no more, a listing may."""
    return float(int(moment.timestamp()))
