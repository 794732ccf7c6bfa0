"""A record: the proof that a step is done, and where its picture came from.

On disk it is one JSON object: ``{"schema", "version", "checksum", "record"}``; the checksum is the
SHA-256 of the canonical JSON of ``record``, so a torn or edited file never counts as done.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

SCHEMA = "kontext.record"
VERSION = 1

_DIGEST = re.compile(r"[0-9a-f]{64}")


class RecordError(ValueError):
    """These bytes are not a record that can be trusted; the message says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """What was made for one key, of what, by what, and how long it took.

    ``blob`` is the SHA-256 of the picture's bytes and their name in the store, ``size`` their
    number. ``sources`` are SHA-256 digests of input files, ``parents`` keys of other steps.
    ``seconds`` is engine time; ``created`` is UTC in ISO 8601. It holds no path and no host.
    """

    key: str
    blob: str
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
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError):
        raise RecordError("is not JSON") from None
    if not isinstance(whole, dict) or whole.get("schema") != SCHEMA:
        raise RecordError(f"is not a {SCHEMA}")
    if whole.get("version") != VERSION:
        raise RecordError(f"has version {whole.get('version')!r}, expected {VERSION}")
    body = whole.get("record")
    if not isinstance(body, dict) or _checksum(body) != whole.get("checksum"):
        raise RecordError("does not match its own checksum")
    record = _from_body(body)
    if record.key != key:
        raise RecordError(f"belongs to key {record.key[:12]}")
    return record


def _checksum(body: Mapping[str, Any]) -> str:
    try:
        return hashlib.sha256(canonical_json(body)).hexdigest()
    except ValueError:
        raise RecordError("holds a value that is not JSON") from None


_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "tuple[str, ...]": list,
    "Mapping[str, Any]": dict,
}


def _from_body(body: Mapping[str, Any]) -> Record:
    values: dict[str, Any] = {}
    for field in fields(Record):
        if field.name not in body:
            raise RecordError(f"has no '{field.name}'")
        value = body[field.name]
        if not isinstance(value, _KINDS[str(field.type)]) or isinstance(value, bool):
            raise RecordError(f"has a wrong '{field.name}'")
        values[field.name] = tuple(value) if isinstance(value, list) else value
    if extra := set(body) - set(values):
        raise RecordError(f"has unknown fields {sorted(extra)}")
    if not is_digest(values["blob"]) or not is_digest(values["key"]):
        raise RecordError("names no SHA-256")
    return Record(**values)
