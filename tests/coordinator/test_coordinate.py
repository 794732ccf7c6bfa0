"""What ends a coordinator, and what it only waits for."""

from __future__ import annotations

import contextlib
import threading

import pytest

from flows import coordinator
from flows.coordination.seat import Seat
from flows.coordinator import CoordinatorOptions, coordinate
from flows.settings import load_settings
from flows.store.base import StoreError, StoreReadOnly


@pytest.fixture
def options(tmp_path, monkeypatch):
    monkeypatch.setattr(coordinator, "open_api", lambda: contextlib.nullcontext(object()))
    settings = load_settings().given(store=str(tmp_path / "out"))
    return CoordinatorOptions(settings, str(tmp_path), "tester")


def test_no_right_to_write_the_seat_ends_it(options, monkeypatch):
    def refused(self, wait):
        raise StoreReadOnly("coordinator.json cannot be written")

    monkeypatch.setattr(Seat, "take", refused)
    stop = threading.Event()
    threading.Timer(30.0, stop.set).start()  # only so that a failing test ends
    with pytest.raises(StoreReadOnly, match=r"coordinator\.json"):
        coordinate(options, stop)


def test_a_store_that_is_away_is_waited_for(options, monkeypatch):
    stop, tries = threading.Event(), []

    def away(self, wait):
        tries.append(1)
        if len(tries) == 2:
            stop.set()
        raise StoreError("away")

    monkeypatch.setattr(Seat, "take", away)
    coordinate(options, stop)
    assert len(tries) == 2
