"""The engine that one run of a plan sees: whichever of the pool's is free, call by call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from flows.resident.engine import converse
from flows.resident.errors import EngineDied
from flows.resident.job import Job
from flows.resident.lending import Waiter
from flows.resident.messages import Model, pack_requests
from flows.resident.pool import EnginePool
from flows.resident.process import EngineProcess
from kontext_engine.api import EditFailure, EditRequest, EditResult, StepCallback
from kontext_engine.errors import Cancelled
from kontext_engine.spec import ModelSpec, NumericsProfile

_TRIES = 3  # of what died before it began: it cost nobody anything


class PooledEngine:
    """``kontext_engine.api.Engine`` over a pool; one for each run of a plan.

    A call to ``run`` waits for an engine and has it alone until all is computed, not until the
    caller has taken the pictures: while they are encoded and uploaded another may compute. One
    thread runs; ``cancel`` and ``progressed`` may be called by any other.
    """

    def __init__(
        self,
        pool: EnginePool,
        spec: ModelSpec,
        numerics: NumericsProfile | None = None,
        priority: int = 0,
    ) -> None:
        self._pool = pool
        self._model = Model(spec, numerics or NumericsProfile())
        self._priority = priority
        self._lock = threading.Lock()
        self._cancelled = False
        self._waiter: Waiter | None = None
        self._working: tuple[EngineProcess, Job] | None = None

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
        for attempt in range(1, _TRIES + 1):
            if self._pool.knows(self._model):
                break
            try:
                for _ in self._with_engine(lambda process: process.load(self._model)):
                    raise AssertionError("a load has no answers")
            except Cancelled:
                break
            except EngineDied:
                if attempt == _TRIES:
                    raise
        return self

    def run(
        self, requests: Sequence[EditRequest], on_step: StepCallback | None = None
    ) -> Iterator[EditResult | EditFailure]:
        """Answer every request, as ``api.Engine.run`` says.

        Raises:
            Cancelled: ``on_step`` raised it, or ``cancel`` was called.
            EngineDied: the engine's process ended after it had begun; one that ended before is
                replaced by another without a word.
            EnginesStopping: the pool is being stopped.
            EngineError: what the engine raised.
        """
        packed, failed = pack_requests(requests)
        yield from failed

        def ask(process: EngineProcess) -> Job:
            return process.run(self._model, packed)

        for attempt in range(1, _TRIES + 1) if packed else ():
            try:
                yield from self._with_engine(ask, on_step)
                return
            except EngineDied as died:
                if died.began or attempt == _TRIES:
                    raise

    def cancel(self) -> None:
        """Have ``run`` raise ``Cancelled``, now and ever after; returns at once.

        An engine at work for it stops within a denoise step and stays loaded.
        """
        with self._lock:
            self._cancelled = True
            waiter, working = self._waiter, self._working
        if waiter is not None:
            self._pool.withdraw(waiter)
        if working is not None:
            process, job = working
            process.cancel(job)

    def progressed(self) -> float:
        """When work for it last moved (``time.monotonic``), for whoever renews a lease.

        While it waits its turn: when the work of any engine last moved.
        """
        with self._lock:
            working = self._working
        return working[0].progressed if working is not None else self._pool.progressed()

    def _with_engine(
        self, ask: Callable[[EngineProcess], Job], on_step: StepCallback | None = None
    ) -> Iterator[EditResult | EditFailure]:
        process, job = self._begin(ask)
        try:
            yield from converse(process, job, on_step)
        finally:
            with self._lock:
                self._working = None

    def _begin(self, ask: Callable[[EngineProcess], Job]) -> tuple[EngineProcess, Job]:
        waiter = self._pool.waiter(self._model, self._priority)
        with self._lock:
            waiter.cancelled = self._cancelled
            self._waiter = waiter
        process = self._pool.borrow(waiter)
        try:
            job = ask(process)
        except BaseException:
            self._pool.give_back(process)
            raise
        with self._lock:
            self._waiter, self._working = None, (process, job)
            cancelled = self._cancelled
        if cancelled:
            process.cancel(job)
        return process, job
