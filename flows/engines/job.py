"""Something asked of an engine process, and what is heard of it until its end."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from flows.engines.errors import EngineDied, EnginesStopping
from flows.engines.messages import Cancel, Ended, Model, Run, Tiding
from flows.engines.process import EngineProcess
from kontext_engine.api import EditFailure, EditRequest, EditResult, StepCallback, StepProgress
from kontext_engine.errors import Cancelled


@dataclass(slots=True, eq=False)
class Job:
    """An engine's present work. ``inbox`` gets all that is said of it, then one end.

    The end is ``Ended``, or the error of the process's death; ``Cancel`` comes before if the
    caller's side gave up waiting. Without ``ids`` the model is only loaded.
    """

    number: int
    process: EngineProcess
    model: Model
    ids: tuple[str, ...]
    inbox: queue.SimpleQueue[Tiding | Cancel | EngineDied | EnginesStopping] = field(
        default_factory=queue.SimpleQueue
    )
    asked: float = field(default_factory=time.monotonic)
    began: bool = False
    at: StepProgress | None = None

    @property
    def place(self) -> str:
        """How far it is, for a person."""
        at = self.at
        ids = at.ids if at is not None else self.ids
        more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
        step = f"step {at.step} of {at.steps} of " if at is not None else ""
        return f"{step}{ids[0][:12]}{more}"

    def cancel(self) -> None:
        """Stop it within a denoise step; returns at once."""
        self.inbox.put(Cancel(self.number))
        self.process.tell_soon(Cancel(self.number))

    def answers(
        self, requests: tuple[EditRequest, ...], on_step: StepCallback | None
    ) -> Iterator[EditResult | EditFailure]:
        """Hand it over and hear of it. Whoever leaves early, by an error or otherwise, cancels it.

        Raises:
            Cancelled: ``on_step`` raised it, or somebody called ``cancel``.
            EngineDied: the process ended.
            EngineError: what the engine raised there.
        """
        over = False
        try:
            self.process.tell(Run(self.number, self.model, requests))
            while not over:
                tiding = self.inbox.get()
                over = isinstance(tiding, Ended | EngineDied | EnginesStopping)
                match tiding:
                    case StepProgress() if on_step is not None:
                        on_step(tiding)
                    case EditResult() | EditFailure():
                        yield tiding
                    case Cancel():
                        raise Cancelled("asked to stop")
                    case Ended(error=error) if error is not None:
                        raise error
                    case EngineDied() | EnginesStopping():
                        raise tiding
        finally:
            if not over:
                self.cancel()
