"""A plan as a file: what a worker on another host needs, and nothing of the machine that planned.

The file is gzip over canonical JSON, ``{"checksum", "plan", "schema", "version"}``; the checksum is
the SHA-256 of the canonical JSON of ``plan``. Zipped, because prompts and labels repeat: 10^5 steps
are 63 MB of JSON and 8.5 MB in the file, for 0.7 s of work where reading the plan takes 10 (of
which 3.5 go into computing the keys). Source pictures are named by digest and file name: they are
in ``blobs/<sha256>`` of the store, where whoever planned puts them.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from flows.plan.keys import cutout_key, extended_key, judge_key, plan_digest, step_key
from flows.plan.planbody import from_body, to_body
from flows.plan.step import Plan, Step
from flows.store.objects import Objects
from flows.store.record import canonical_json

SCHEMA = "kontext.plan"
VERSION = 1
MAX_BYTES = 1 << 30  # of JSON; a million steps need less

_LEVEL = 6  # 9 takes three times as long for a twentieth less
_SAME_RELEASE = "use the same release of this software everywhere"


class PlanFileError(ValueError):
    """These bytes are not a plan that can be trusted; the message says why and what to do."""


def encode_plan(plan: Plan) -> bytes:
    """The bytes of a plan; ``decode_plan`` reads them back."""
    body = canonical_json(to_body(plan))
    checksum = hashlib.sha256(body).hexdigest()
    # Spliced by hand, so that a body of 60 MB is spelt once.
    head = f'{{"checksum":"{checksum}","plan":'.encode()
    tail = f',"schema":"{SCHEMA}","version":{VERSION}}}'.encode()
    return gzip.compress(head + body + tail, _LEVEL, mtime=0)


def decode_plan(data: bytes, home: Objects | None = None) -> Plan:
    """The plan in ``data``, zipped or not. Every key is computed again and must be the same.

    Its source pictures are opened from ``home``, the store's objects; its model is wherever this
    machine has it (``local_model``).

    Raises:
        PlanFileError: not a plan, of another version, damaged, or with keys that this software
            would not give: its pictures would be filed under names that mean others.
    """
    whole = _parse(data)
    if not isinstance(whole, dict) or whole.get("schema") != SCHEMA:
        raise _wrong(f"is not a {SCHEMA}")
    if whole.get("version") != VERSION:
        raise _wrong(f"has version {whole.get('version')!r}, expected {VERSION}", _SAME_RELEASE)
    body = whole.get("plan")
    if not isinstance(body, dict) or _checksum(body) != whole.get("checksum"):
        raise _wrong("does not match its own checksum")
    try:
        plan = from_body(body, home)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise _wrong(f"lacks a field or has a wrong one ({why})", _SAME_RELEASE) from None
    except (IndexError, KeyError, ValueError) as error:
        raise _wrong(f"has a wrong number ({error})", _SAME_RELEASE) from None
    _check_keys(plan)
    return plan


def _check_keys(plan: Plan) -> None:
    for key, step in plan.steps.items():
        expected = _key(step, plan)
        if key != expected:
            raise _wrong(
                f"has key {key[:12]} for '{step.label}', whose content gives {expected[:12]}",
                _SAME_RELEASE,
            )
    if plan.digest != plan_digest(plan.steps, plan.outputs, plan.sheets):
        raise _wrong("has a digest that is not of its keys and outputs", _SAME_RELEASE)


def _key(step: Step, plan: Plan) -> str:
    if step.made is not None:  # what a hand has picked is named by its pick
        return step.key
    if step.operation == "judge":
        return judge_key(step.contexts, step.method, step.params.prompt, step.region)
    if step.operation == "cutout":
        return cutout_key(step.contexts, step.method)
    key = step_key(step.operation, step.params, step.contexts, plan.model, plan.numerics)
    return extended_key(key, step.geometry, step.region)


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(body)).hexdigest()


def _parse(data: bytes) -> Any:
    try:
        text = _unzipped(data) if data[:2] == b"\x1f\x8b" else data
        return json.loads(text)
    except (ValueError, RecursionError, zlib.error):
        raise _wrong("is torn, or no JSON") from None


def _unzipped(data: bytes) -> bytes:
    unzip = zlib.decompressobj(wbits=31)  # gzip, and never more than the limit
    text = unzip.decompress(data, MAX_BYTES)
    if not unzip.eof:
        raise ValueError("torn, or larger than any plan")
    return text


def _wrong(what: str, advice: str = "start the run again to write it anew") -> PlanFileError:
    return PlanFileError(f"the plan's file {what}; {advice}")
