"""What every store must keep (contract 2)."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows.store.address import open_store as open_at
from flows.store.base import FailureNote, StoreUnfit
from flows.store.keyed import KeyedStore

from .conftest import only_with_conditions
from .samples import digest, make_record

WRITERS = 8
ROUNDS = 20


def test_nothing_is_done_in_a_new_store(store):
    assert store.find(digest("a")) is None
    assert not store.has(digest("a"))
    assert store.last_failure(digest("a")) is None


def test_preparing_leaves_nothing_behind_and_may_be_repeated(open_store):
    for _ in range(2):
        open_store().prepare()
    assert list(open_store().sample(9)) == []
    record = make_record(digest("a"), b"picture")
    open_store().put(record, b"picture")
    open_store().prepare()
    assert list(open_store().sample(9)) == [record]


def test_a_sample_is_as_small_as_asked(store):
    made = [make_record(digest(name), b"same") for name in "abc"]
    for record in made:
        store.put(record, b"same")
    assert list(store.sample(0)) == []
    assert len({record.key for record in store.sample(2)}) == 2
    assert {record.key for record in store.sample(9)} == {record.key for record in made}


def test_what_is_put_is_found_by_another_process(open_store):
    record = make_record(digest("a"), b"picture")
    assert open_store().put(record, b"picture") == record
    again = open_store()
    assert again.has(record.key)
    assert again.find(record.key) == record
    assert again.read(record) == b"picture"


def test_the_second_writer_gets_the_winners_record_and_blob(open_store):
    first = make_record(digest("a"), b"first")
    second = make_record(digest("a"), b"second", seconds=9.0)
    open_store().put(first, b"first")
    held = open_store().put(second, b"second")
    assert held == first
    assert open_store().read(held) == b"first"
    assert open_store().find(first.key) == first


def test_one_blob_may_serve_two_keys(store):
    for name in ("a", "b"):
        store.put(make_record(digest(name), b"same"), b"same")
    assert store.find(digest("a")).blob == store.find(digest("b")).blob


def test_a_record_must_name_its_blob(store):
    with pytest.raises(ValueError, match="does not name the blob"):
        store.put(make_record(digest("a"), b"one"), b"other")
    assert store.find(digest("a")) is None


@pytest.mark.parametrize("key", ["../../etc/passwd", "", "A" * 64, digest("a")[:63]])
def test_only_digests_are_names(store, key):
    with pytest.raises(ValueError, match="expected a SHA-256"):
        store.find(key)


def test_failures_never_stand_in_the_way_of_done(store):
    def note(reason):
        return FailureNote(digest("a"), "beach", reason, 3, "2026-01-02T03:04:05+00:00", "x 1")

    store.note_failure(note("out of memory"))
    store.note_failure(note("broken picture"))
    assert store.last_failure(digest("a")).reason == "broken picture"
    assert store.find(digest("a")) is None
    record = make_record(digest("a"), b"picture")
    assert store.put(record, b"picture") == record


def test_a_server_that_ignores_conditions_is_refused_unless_told_otherwise(careless_place):
    """Nothing is written there: a record may be the proof of a picture that another one holds."""
    store = KeyedStore(careless_place.objects())
    for ask in (store.prepare, lambda: store.put(make_record(digest("a"), b"x"), b"x")):
        with pytest.raises(StoreUnfit, match="ignores the condition of a write"):
            ask()
    assert list(store.objects.list("records/")) == list(store.objects.list("blobs/")) == []


def _race(where: str, environment, name: str, barrier, results) -> None:
    os.environ.update(environment)  # whom they were forked from knows no credentials of this test
    store = open_at(where)
    for turn in range(ROUNDS):
        blob = f"{name} in round {turn}".encode() * 500
        record = make_record(digest(f"round {turn}"), blob, label=name)
        barrier.wait(120)
        held = store.put(record, blob)
        results.put((turn, name, held.label, store.read(held).split()[0].decode()))


@only_with_conditions
def test_of_eight_writers_one_wins_and_all_hold_its_blob(home):
    # Each a process of its own, forked from one that has loaded all and holds no threads.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "boto3"])
    barrier, results = context.Barrier(WRITERS), context.Queue()
    names = [f"writer{number}" for number in range(WRITERS)]
    writers = [
        context.Process(target=_race, args=(home.where, dict(os.environ), name, barrier, results))
        for name in names
    ]
    for writer in writers:
        writer.start()
    rows = [results.get(timeout=120) for _ in range(WRITERS * ROUNDS)]
    for writer in writers:
        writer.join(60)
    store = open_at(home.where)
    winners = set()
    for turn in range(ROUNDS):
        held = {(winner, blob) for number, _, winner, blob in rows if number == turn}
        assert len(held) == 1, f"round {turn}: {held}"
        ((winner, blob),) = held
        assert winner == blob == store.find(digest(f"round {turn}")).label
        winners.add(winner)
    assert len(winners) > 1  # it was a race


@pytest.mark.parametrize("home", ["careless"], indirect=True)
def test_without_conditions_writers_at_once_still_leave_nothing_torn(home):
    """Several may be told that they won; whichever record stays, its own picture is there."""

    def write(name: str) -> bytes:
        store = open_at(home.where)
        return store.read(store.put(make_record(digest("a"), name.encode()), name.encode()))

    with ThreadPoolExecutor(WRITERS) as pool:
        names = [f"writer{number}" for number in range(WRITERS)]
        told = list(pool.map(write, names))
    store = open_at(home.where)
    assert store.read(store.find(digest("a"))) in told
    assert {picture.decode() for picture in told} <= set(names)


PUT_FOR_EVER = textwrap.dedent("""
    import itertools, sys
    from pathlib import Path
    tests = Path(sys.argv[1])
    sys.path[:0] = [str(tests), str(tests.parent)]
    from flows.store.address import open_store
    from store.samples import digest, make_record
    store = open_store(sys.argv[2])
    for number in itertools.count():
        blob = str(number).encode() * 40_000
        store.put(make_record(digest(str(number)), blob), blob)
        print(number, flush=True)
""")


@pytest.mark.parametrize(
    ("home", "moment"),
    [("local", 0), ("local", 1), ("local", 2), ("local", 3), ("s3", 0), ("s3", 3)],
    indirect=["home"],
)
def test_a_kill_in_the_middle_of_a_put_leaves_nothing_half_done(home, moment):
    """Killed at some point of its write loop: all acknowledged keys hold, no later one is torn."""
    argv = [sys.executable, "-c", PUT_FOR_EVER, str(Path(__file__).parents[1]), home.where]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
        for _ in range(5 + moment):
            line = writer.stdout.readline()
        time.sleep(0.0007 * moment)
        os.kill(writer.pid, signal.SIGKILL)
        told = [int(line), *map(int, writer.stdout.read().split())]
    store = open_at(home.where)
    for number in range(max(told) + 1):
        blob = str(number).encode() * 40_000
        assert store.read(store.find(digest(str(number)))) == blob
    later = max(told) + 1  # may or may not have been finished; never half
    record = make_record(digest(str(later)), str(later).encode() * 40_000)
    held = store.put(record, str(later).encode() * 40_000)
    assert store.read(held) == str(later).encode() * 40_000
