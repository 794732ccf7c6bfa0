"""Several engines, lent to whoever has edits to make; nothing else decides who gets which."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from flows.engines.errors import EngineDied, EnginesStopping
from flows.engines.job import Job
from flows.engines.messages import Model
from flows.engines.options import EngineState, ProcessOptions
from flows.engines.stats import EngineStats
from flows.engines.supervisor import EngineSupervisor
from kontext_engine.errors import Cancelled


class EnginePool:
    """``count`` engines, numbered from 1; each does one job at a time.

    ``gpus`` are what each may see (``CUDA_VISIBLE_DEVICES``), in turn; without, all see all.
    """

    def __init__(
        self, count: int, options: ProcessOptions | None = None, *, gpus: Sequence[str] = ()
    ) -> None:
        if count < 1:
            raise ValueError(f"{count} engines: expected at least 1")
        options = options or ProcessOptions()
        self._changed = threading.Condition()
        self._waiting: list[object] = []  # in the order of their coming
        self._closing = False
        self._engines = [
            EngineSupervisor(
                number + 1,
                replace(options, gpu=gpus[number % len(gpus)] if gpus else options.gpu),
                self._changed,
            )
            for number in range(count)
        ]

    # --- its life

    def start(self) -> EnginePool:
        """Start every engine; returns before they are up."""
        for engine in self._engines:
            engine.start()
        return self

    def close(self, limit: float = 10.0) -> None:
        """Stop all engines within a denoise step; kill what has not ended after ``limit`` s.

        Those who wait for one get ``EnginesStopping``.
        """
        with self._changed:
            self._closing = True
            for engine in self._engines:
                engine.stop()
            if not self._changed.wait_for(self._dead, limit):
                for engine in self._engines:
                    engine.kill()
                self._changed.wait_for(self._dead)

    def _dead(self) -> bool:
        return all(engine.state is EngineState.DEAD for engine in self._engines)

    def __enter__(self) -> EnginePool:
        return self.start()

    def __exit__(self, *ended: object) -> None:
        self.close()

    # --- what is known of it

    def __len__(self) -> int:
        return len(self._engines)

    def stats(self) -> tuple[EngineStats, ...]:
        """Each engine as it is now."""
        return tuple(engine.stats() for engine in self._engines)

    @property
    def waiting(self) -> int:
        """How many wait for an engine."""
        return len(self._waiting)

    def knows(self, model: Model) -> bool:
        """Whether some engine here has loaded ``model`` before."""
        return any(model in engine.known for engine in self._engines)

    # --- who gets which

    def take(self, model: Model, ids: tuple[str, ...], unwanted: Callable[[], bool]) -> Job:
        """Wait for an idle engine, first come, first served, and have it for one job.

        The one that holds ``model`` if there is, else an empty one, else any. It may die before it
        is handed the job: then the job's end tells.

        Raises:
            Cancelled: ``unwanted`` says so; it is asked whenever ``wake`` is called.
            EnginesStopping: the pool is being stopped.
            EngineDied: no engine process can be started.
        """
        turn = object()
        with self._changed:
            self._waiting.append(turn)
            try:
                while True:
                    self._check(unwanted)
                    idle = [one for one in self._engines if one.state is EngineState.IDLE]
                    if idle and self._waiting[0] is turn:
                        suited = min(idle, key=lambda one: (one.model != model, bool(one.model)))
                        return suited.take(model, ids)
                    self._changed.wait()
            finally:
                self._waiting.remove(turn)
                self._changed.notify_all()

    def wake(self) -> None:
        """Have all who wait ask whether they still want an engine."""
        with self._changed:
            self._changed.notify_all()

    def _check(self, unwanted: Callable[[], bool]) -> None:
        if unwanted():
            raise Cancelled("asked to stop")
        if self._closing:
            raise EnginesStopping("the engines are being stopped")
        if all(engine.hopeless for engine in self._engines):
            why = self._engines[0].stats().last_death
            raise EngineDied(f"no engine process can be started: {why}", began=False)
