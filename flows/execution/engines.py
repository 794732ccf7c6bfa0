"""Where engines come from. torch is imported here, inside the call, and nowhere else in flows."""

from __future__ import annotations

from pathlib import Path

from flows.defaults import DEFAULT_BATCH
from flows.execution.asking import EngineFactory
from flows.recipe.step import Plan
from flows.store.address import is_s3
from kontext_engine.api import Engine, EngineOptions

CALL_LOG = "calls.jsonl"


def engine_factory(plan: Plan, out: str | Path, batch: int = DEFAULT_BATCH) -> EngineFactory:
    """A call that loads the plan's model with the plan's numerics, when it is made.

    The engine's calls are logged beside a store in a folder; S3 has nothing to append to.
    """
    log = None if is_s3(out) else str(Path(out) / CALL_LOG)
    options = EngineOptions(numerics=plan.numerics, max_batch=batch, call_log=log)

    def load() -> Engine:
        from kontext_engine.engine import KontextEngine

        return KontextEngine.load(plan.model, options)

    return load
