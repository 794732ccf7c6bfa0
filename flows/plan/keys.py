"""Keys and seeds: a step's key names its pixels and nothing else (contract 1).

The key is the SHA-256 of canonical JSON over the operation and its parameters, the seed, the
model's weights digest with what else of the model decides pixels, the numerics profile, the
parents' keys, the digests of source files, and how their kind is read where that has changed.
Recipe, step and axis names, file names, batch size, worker and time are not in it: renaming a step
with a seed of its own computes nothing anew.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from flows.plan.step import ContextRef, Operation, ParentStep, PlannedOutput, StepParams
from flows.store.record import canonical_json
from kontext_engine.spec import ModelSpec, NumericsProfile

KEY_VERSION = 1


def step_key(
    operation: Operation,
    params: StepParams,
    contexts: Sequence[ContextRef],
    model: ModelSpec,
    numerics: NumericsProfile,
) -> str:
    """The key of one step; ``params`` as the engine will be asked."""
    edits = operation == "edit"
    classifier_free = params.true_cfg > 1
    return _digest(
        {
            "key": KEY_VERSION,
            "operation": operation,
            "prompt": params.prompt,
            "seed": params.seed,
            "steps": params.steps,
            # What the engine ignores does not change pixels.
            "guidance": _number(params.guidance) if model.guidance_embedded else None,
            "true_cfg": _number(params.true_cfg) if classifier_free else 1,
            "negative_prompt": params.negative_prompt if classifier_free else None,
            "size": params.size,
            "fit": params.fit.value if edits else None,
            "contexts": [_context(ref) for ref in contexts],
            **_model(model, numerics),
        }
    )


def default_seed(step: str, values: Mapping[str, str]) -> int:
    """The seed of a step that has none: 32 bits from its id and the values it depends on.

    ``values`` maps each axis on which the step or its ancestors depend to the value's *name*. So
    a variant's seed stays what it is when others come and go, when entries change places, and
    when a prompt or the wording of a value is improved.
    """
    return int(_digest({"seed": KEY_VERSION, "step": step, "values": dict(values)})[:8], 16)


def take_seed(seed: int, take: int) -> int:
    """The seed of a step's take after the first, which has ``seed``: 32 bits from both."""
    return int(_digest({"take": take, "seed": seed})[:8], 16)


def next_seed(label: str, seed: int) -> int:
    """The seed that a re-roll gives: 32 bits from the label and the seed there was."""
    return int(_digest({"reroll": KEY_VERSION, "label": label, "seed": seed})[:8], 16)


def plan_digest(keys: Iterable[str], outputs: Iterable[PlannedOutput]) -> str:
    """What names a run: SHA-256 over the keys and the outputs."""
    files = [[item.path, item.key, item.format, item.quality] for item in outputs]
    return _digest({"steps": sorted(keys), "outputs": files})


def _context(ref: ContextRef) -> dict[str, str | int]:
    if isinstance(ref, ParentStep):
        return {"step": ref.key}
    # What has always been read as it is read now keeps the key that it has always had.
    return {"source": ref.digest} | ({"reading": ref.reading} if ref.reading > 1 else {})


@functools.lru_cache(maxsize=16)
def _model(model: ModelSpec, numerics: NumericsProfile) -> Mapping[str, Any]:
    return {"model": model.deciding, "numerics": asdict(numerics)}


def _number(value: float | None) -> float | None:
    """2.0 as 2, so that a number has one spelling."""
    return int(value) if value is not None and float(value).is_integer() else value


def _digest(value: object) -> str:
    return hashlib.sha256(canonical_json(value)).hexdigest()
