"""An engine that lives in a process of its own, behind the same protocol as one that does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flows.resident.errors import EngineDied, EnginesStopping
from flows.resident.job import Job
from flows.resident.messages import (
    Answered,
    Cancel,
    Denoised,
    Ended,
    Model,
    Refused,
    error_of,
    pack_requests,
    unpack_answer,
)
from flows.resident.options import EngineState, ProcessOptions
from flows.resident.process import EngineProcess
from kontext_engine.api import EditFailure, EditRequest, EditResult, StepCallback
from kontext_engine.errors import Cancelled
from kontext_engine.spec import ModelSpec, NumericsProfile


class ResidentEngine:
    """One model in one process, for one caller at a time; ``kontext_engine.api.Engine``.

    The model is loaded with the first requests (or by ``load``) and stays. After ``EngineDied``
    every further call raises it again: make a new one, or use a pool, which does.
    """

    def __init__(
        self,
        spec: ModelSpec,
        numerics: NumericsProfile | None = None,
        options: ProcessOptions | None = None,
        number: int = 1,
    ) -> None:
        self._model = Model(spec, numerics or NumericsProfile())
        self.process = EngineProcess(options, number)
        self.process.start()

    @classmethod
    def over(
        cls, process: EngineProcess, spec: ModelSpec, numerics: NumericsProfile | None = None
    ) -> ResidentEngine:
        """A model in a process that is there already, in place of the one that it holds."""
        engine = cls.__new__(cls)
        engine._model = Model(spec, numerics or NumericsProfile())
        engine.process = process
        return engine

    @property
    def spec(self) -> ModelSpec:
        """The model that the process is asked to hold."""
        return self._model.spec

    @property
    def numerics(self) -> NumericsProfile:
        """The numerics that it is asked to compute with."""
        return self._model.numerics

    def load(self) -> None:
        """Have the model loaded now.

        Raises:
            EngineError: it cannot be loaded, or the process died.
        """
        self._wait_idle()
        for _ in converse(self.process, self.process.load(self._model), None):
            raise AssertionError("a load has no answers")

    def run(
        self, requests: Sequence[EditRequest], on_step: StepCallback | None = None
    ) -> Iterator[EditResult | EditFailure]:
        """Answer every request, as ``api.Engine.run`` says.

        Raises:
            Cancelled: ``on_step`` raised it. The process stops within a denoise step and keeps
                its model.
            EngineStalled: the process gave no sign of life within its limit, and was killed.
            EngineDied: the process ended before all was answered.
            EngineError: what the engine raised there.
        """
        packed, failed = pack_requests(requests)
        yield from failed
        if packed:
            self._wait_idle()
            yield from converse(self.process, self.process.run(self._model, packed), on_step)

    def close(self, limit: float = 10.0) -> None:
        """Stop the process: asked to, and killed if it has not ended after ``limit`` seconds."""
        self.process.ask_to_stop()
        if not self.process.wait(EngineState.DEAD, limit=limit):
            self.process.kill()
            self.process.wait(EngineState.DEAD)

    def __enter__(self) -> ResidentEngine:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    def _wait_idle(self) -> None:
        self.process.wait(EngineState.IDLE, EngineState.DEAD)


def converse(
    process: EngineProcess, job: Job, on_step: StepCallback | None
) -> Iterator[EditResult | EditFailure]:
    """Hear of ``job`` until its end. Whoever leaves early, by an error or otherwise, cancels it.

    Raises:
        Cancelled: ``on_step`` raised it, or somebody called ``process.cancel(job)``.
        EngineDied: the process ended.
        EngineError: what the engine raised there.
    """
    over = False
    try:
        while not over:
            tiding = job.inbox.get()
            over = isinstance(tiding, Ended | Refused | EngineDied | EnginesStopping)
            match tiding:
                case Denoised(progress=progress):
                    if on_step is not None:
                        on_step(progress)
                case Answered(answer=answer):
                    yield unpack_answer(answer)
                case Cancel() | Ended(cancelled=True):
                    raise Cancelled("asked to stop")
                case Refused():
                    raise error_of(tiding)
                case EngineDied() | EnginesStopping():
                    raise tiding
    finally:
        if not over:
            process.cancel(job)
