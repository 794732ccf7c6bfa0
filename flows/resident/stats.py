"""What a pool tells of its engines, for metrics and health pages."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from flows.resident.options import EngineState

HOPELESS = 3  # failures to start in a row after which nobody waits for an engine any more


@dataclass(frozen=True, slots=True)
class EngineStats:
    """One engine as it is now.

    ``loads``, ``batches`` (computed together, as the engine formed them), ``edits`` and
    ``busy_seconds`` add up over its processes, of which ``restarts`` were started after the first;
    ``process_loads`` is of the present one. ``failures`` counts processes in a row that died before
    they were of any use. ``since`` is when it came to its state (Unix time,
    seconds); ``memory`` what the process holds of RAM (bytes; 0 where that cannot be told);
    ``last_death`` how the process before ended.
    """

    number: int
    pid: int | None
    state: EngineState
    model: str
    process_loads: int
    loads: int
    restarts: int
    failures: int
    busy_seconds: float
    batches: int
    edits: int
    since: float
    memory: int
    last_death: str

    @property
    def hopeless(self) -> bool:
        """Whether it cannot be started, as far as anybody can tell."""
        return self.failures >= HOPELESS


def resident_bytes(pid: int | None) -> int:
    """A process's resident memory, as Linux tells it; else 0."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
