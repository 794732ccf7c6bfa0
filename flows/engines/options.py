"""How an engine process is started and how long its silence is borne."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import flows
from flows.engines.loading import KONTEXT
from flows.settings import DEFAULT_BATCH


class EngineState(StrEnum):
    """What an engine process is doing."""

    STARTING = "starting"
    IDLE = "idle"
    LOADING = "loading"
    BUSY = "busy"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Seconds without a sign of life after which an engine is killed, by what it is doing.

    ``silence`` must be longer than the slowest denoise step, encoding or decoding of a batch.
    """

    start: float = 180.0
    load: float = 1800.0
    silence: float = 300.0

    def of(self, state: EngineState) -> float | None:
        """The limit in this state; none while there is nothing to wait for."""
        return {
            EngineState.STARTING: self.start,
            EngineState.LOADING: self.load,
            EngineState.BUSY: self.silence,
        }.get(state)

    @property
    def look(self) -> float:
        """How often to look, in seconds."""
        return min(1.0, min(self.start, self.load, self.silence) / 4)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds before another start: ``first``, doubled with each further failure up to ``most``."""

    first: float = 0.5
    most: float = 30.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row; none after none."""
        return min(self.most, self.first * 2.0 ** min(failures - 1, 32)) if failures else 0.0


@dataclass(frozen=True, slots=True)
class ProcessOptions:
    """How an engine process is started.

    ``gpu`` is what it sees of the machine's GPUs (``CUDA_VISIBLE_DEVICES``); ``threads`` how many
    it computes with on the CPU; ``batch`` the most pictures computed together; ``engine`` the
    ``module:function`` that loads one.
    """

    engine: str = KONTEXT
    batch: int = DEFAULT_BATCH
    gpu: str | None = None
    threads: int | None = None
    call_log: str | None = None
    limits: EngineLimits = EngineLimits()
    backoff: Backoff = Backoff()

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """This process's environment, less the credentials, which an engine has no use for."""
        kept = {
            name: value
            for name, value in given.items()
            if not name.startswith(("AWS_", "PREFECT_"))
        }
        root = str(Path(flows.__file__).parents[1])
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, (root, given.get("PYTHONPATH"))))
        if self.gpu is not None:
            kept["CUDA_VISIBLE_DEVICES"] = self.gpu
        if self.threads is not None:
            kept["OMP_NUM_THREADS"] = kept["MKL_NUM_THREADS"] = str(self.threads)
        return kept
