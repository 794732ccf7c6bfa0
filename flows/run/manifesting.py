"""The manifest of a run that has ended, from its plan and what came of each step."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from flows.plan.step import ContextRef, ParentStep, Plan, Step
from flows.run.manifest import (
    ContextEntry,
    Manifest,
    ModelEntry,
    OutputEntry,
    PickEntry,
    SourceEntry,
    StepEntry,
    VariantEntry,
)
from flows.run.outcome import Outcome, StepOutcome
from flows.run.provenance import now, plain, rules_of, software, sources_of


def build_manifest(
    plan: Plan,
    outcome: Outcome,
    outputs: tuple[OutputEntry, ...],
    problems: Mapping[str, str],
) -> Manifest:
    """The manifest of a run; ``problems`` tell of sources, by digest."""
    return Manifest(
        recipe=plan.recipe,
        recipe_file=plan.recipe_path.name,
        recipe_sha256=hashlib.sha256(plan.recipe_text.encode()).hexdigest(),
        sets=plan.sets,
        only=plan.only,
        plan=plan.digest,
        model=ModelEntry(
            name=plan.model.name, digest=plan.model.digest, licence=plan.model.licence
        ),
        numerics=plain(asdict(plan.numerics)),
        software=software(),
        written=now(),
        ending=outcome.ending,
        why=outcome.why,
        seconds=round(outcome.seconds, 3),
        load_seconds=round(outcome.load_seconds, 3),
        counts=dict(outcome.counts),
        steps=tuple(_step(plan.steps[key], end) for key, end in outcome.steps.items()),
        variants=tuple(
            VariantEntry(
                id=one.id, values=dict(one.values), keys=one.keys, details=dict(one.details)
            )
            for one in plan.variants
        ),
        sources=tuple(
            SourceEntry(
                digest=ref.digest,
                input=ref.input,
                file=ref.file,
                problem=problems.get(ref.digest, ""),
            )
            for ref in sources_of(plan, seen=True)
        ),
        outputs=outputs,
        picks=tuple(
            PickEntry(
                label=pick.label,
                candidates={one.key: one.label for one in pick.candidates},
                chosen=pick.chosen,
                by=pick.by,
                judge=pick.judge,
            )
            for pick in plan.picks.values()
        ),
        waiting={label: one.picks for label, one in plan.waiting.items()},
        project=plan.project,
        depends=plan.depends,
    )


def _step(step: Step, end: StepOutcome) -> StepEntry:
    record = end.record
    made: dict[str, Any] = {}
    if record is not None:
        names = ("blob", "width", "height", "seconds", "created", "notes", "geometry")
        made = {name: getattr(record, name) for name in names}
    return StepEntry(
        key=step.key,
        name=step.name,
        label=step.label,
        operation=step.operation,
        params=plain(asdict(step.params)),
        contexts=tuple(map(_context, step.seen)),
        variants=step.variants,
        state=end.state,
        reason=end.reason,
        blocked_by=end.blocked_by,
        attempts=end.attempts,
        rules=rules_of(step),
        **made,
    )


def _context(ref: ContextRef) -> ContextEntry:
    if isinstance(ref, ParentStep):
        return ContextEntry(kind="step", name=ref.key)
    return ContextEntry(kind="source", name=ref.digest, reading=ref.reading)
