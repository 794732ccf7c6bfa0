"""A record: the proof that a step is done, and where its picture came from.

On disk it is one JSON object: ``{"schema", "version", "checksum", "record"}``; the checksum is the
SHA-256 of the canonical JSON of ``record``, so a torn or edited file never counts as done.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar, Protocol, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

SCHEMA = "kontext.record"
VERSION = 1

_DIGEST = re.compile(r"[0-9a-f]{64}")


Digest = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]


class RecordError(ValueError):
    """These bytes are not a record that can be trusted; the message says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """What was made for one key, of what, by what, and how long it took.

    ``blob`` is the SHA-256 of the picture's bytes and their name in the store, ``size`` their
    number. ``sources`` are SHA-256 digests of input files, ``parents`` keys of other steps.
    ``seconds`` is engine time; ``created`` is UTC in ISO 8601. It holds no path and no host.
    """

    __pydantic_config__: ClassVar = ConfigDict(strict=True, extra="forbid", defer_build=True)

    key: Digest
    blob: Digest
    size: int
    media_type: str
    width: int
    height: int
    step: str
    label: str
    operation: str
    params: Mapping[str, Any]
    model: str
    model_digest: str
    numerics: Mapping[str, Any]
    parents: tuple[str, ...]
    sources: tuple[str, ...]
    geometry: Mapping[str, Any]
    notes: tuple[str, ...]
    seconds: float
    created: str
    software: str
    attempts: int = 1


_RECORD = TypeAdapter(Record)


def is_digest(text: object) -> bool:
    """Whether this is a SHA-256 in lower-case hex: the only names the store accepts."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def canonical_json(value: object) -> bytes:
    """One spelling per value: sorted keys, no spaces, ASCII, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def encode_record(record: Record) -> bytes:
    """The bytes of a record; ``decode_record`` reads them back."""
    body = asdict(record)
    checksum = hashlib.sha256(canonical_json(body)).hexdigest()
    whole = {"schema": SCHEMA, "version": VERSION, "checksum": checksum, "record": body}
    return json.dumps(whole, sort_keys=True, indent=1, allow_nan=False).encode("ascii") + b"\n"


def decode_record(data: bytes, key: str) -> Record:
    """The record in ``data``, which is stored under ``key``.

    Raises:
        RecordError: not JSON, another schema, a wrong checksum, missing or wrongly typed fields,
            or the record of another key.
    """
    whole = opened(data, SCHEMA, VERSION)
    body = whole.get("record")
    if not isinstance(body, dict) or _checksum(body) != whole.get("checksum"):
        raise RecordError("does not match its own checksum")
    return _lean(checked_fields(_RECORD, body, key))


def _lean(record: Record) -> Record:
    """The same, what it has in common with others held once: a run's end holds all of them."""
    return replace(
        record,
        media_type=sys.intern(record.media_type),
        step=sys.intern(record.step),
        operation=sys.intern(record.operation),
        model=sys.intern(record.model),
        model_digest=sys.intern(record.model_digest),
        numerics=_one(canonical_json(record.numerics)),
        geometry=_one(canonical_json(record.geometry)),
        created=sys.intern(record.created),
        software=sys.intern(record.software),
    )


@functools.lru_cache(maxsize=1024)
def _one(text: bytes) -> Mapping[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def opened(data: bytes, schema: str, version: int) -> dict[str, Any]:
    """What a record of this schema and version says, its fields not yet looked at.

    Raises:
        RecordError: it is none.
    """
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError):
        raise RecordError("is not JSON") from None
    if not isinstance(whole, dict) or whole.get("schema") != schema:
        raise RecordError(f"is not a {schema}")
    if whole.get("version") != version:
        raise RecordError(f"has version {whole.get('version')!r}, expected {version}")
    return whole


class Keyed(Protocol):
    """A record of some kind: it names its key."""

    @property
    def key(self) -> str:
        """What it is stored under."""


K = TypeVar("K", bound=Keyed)


def checked_fields(kind: TypeAdapter[K], body: Mapping[str, Any], key: str) -> K:
    """The record of these fields, which is stored under ``key``.

    Raises:
        RecordError: a field is missing, wrong or unknown, or it is of another key.
    """
    try:
        record = kind.validate_json(canonical_json(body))
    except ValidationError as error:
        (name, *_) = error.errors(include_url=False)[0]["loc"]
        raise RecordError(f"has no right '{name}'") from None
    if record.key != key:
        raise RecordError(f"belongs to key {record.key[:12]}")
    return record


def _checksum(body: Mapping[str, Any]) -> str:
    try:
        return hashlib.sha256(canonical_json(body)).hexdigest()
    except ValueError:
        raise RecordError("holds a value that is not JSON") from None
