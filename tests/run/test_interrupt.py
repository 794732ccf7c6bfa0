"""Where in a run the wish to stop takes effect."""

from __future__ import annotations

import os
import signal

import pytest

from flows.cli.interrupt import Interrupts
from flows.run.events import EngineLoaded, EngineLoading, Started

STARTED, LOADING, LOADED = Started(9, 9), EngineLoading("m"), EngineLoaded("m", 1.0)


@pytest.fixture
def noted():
    return []


@pytest.fixture
def interrupts(noted):
    found = Interrupts(lambda: noted.append("stop"))
    with found.caught():
        yield found


def press(number: signal.Signals = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("events", [[], [STARTED, LOADING]], ids=["planning", "loading"])
def test_where_nobody_asks_it_stops_at_once(interrupts, noted, events, number):
    for event in events:
        interrupts.hear(event)
    with pytest.raises(KeyboardInterrupt):
        press(number)
    assert interrupts.asked()
    assert noted == []


@pytest.mark.parametrize(
    "events", [[STARTED], [STARTED, LOADING, LOADED]], ids=["opening", "making"]
)
def test_where_the_run_asks_the_first_is_noted_and_the_second_stops(interrupts, noted, events):
    for event in events:
        interrupts.hear(event)
    assert not interrupts.asked()
    press()
    assert interrupts.asked()
    assert noted == ["stop"]
    with pytest.raises(KeyboardInterrupt):
        press()
    assert noted == ["stop"]


def test_afterwards_signals_go_where_they_went_before():
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts(lambda: None).caught():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
