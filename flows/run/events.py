"""What a run tells while it goes on, for progress bars and logs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flows.run.outcome import StepOutcome


@dataclass(frozen=True, slots=True)
class Started:
    """The store has been asked: so many steps in all, so many of them missing."""

    total: int
    missing: int


@dataclass(frozen=True, slots=True)
class EngineLoading:
    """Something has to be made, so the model is loaded."""

    model: str


@dataclass(frozen=True, slots=True)
class EngineLoaded:
    """The model is resident."""

    model: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Denoising:
    """A batch of these keys has done ``step`` of ``steps`` denoise steps."""

    keys: tuple[str, ...]
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Settled:
    """A step has ended: found, made, failed or blocked."""

    key: str
    outcome: StepOutcome
    label: str


@dataclass(frozen=True, slots=True)
class Retrying:
    """An attempt failed and will be repeated."""

    key: str
    label: str
    reason: str
    attempt: int


Event = Started | EngineLoading | EngineLoaded | Denoising | Settled | Retrying
Listener = Callable[[Event], None]


def both(first: Listener, second: Listener) -> Listener:
    """A listener that hands each event to two."""

    def hear(event: Event) -> None:
        first(event)
        second(event)

    return hear


def ignore(event: Event) -> None:
    """Hear nothing."""
