"""What is asked of an engine process, and what its place in a pool has done."""

from __future__ import annotations

import queue
from dataclasses import dataclass, field

from flows.resident.errors import EngineDied, EnginesStopping
from flows.resident.messages import Cancel, Model, Tiding
from flows.resident.options import EngineState
from kontext_engine.api import StepProgress


@dataclass(slots=True)
class Job:
    """Something asked of a process. ``inbox`` gets all it says of it, then an end, exactly one.

    The end is ``Ended``, ``Refused``, or the error of its death; ``Cancel`` comes before if the
    caller's side gave up waiting.
    """

    number: int
    model: Model
    ids: tuple[str, ...] = ()
    inbox: queue.SimpleQueue[Tiding | Cancel | EngineDied | EnginesStopping] = field(
        default_factory=queue.SimpleQueue
    )
    began: bool = False
    at: StepProgress | None = None


@dataclass(slots=True)
class Tally:
    """What the processes of one place in a pool have done, one after the other."""

    loads: int = 0
    batches: int = 0
    edits: int = 0
    busy_seconds: float = 0.0


def doing(state: EngineState, job: Job | None) -> str:
    """What a process was doing, for the line that tells of its end."""
    if job is None:
        return f"while {state}"
    if state is EngineState.LOADING:
        return f"while loading model '{job.model.spec.name}'"
    if not job.ids:
        return f"when asked to load model '{job.model.spec.name}'"
    ids = job.at.ids if job.at is not None else job.ids
    more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
    step = f"step {job.at.step} of {job.at.steps} of " if job.at is not None else ""
    return f"while working on {step}{ids[0][:12]}{more}"
