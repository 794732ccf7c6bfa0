"""Requests, options and waiting that the tests of engine processes share."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil

from flows.engines.options import Backoff, EngineLimits, EngineState, ProcessOptions
from kontext_engine.api import EditRequest
from kontext_engine.fake import FAKE_SPEC

SCRIPTED = ProcessOptions(
    engine="tests.engines.engines:scripted", backoff=Backoff(first=0.01, most=0.05)
)
OTHER_SPEC = replace(FAKE_SPEC, name="other", digest="0" * 64)


def limited(silence: float) -> ProcessOptions:
    return replace(SCRIPTED, limits=EngineLimits(silence=silence))


def request(id_: str, prompt: str = "make it snow", steps: int = 4, **asked) -> EditRequest:
    return EditRequest(id_, prompt, 1, steps, **asked)


def pixels(answers) -> dict[str, bytes]:
    return {answer.id: answer.image.tobytes() for answer in answers}


def busy(pool) -> bool:
    return any(stats.state is EngineState.BUSY for stats in pool.stats())


def batches(pool) -> int:
    return sum(stats.batches for stats in pool.stats())


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie, which nobody may be there to reap, has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def orders_are_out() -> None:
    """Wait until what is told to processes by the way has been sent."""
    for thread in threading.enumerate():
        if thread.name == "order":
            thread.join()


def eventually(true, limit: float = 60.0) -> bool:
    """Whether something comes true; the limit is only so that a failing test ends."""
    until = time.monotonic() + limit
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def environment() -> dict[str, str]:
    """For scripts of the tests: this checkout can be imported."""
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
