"""What a pool tells of its engines, for metrics and health pages."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from flows.engines.options import EngineState

HOPELESS = 3  # failures to start in a row after which nobody waits for an engine any more


@dataclass(slots=True)
class EngineStats:
    """One engine as it is now.

    ``loads``, ``batches`` (computed together, as the engine formed them), ``edits`` and
    ``busy_seconds`` add up over its processes, of which ``restarts`` were started after the first.
    ``failures`` counts processes in a row that died before they were of any use. ``memory`` is
    what the process holds of RAM (bytes; 0 where that cannot be told); ``last_death`` how the
    process before ended.
    """

    number: int
    pid: int | None = None
    state: EngineState = EngineState.STARTING
    model: str = ""
    loads: int = 0
    restarts: int = 0
    failures: int = 0
    busy_seconds: float = 0.0
    batches: int = 0
    edits: int = 0
    memory: int = 0
    last_death: str = ""

    @property
    def hopeless(self) -> bool:
        """Whether it cannot be started, as far as anybody can tell."""
        return self.failures >= HOPELESS


def resident_bytes(pid: int | None) -> int:
    """A process's resident memory; 0 if it cannot be told."""
    try:
        return int(psutil.Process(pid).memory_info().rss) if pid is not None else 0
    except psutil.Error:
        return 0
