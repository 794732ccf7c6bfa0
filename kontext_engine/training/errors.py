"""What training raises on purpose, for a person to read."""

from __future__ import annotations

from kontext_engine.errors import EngineError


class TrainingError(EngineError):
    """A stage cannot run: something it builds on is missing, or the device is not there."""
