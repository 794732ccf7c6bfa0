"""What evaluation raises on purpose, for a person to read."""

from __future__ import annotations

from kontext_engine.errors import EngineError


class EvaluationError(EngineError):
    """A measurement cannot be made: something it needs is missing, or an item failed."""
