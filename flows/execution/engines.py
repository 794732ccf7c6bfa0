"""Where the engine of a run in this process comes from."""

from __future__ import annotations

from pathlib import Path

from flows.engines.loading import engine_class
from flows.execution.execute import EngineFactory
from flows.recipe.step import Plan
from flows.settings import DEFAULT_BATCH
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
        return engine_class().load(plan.model, options)

    return load
