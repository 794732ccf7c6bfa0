"""What pools tell of engines that there are not."""

from __future__ import annotations

from flows.engines.options import EngineState
from flows.engines.stats import EngineStats


def stats(number, **changes):
    values = {
        "number": number, "pid": None, "state": EngineState.IDLE, "model": "mini",
        "loads": 1, "restarts": 0, "failures": 0, "busy_seconds": 2.0,
        "batches": 3, "edits": 8, "memory": 100, "last_death": "",
    }  # fmt: skip
    return EngineStats(**(values | changes))
