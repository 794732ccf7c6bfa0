"""Claims and the clean-up's lock: either a run sees the lock, or the clean-up sees the claim."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time

import pytest

from flows.store import claims as claims_module
from flows.store import lock as lock_module
from flows.store.base import StoreReadOnly
from flows.store.claims import claim, read_claims
from flows.store.folder import LocalObjects
from flows.store.lock import LOCK, CollectorBusy, GcLock, HomeClock, look

from .batch import age, names
from .samples import digest

KEYS = [digest("a"), digest("b")]
RUN = "2026-01-02-autumn-0123abcd"


@pytest.fixture
def objects(tmp_path):
    return LocalObjects(tmp_path / "out")


def hold(objects, **changes):
    return claim(objects, run=RUN, plan=digest("plan"), keys=KEYS, **({"poll": 0.01} | changes))


def foreign_lock(objects, **changes) -> None:
    """A lock that a process of another machine holds."""
    body = {"id": "theirs", "lease": 300.0, "host": "elsewhere", "pid": 1}
    assert objects.create(LOCK, json.dumps(body | changes).encode())


def test_a_claim_is_there_before_the_run_goes_on_and_gone_after_it(objects):
    with hold(objects):
        (found,), unreadable = read_claims(objects)
        assert (found.run, found.plan, found.keys) == (RUN, digest("plan"), frozenset(KEYS))
        assert unreadable == []
    assert read_claims(objects) == ([], [])


def test_a_claim_goes_when_the_run_fails(objects):
    with pytest.raises(RuntimeError, match="no model"), hold(objects):
        raise RuntimeError("no model")
    assert names(objects, "claims/") == set()


def test_a_claim_is_renewed_and_comes_back_when_somebody_took_it(objects):
    with hold(objects, every=0.02):
        ((first,), _) = read_claims(objects)
        age(objects, first.name)
        until(lambda: objects.stat(first.name).modified > first.renewed)
        objects.remove(first.name)
        until(lambda: read_claims(objects)[0])
        assert read_claims(objects)[0][0].keys == frozenset(KEYS)


def until(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "never came"
        time.sleep(0.005)


def test_a_renewal_that_fails_is_tried_again(objects, monkeypatch):
    failures = []
    touch = LocalObjects.touch

    def fail_twice(self, name):
        if len(failures) < 2:
            failures.append(name)
            raise StoreReadOnly("gone for a moment")
        return touch(self, name)

    monkeypatch.setattr(LocalObjects, "touch", fail_twice)
    with hold(objects, every=0.02):
        ((first,), _) = read_claims(objects)
        age(objects, first.name)
        until(lambda: objects.stat(first.name).modified > first.renewed)
    assert len(failures) == 2


def test_a_run_that_was_asleep_is_told_so(objects, monkeypatch):
    monkeypatch.setattr(claims_module, "ASLEEP", 0.0)
    touched = LocalObjects.touch
    monkeypatch.setattr(
        LocalObjects, "touch", lambda self, name: time.sleep(0.2) or touched(self, name)
    )
    said = []
    with hold(objects, every=0.02, say=said.append):
        until(lambda: said)
    assert "run again when it ends: whatever went is made again" in said[0]


def test_a_store_that_cannot_be_written_has_no_claim_and_no_failure(objects, monkeypatch):
    def refuse(self, name, data):
        raise StoreReadOnly("read-only")

    monkeypatch.setattr(LocalObjects, "create", refuse)
    with hold(objects):
        assert names(objects) == set()


def killed_while_it_holds(root, held) -> None:
    with hold(LocalObjects(root)):
        held.set()
        time.sleep(600)


def test_a_killed_runs_claim_stays_until_it_is_old(objects):
    context = multiprocessing.get_context("fork")
    held = context.Event()
    run = context.Process(target=killed_while_it_holds, args=(objects.root, held))
    run.start()
    assert held.wait(60)
    os.kill(run.pid, signal.SIGKILL)
    run.join()
    assert run.exitcode == -signal.SIGKILL
    assert [found.run for found in read_claims(objects)[0]] == [RUN]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"schema": "kontext.claim"}',
        b'{"schema": "other"}',
        b"[" * 100_000,
        json.dumps({"schema": "kontext.claim", "run": RUN, "plan": "p", "keys": ["x"]}).encode(),
    ],
    ids=["empty", "list", "bare", "other", "deep", "no digest"],
)
def test_a_claim_that_cannot_be_read_is_told_apart(objects, data):
    objects.create("claims/x.json", data)
    found, unreadable = read_claims(objects)
    assert found == []
    assert [name for name, _, _ in unreadable] == ["claims/x.json"]


def test_a_run_waits_for_the_lock_and_goes_on_when_it_goes(objects):
    said, went = [], threading.Event()

    def run():
        with hold(objects, say=said.append):
            went.set()

    with GcLock(objects):
        thread = threading.Thread(target=run)
        thread.start()
        until(lambda: said)
        assert names(objects, "claims/"), "announced before it waits"
        assert not went.wait(0.1)
    assert went.wait(30)
    thread.join()
    assert f"a clean-up is under way (process {os.getpid()} of this machine); waiting" in said[0]


def test_a_run_does_not_wait_for_a_lock_taken_after_its_claim(objects):
    said, went = [], threading.Event()
    foreign_lock(objects)

    def run():
        with hold(objects, say=said.append):
            went.set()

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: said)
    objects.replace(LOCK, b'{"id": "the next slice", "lease": 300, "host": "elsewhere", "pid": 1}')
    assert went.wait(30)
    thread.join()


@pytest.mark.parametrize("data", [b"torn", b"{}"])
def test_a_lock_that_cannot_be_read_is_held_until_it_is_old(objects, data):
    objects.create(LOCK, data)
    assert look(objects).held(HomeClock.probe(objects).now())
    age(objects, LOCK, lock_module.LEASE + 5)
    with hold(objects):
        assert look(objects) is not None


def test_an_expired_lock_and_that_of_a_dead_process_hold_nobody_up(objects):
    foreign_lock(objects)
    age(objects, LOCK, 301)
    with hold(objects, say=pytest.fail):
        pass
    objects.remove(LOCK)
    context = multiprocessing.get_context("fork")
    taker = context.Process(target=take_and_die, args=(objects.root,))
    taker.start()
    taker.join()
    assert names(objects) == {LOCK}
    with hold(objects, say=pytest.fail), GcLock(objects):
        pass


def take_and_die(root) -> None:
    GcLock(LocalObjects(root)).__enter__()
    os._exit(0)


def test_the_lock_admits_one(objects):
    with GcLock(objects) as first:
        assert first.safe()
        with pytest.raises(CollectorBusy, match="another clean-up is under way"), GcLock(objects):
            pass
        assert first.safe()
    assert names(objects) == set()
    with GcLock(objects):
        pass


def test_an_expired_lock_is_taken_over_once(objects):
    foreign_lock(objects)
    age(objects, LOCK, 301)
    taken, refused, barrier = [], [], threading.Barrier(4)

    def take():
        barrier.wait()
        try:
            with GcLock(objects) as lock:
                taken.append(lock)
                until(lambda: len(taken) + len(refused) == 4)  # it is held until all have asked
        except CollectorBusy as busy:
            refused.append(busy)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1


def test_a_lock_that_somebody_took_away_is_not_safe_and_not_released(objects):
    with GcLock(objects, lease=0.2) as lock:
        objects.remove(LOCK)
        foreign_lock(objects)
        until(lambda: not lock.safe())
    assert look(objects).id == "theirs"


def test_a_lock_is_renewed_while_it_is_held(objects):
    with GcLock(objects, lease=4.0) as lock:
        first = objects.stat(LOCK).modified
        until(lambda: objects.stat(LOCK).modified > first)
        assert lock.safe()


def test_a_lock_that_could_not_be_renewed_is_not_safe_before_it_expires(objects, monkeypatch):
    def refuse(self, name):
        raise StoreReadOnly("gone")

    monkeypatch.setattr(LocalObjects, "touch", refuse)
    with GcLock(objects, lease=4.0) as lock:
        until(lambda: not lock.safe())
        assert look(objects).held(HomeClock.probe(objects).now())


def test_the_homes_clock_counts(objects, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)  # this machine's own clock is not asked
    clock = HomeClock.probe(objects)
    assert names(objects) == set()
    first = clock.now()
    assert first > 1_700_000_000
    assert clock.now() >= first
