"""Where engines come from. torch is imported here, inside the call, and nowhere else in flows."""

from __future__ import annotations

from pathlib import Path

from flows.defaults import DEFAULT_BATCH
from flows.execution.execute import EngineFactory
from flows.recipe.step import Plan
from kontext_engine.api import Engine, EngineOptions

CALL_LOG = "calls.jsonl"


def engine_factory(plan: Plan, out: Path, batch: int = DEFAULT_BATCH) -> EngineFactory:
    """A call that loads the plan's model with the plan's numerics, when it is made."""
    options = EngineOptions(numerics=plan.numerics, max_batch=batch, call_log=str(out / CALL_LOG))

    def load() -> Engine:
        from kontext_engine.engine import KontextEngine

        return KontextEngine.load(plan.model, options)

    return load
