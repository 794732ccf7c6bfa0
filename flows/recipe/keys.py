"""Keys and seeds: a step's key names its pixels and nothing else (contract 1).

The key is the SHA-256 of canonical JSON over the operation and its parameters, the seed, the
model's weights digest with what else of the model decides pixels, the numerics profile, the
parents' keys and the digests of source files. Recipe, step and axis names, file names, batch
size, worker and time are not in it: renaming a step with a seed of its own computes nothing anew.
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flows.recipe.step import ContextRef, Operation, ParentStep, PlannedOutput, StepParams
from kontext_engine.spec import ModelSpec, NumericsProfile

KEY_VERSION = 1
SETTLING_NS = 2_000_000_000  # a file system's clock may tick no oftener
_CHUNK = 1 << 20


def canonical(value: Any) -> bytes:
    """One spelling per value: sorted keys, no spaces, ASCII, 2.0 as 2, no NaN.

    Raises:
        ValueError: infinity or NaN.
    """
    plain = _normal(value)
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


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
    return digest(
        {
            "key": KEY_VERSION,
            "operation": operation,
            "prompt": params.prompt,
            "seed": params.seed,
            "steps": params.steps,
            # What the engine ignores does not change pixels.
            "guidance": params.guidance if model.guidance_embedded else None,
            "true_cfg": params.true_cfg if classifier_free else 1,
            "negative_prompt": params.negative_prompt if classifier_free else None,
            "size": list(params.size) if params.size is not None else None,
            "fit": params.fit.value if edits else None,
            "contexts": [_context(ref) for ref in contexts],
            "model": model.deciding,
            "numerics": asdict(numerics),
        }
    )


def default_seed(step: str, values: Mapping[str, str]) -> int:
    """The seed of a step that has none: 32 bits from its id and the values it depends on.

    ``values`` maps each axis on which the step or its ancestors depend to the value's *name*. So
    a variant's seed stays what it is when others come and go, when entries change places, and
    when a prompt or the wording of a value is improved.
    """
    return int(digest({"seed": KEY_VERSION, "step": step, "values": dict(values)})[:8], 16)


def next_seed(label: str, seed: int) -> int:
    """The seed that a re-roll gives: 32 bits from the label and the seed there was."""
    return int(digest({"reroll": KEY_VERSION, "label": label, "seed": seed})[:8], 16)


def plan_digest(keys: Iterable[str], outputs: Iterable[PlannedOutput]) -> str:
    """What names a run: SHA-256 over the keys and the outputs."""
    files = [[item.path, item.key, item.format, item.quality] for item in outputs]
    return digest({"steps": sorted(keys), "outputs": files})


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes; read once per version of the file in this process.

    A file that was changed just now is read each time: it may change again without its time.

    Raises:
        OSError: the file cannot be read.
    """
    stat = path.stat()
    changed = max(stat.st_mtime_ns, stat.st_ctime_ns)
    settled = time.time_ns() - changed > SETTLING_NS
    ask = _file_digest if settled else _file_digest.__wrapped__
    return ask(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


@functools.lru_cache(maxsize=65536)
def _file_digest(path: Path, *_version: int) -> str:
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def _context(ref: ContextRef) -> dict[str, str]:
    return {"step": ref.key} if isinstance(ref, ParentStep) else {"source": ref.digest}


def _normal(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _normal(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_normal(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
