"""The record of a picture: everything that went into it, and nothing of the machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from types import MappingProxyType
from typing import Any

from flows.plan.step import Plan, SourceImage, Step
from flows.store.base import FailureNote
from flows.store.record import Record, canonical_json
from kontext_engine.api import EditResult, InBatch

BATCH = "batch"  # in a record's geometry: the place and the size of the batch that it came of


@cache
def software() -> str:
    """Name and version of this software, for records and reports."""
    name = "kontext-pipeline"
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return f"{name} (not installed)"


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def plain(value: Any) -> Any:
    """``value`` as JSON would give it back: tuples as lists, enums as text."""
    return json.loads(canonical_json(value))


def rules_of(step: Step) -> dict[str, Any]:
    """What few steps have besides their parameters, as JSON: only what is there."""
    rules: dict[str, Any] = {"geometry": step.geometry} if step.geometry > 1 else {}
    if step.region is not None:
        rules["region"] = plain(asdict(step.region))
    return rules | ({"method": step.method} if step.method else {})


def sources_of(plan: Plan, *, seen: bool = False) -> list[SourceImage]:
    """The files that a plan begins with, each once: pictures, masks, models that cut, and fonts of
    contact sheets; ``seen``: of them those that are pictures.
    """
    fonts = [] if seen else [one.font for one in plan.sheets if one.font is not None]
    found = {font.digest: font for font in fonts}
    for step in plan.steps.values():
        for ref in step.seen if seen else step.contexts:
            if isinstance(ref, SourceImage):
                found.setdefault(ref.digest, ref)
    return list(found.values())


def new_record(
    plan: Plan,
    step: Step,
    result: EditResult,
    blob: bytes,
    attempts: int,
    proof: Mapping[str, Any] = MappingProxyType({}),
) -> Record:
    """The record of ``result``, stored as ``blob`` (PNG); ``proof`` tells what a region kept."""
    return Record(
        key=step.key,
        blob=hashlib.sha256(blob).hexdigest(),
        size=len(blob),
        media_type="image/png",
        width=result.image.width,
        height=result.image.height,
        step=step.name,
        label=step.label,
        operation=step.operation,
        params=plain(asdict(step.params)),
        model=plan.model.name,
        model_digest=plan.model.digest,
        numerics=plain(asdict(plan.numerics)),
        parents=step.parents,
        sources=tuple(ref.digest for ref in step.contexts if isinstance(ref, SourceImage)),
        geometry=plain(
            asdict(result.geometry)
            | ({"region": proof} if proof else {})
            | ({"judged": asdict(result.judged)} if result.judged else {})
            | ({BATCH: result.batch} if result.batch else {})
        ),
        notes=tuple(result.notes),
        seconds=round(float(result.seconds), 4),
        created=now(),
        software=software(),
        attempts=attempts,
    )


def batch_of(geometry: Mapping[str, Any]) -> InBatch | None:
    """Where a picture was computed, by its record; ``None`` of one without, as earlier ones are."""
    said = geometry.get(BATCH)
    return None if said is None else InBatch(*said)


def failure_note(step: Step, reason: str, attempts: int) -> FailureNote:
    """What is remembered of a step that failed."""
    return FailureNote(step.key, step.label, reason, attempts, now(), software())
