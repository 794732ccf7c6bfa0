"""Who conducts a store: one at a time, whatever sleeps or dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.coordination import seat as module
from flows.coordination.seat import NAME, Seat
from flows.store.folder import LocalObjects


class Clock:
    """Both seats' time; ``wait`` passes it, and gives up after ``looks``."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def waiting(self, looks: int):
        left = looks

        def wait(seconds: float) -> bool:
            nonlocal left
            self.now += seconds
            left -= 1
            return left <= 0

        return wait


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def objects(tmp_path) -> LocalObjects:
    return LocalObjects(tmp_path)


@pytest.fixture
def seat(objects, clock):
    """Seats that renew only when a test says so."""
    made = []

    def make(name: str) -> Seat:
        one = Seat(objects, name, lease=1000.0, clock=clock)
        made.append(one)
        return one

    yield make
    for one in made:
        one.leave()


def test_one_sits_and_the_other_waits(seat, clock, objects):
    first, second = seat("first"), seat("second")
    assert first.take(clock.waiting(5))
    assert not second.take(clock.waiting(5))
    first.leave()
    assert second.take(clock.waiting(5))
    assert json.loads(objects.get(NAME).data)["name"] == "second"


def test_a_silent_one_is_replaced_after_its_lease(seat, clock):
    first, second = seat("first"), seat("second")
    assert first.take(clock.waiting(5))
    began = clock.now
    assert second.take(clock.waiting(5000))
    assert 1000 < clock.now - began < 1010
    assert second.held
    assert not first.held


def test_one_that_renews_is_not_replaced(seat, clock):
    first, second = seat("first"), seat("second")
    assert first.take(clock.waiting(5))
    for _ in range(5):
        assert not second.take(clock.waiting(400))
        assert first._write_again()


def test_renewing_does_not_overwrite_another(seat, clock, objects, monkeypatch):
    first, second = seat("first"), seat("second")
    assert first.take(clock.waiting(5))
    look = Seat._look

    def look_and_sleep(self):
        found = look(self)
        if self is first:  # while it sleeps, the other takes over
            monkeypatch.setattr(Seat, "_look", look)
            assert second.take(clock.waiting(5000))
        return found

    monkeypatch.setattr(Seat, "_look", look_and_sleep)
    assert not first._write_again()
    assert json.loads(objects.get(NAME).data)["name"] == "second"


def test_the_moment_of_renewing_is_no_vacancy(seat, clock, objects, monkeypatch):
    first, second = seat("first"), seat("second")
    assert first.take(clock.waiting(5))
    create = objects.create

    def slow_create(name, data):
        if b'"first"' in data:
            assert not second.take(clock.waiting(1))  # it looks just now
        return create(name, data)

    monkeypatch.setattr(objects, "create", slow_create)
    assert first._write_again()


def test_a_dead_process_of_this_machine_is_replaced_at_once(seat, clock, objects):
    script = (
        "import os, sys, pathlib\n"
        "from flows.coordination.seat import Seat\n"
        "from flows.store.folder import LocalObjects\n"
        "one = Seat(LocalObjects(pathlib.Path(sys.argv[1])), 'dead', lease=1000.0)\n"
        "assert one.take(lambda seconds: False)\n"
        "os._exit(0)\n"
    )
    given = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    subprocess.run([sys.executable, "-c", script, objects.where], env=given, check=True)
    assert json.loads(objects.get(NAME).data)["name"] == "dead"
    if module.this_machine() is None:
        pytest.skip("this system does not tell which machine it is")
    second = seat("second")
    assert second.take(clock.waiting(3))


def test_what_cannot_be_read_expires(seat, clock, objects):
    objects.create(NAME, b"\xff nothing")
    second = seat("second")
    assert not second.take(clock.waiting(10))
    assert second.take(clock.waiting(5000))


def test_one_that_takes_its_own_seat_again_renews_it_once(seat, clock):
    one = seat("first")
    assert one.take(clock.waiting(5))
    before = one._thread
    clock.now += 600  # a stall; nobody else is there
    assert not one.held
    assert one.take(clock.waiting(5))
    assert one.held
    assert not before.is_alive()
    assert one._thread.is_alive()
    one.leave()
    assert one._thread is None
