"""How a worker is started."""

from __future__ import annotations

import os
from dataclasses import dataclass

from flows.engines.loading import KONTEXT
from flows.engines.options import ProcessOptions
from flows.engines.pool import EnginePool
from flows.scheduling.workers.gpus import visible_gpus
from flows.settings import DEFAULT_BATCH


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What ``kontext worker`` is told; ``None`` leaves it to the machine.

    ``engines`` are one for each GPU, or one; ``threads`` what each computes with on the CPU.
    A chunk is in hand for each engine and no more: one that waits here is one that an idle engine
    of another worker could have.
    """

    engines: int | None = None
    threads: int | None = None
    batch: int = DEFAULT_BATCH
    engine: str = KONTEXT

    @property
    def count(self) -> int:
        """How many engine processes."""
        return self.engines if self.engines is not None else max(1, len(visible_gpus()))

    def engine_pool(self) -> EnginePool:
        """The engines, not started yet."""
        gpus, threads = visible_gpus(), self.threads
        if threads is None and not gpus and self.count > 1:
            # Each would take all cores, and they would mostly wait for each other.
            threads = max(1, (os.cpu_count() or 1) // self.count)
        process = ProcessOptions(engine=self.engine, batch=self.batch, threads=threads)
        return EnginePool(self.count, process, gpus=gpus)
