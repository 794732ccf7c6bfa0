"""When an engine's work counts as moving: a lease hangs on it."""

from __future__ import annotations

import time

import pytest

from flows.resident.options import EngineState
from flows.resident.process import EngineProcess

LONG_AGO = 1000.0


@pytest.mark.parametrize(
    ("state", "moves"),
    [
        (EngineState.STARTING, True),
        (EngineState.LOADING, True),
        (EngineState.BUSY, True),
        (EngineState.IDLE, False),
        (EngineState.DEAD, False),
    ],
)
def test_work_moves_until_its_own_limit_has_passed(state, moves):
    engine = EngineProcess()
    now = time.monotonic()
    engine._state, engine._heard = state, now - LONG_AGO
    assert (engine.progressed >= now) is moves
    engine._stalled = 300.0  # killed for its silence; it may be long in dying
    assert engine.progressed == now - LONG_AGO
