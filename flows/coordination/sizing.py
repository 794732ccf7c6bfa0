"""Where sizing is found under its old name."""

from __future__ import annotations

from flows.execution.sizing import RECENT, StepTimes, chunk_seconds

__all__ = ["RECENT", "StepTimes", "chunk_seconds"]
