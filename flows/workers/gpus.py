"""What GPUs there are and what is in their memory, as NVIDIA's own program tells; no torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

ANSWER_SECONDS = 20.0  # a cold driver takes seconds
MEMORY_AGE = 10.0  # seconds that an answer is good for: each asks the driver


@cache
def visible_gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, each as ``CUDA_VISIBLE_DEVICES`` names it."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        # As the driver reads it: what comes after the first that is none does not count.
        parts = [part.strip() for part in named.split(",")]
        wrong = next((n for n, part in enumerate(parts) if part in {"", "-1"}), len(parts))
        return tuple(parts[:wrong])
    return tuple(line for line in _ask("index") if line.isdigit())


@dataclass
class GpuMemory:
    """Bytes in use on each GPU, by its number; empty where there is none."""

    _found: Mapping[str, int] = field(default_factory=dict)
    _asked: float = float("-inf")

    def read(self) -> Mapping[str, int]:
        """As it was at most ``MEMORY_AGE`` seconds ago."""
        if visible_gpus() and time.monotonic() - self._asked > MEMORY_AGE:
            rows = [line.split(", ") for line in _ask("index,memory.used")]
            self._found = {
                row[0]: int(row[1]) * 2**20 for row in rows if len(row) == 2 and row[1].isdigit()
            }
            self._asked = time.monotonic()
        return self._found


def _ask(fields: str) -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]
