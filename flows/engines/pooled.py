"""The engine that one run of a plan sees: whichever of the pool's is free, call by call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from flows.engines.errors import EngineDied
from flows.engines.job import Job
from flows.engines.messages import Model, sendable
from flows.engines.pool import EnginePool
from kontext_engine.api import EditFailure, EditRequest, EditResult, StepCallback
from kontext_engine.errors import Cancelled
from kontext_engine.spec import ModelSpec, NumericsProfile

_TRIES = 3  # of what died before it began: it cost nobody anything


class PooledEngine:
    """``kontext_engine.api.Engine`` over a pool; one for each run of a plan.

    A call to ``run`` waits for an engine and has it alone until all is computed, not until the
    caller has taken the pictures: while they are encoded and uploaded another may compute. One
    thread runs; ``cancel`` may be called by any other.
    """

    def __init__(
        self, pool: EnginePool, spec: ModelSpec, numerics: NumericsProfile | None = None
    ) -> None:
        self._pool = pool
        self._model = Model(spec, numerics or NumericsProfile())
        self._cancelled = False
        self._job: Job | None = None

    @property
    def spec(self) -> ModelSpec:
        """The model that engines are asked to hold."""
        return self._model.spec

    @property
    def numerics(self) -> NumericsProfile:
        """The numerics that they are asked to compute with."""
        return self._model.numerics

    def load(self) -> PooledEngine:
        """Make sure that the model can be loaded here; for ``run_plan``'s ``engine_factory``.

        Returns at once if an engine of the pool has loaded it before, and when cancelled or the
        pool is stopping: ``run`` tells that, as what it is.

        Raises:
            ModelError: the model is not on this machine, or cannot be used.
            EngineDied: no engine survives loading it.
        """
        if not self._pool.knows(self._model):
            with suppress(Cancelled):
                for _ in self._asked((), None):
                    raise AssertionError("a load has no answers")
        return self

    def run(
        self, requests: Sequence[EditRequest], on_step: StepCallback | None = None
    ) -> Iterator[EditResult | EditFailure]:
        """Answer every request, as ``api.Engine.run`` says.

        Raises:
            Cancelled: ``on_step`` raised it, or ``cancel`` was called.
            EngineStalled: the engine's process gave no sign of life within its limit.
            EngineDied: it ended after it had begun; one that ended before is replaced by another
                without a word.
            EnginesStopping: the pool is being stopped.
            EngineError: what the engine raised.
        """
        ready, failed = sendable(requests)
        yield from failed
        if ready:
            yield from self._asked(ready, on_step)

    def cancel(self) -> None:
        """Have ``run`` raise ``Cancelled``, now and ever after; returns at once.

        An engine at work for it stops within a denoise step and stays loaded.
        """
        self._cancelled = True
        self._pool.wake()
        if (job := self._job) is not None:
            job.cancel()

    def _asked(
        self, requests: tuple[EditRequest, ...], on_step: StepCallback | None
    ) -> Iterator[EditResult | EditFailure]:
        ids = tuple(request.id for request in requests)
        for left in reversed(range(_TRIES)):
            job = self._job = self._pool.take(self._model, ids, lambda: self._cancelled)
            if self._cancelled:  # in the moment that it was taken
                job.cancel()
            try:
                yield from job.answers(requests, on_step)
                return
            except EngineDied as died:
                if died.began or not left:
                    raise
            finally:
                self._job = None
