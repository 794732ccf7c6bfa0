"""Leases on a real server, behind a proxy that loses answers, and in a folder."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from flows.store import leases as leases_module
from flows.store import words as words_module
from flows.store.address import open_cells
from flows.store.atomic import LockHeld
from flows.store.cells import CellChanged, Cells
from flows.store.folder_cells import FolderCells
from flows.store.judge import Judge, Verdict
from flows.store.leases import Lease
from flows.store.words import NOBODY, UNREADABLE, Words

from ..servers.faults import Answer, Hang, LoseAnswer
from .test_cells import cells_at, grow_hasty

NAME = "parents/a"
KEY = f"leases/{NAME}"
RENEW = 0.1


def never() -> bool:
    return False


def always() -> bool:
    return True


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(leases_module, "LOOK", 0.05)


@pytest.fixture(params=["local", "s3"])
def cells(request, tmp_path) -> Cells:
    where = tmp_path / "store"
    made = open_cells(
        where if request.param == "local" else request.getfixturevalue("s3_place").url
    )
    made.prepare()
    return made


@pytest.fixture
def beyond(faulty_place, faults) -> Cells:
    """By way of the proxy."""
    made = cells_at(faulty_place)
    made.prepare()
    faults.requests.clear()
    return made


@contextlib.contextmanager
def taken(cells: Cells, name: str = NAME, **changes) -> Iterator[Lease]:
    lease = Lease(cells, name, "w", **{"renew": RENEW, **changes})
    assert lease.take(never) is None
    try:
        yield lease
    finally:
        lease.free()


def told(cells: Cells, name: str = NAME) -> Words | None:
    held = cells.read(f"leases/{name}")
    return None if held is None else Words.parse(held.data)


def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_lease_is_taken_renewed_and_freed(cells):
    lease = Lease(cells, NAME, "worker 1", renew=RENEW)
    assert lease.take(never) is None
    first = told(cells)
    assert (first.holder, first.worker, first.pid) == (lease.id, "worker 1", os.getpid())
    assert (first.here, first.born) == (words_module.here(), words_module.born(os.getpid()))
    lease.made = 7
    until(lambda: told(cells).n > first.n + 2)
    seen = told(cells)
    assert seen == dataclasses.replace(first, n=seen.n, made=7)
    assert lease.sure(pytest.fail)
    assert not lease.lost
    assert lease.away_since is None
    lease.free()
    assert cells.list("leases/") == {}
    assert not lease.lost
    time.sleep(3 * RENEW)
    assert cells.list("leases/") == {}
    lease.free()  # again, harmless


def test_who_finds_a_living_lease_hears_whose_it_is(cells):
    with taken(cells) as lease:
        words = Lease(cells, NAME, "other").take(never)
        assert words.holder == lease.id
        with taken(cells, "parents/b"):
            assert {f"leases/parents/{name}" for name in "ab"} == set(cells.list("leases/"))
    with taken(cells) as again:
        assert again.id != lease.id


@pytest.mark.parametrize("left", [b"", b"{}"])
def test_what_was_emptied_is_free(cells, left):
    cells.write(KEY, left)
    with taken(cells) as lease:
        assert told(cells).holder == lease.id


@pytest.mark.parametrize("left", [b"[] ", b"torn {", b'{"holder": "x"}', b"\xff\xfe\xfd"])
def test_what_cannot_be_read_is_somebodys(cells, left):
    version = cells.write(KEY, left)
    assert Lease(cells, NAME, "w").take(never) == UNREADABLE
    assert cells.read(KEY).version == version


def test_of_eight_threads_one_gets_it(cells):
    leases = [Lease(cells, NAME, f"w{number}", renew=5.0) for number in range(8)]
    done, start = threading.Event(), threading.Barrier(8)
    answers: dict[str, Words | None] = {}

    def race(lease: Lease) -> None:
        start.wait(60)
        answers[lease.id] = lease.take(never)
        done.wait(60)
        lease.free()

    threads = [threading.Thread(target=race, args=(lease,)) for lease in leases]
    for thread in threads:
        thread.start()
    until(lambda: len(answers) == 8, 60)
    (winner,) = [one for one, words in answers.items() if words is None]
    assert {words.holder for words in answers.values() if words is not None} == {winner}
    done.set()
    for thread in threads:
        thread.join(60)
    assert cells.list("leases/") == {}


# Loss.


@pytest.mark.parametrize("how", ["taken over", "broken", "emptied"])
def test_a_stolen_lease_is_lost_and_stays_so(cells, how):
    lease = Lease(cells, NAME, "w", renew=RENEW)
    assert lease.take(never) is None
    while True:  # its holder renews it at the same time
        try:
            steal(cells, how)
            break
        except CellChanged:
            continue
    until(lambda: lease.lost)
    assert not lease.sure(pytest.fail)
    before = cells.list("leases/")
    lease.free()
    time.sleep(3 * RENEW)
    assert cells.list("leases/") == before  # another's is neither renewed nor freed


def steal(cells: Cells, how: str) -> None:
    held = cells.read(KEY)
    if how == "broken":
        cells.drop(KEY, held.version)
    elif how == "emptied":
        cells.write(KEY, b"{}", held.version)
    else:
        other = Words.of_this_process("other", 1, "w2", 0)
        cells.write(KEY, other.data(), held.version)


def test_who_asks_before_publishing_hears_of_a_loss_at_once(cells):
    lease = Lease(cells, NAME, "w", renew=60.0)
    assert lease.take(never) is None
    assert lease.sure(pytest.fail)
    steal(cells, "taken over")
    assert not lease.lost
    assert not lease.sure(pytest.fail)
    assert lease.lost
    lease.free()


def test_a_lease_ends_with_the_thread_that_took_it(cells):
    lease = Lease(cells, NAME, "w", renew=RENEW)
    thread = threading.Thread(target=lease.take, args=(never,))
    thread.start()
    thread.join(60)
    time.sleep(2 * RENEW)
    version = cells.read(KEY).version
    time.sleep(4 * RENEW)
    assert cells.read(KEY).version == version
    lease.free()


# Answers that do not come.


@pytest.mark.parametrize("emptied", [False, True])
def test_taking_and_freeing_settle_a_lost_answer(beyond, faults, emptied):
    if emptied:
        beyond.write(KEY, b"{}")
        faults.harm(Answer(412, "PreconditionFailed"), "PUT")  # so that the next names a version
    faults.harm(LoseAnswer(), "PUT")
    with taken(beyond) as lease:
        assert told(beyond).holder == lease.id
        assert lease.sure(pytest.fail)
        faults.harm(LoseAnswer(), "DELETE")
    assert len(faults.harmed()) == 2 + emptied
    assert beyond.list("leases/") == {}
    assert not lease.lost


def test_a_renewal_whose_answer_was_lost_is_settled(beyond, faults):
    with taken(beyond) as lease:
        for fault in (LoseAnswer(), LoseAnswer(), Answer(503, "SlowDown"), Answer(403, "No")):
            faults.requests.clear()
            faults.harm(fault, "PUT")
            until(faults.harmed)
            n = told(beyond).n
            until(lambda seen=n: told(beyond).n > seen)
            assert not lease.lost
        until(lambda: lease.away_since is None)
        assert lease.sure(pytest.fail)
    assert beyond.list("leases/") == {}


def test_a_store_that_hangs_is_told_and_nobodys_death(beyond, faults):
    grow_hasty(beyond)
    with taken(beyond) as lease:
        before = time.monotonic()
        faults.harm(Hang(), times=None)
        until(lambda: lease.away_since is not None)
        since = lease.away_since
        assert before - 5 < since <= time.monotonic()
        time.sleep(2.0)
        assert lease.away_since == since
        assert not lease.lost
        faults.heal()
        until(lambda: lease.away_since is None)
        assert lease.sure(pytest.fail)


def test_what_can_be_read_and_not_renewed_counts_as_away(beyond, faults):
    """To a judge it is silence."""
    with taken(beyond) as lease:
        faults.harm(Answer(403, "AccessDenied"), "PUT", times=None)
        until(lambda: lease.away_since is not None)
        assert not lease.lost
        faults.heal()
        until(lambda: lease.away_since is None)


def test_freeing_ends_after_four_tries(beyond, faults):
    lease = Lease(beyond, NAME, "w", renew=RENEW)
    assert lease.take(never) is None
    faults.harm(Answer(503, "SlowDown"), "DELETE", times=None)
    lease.free()
    assert len([one for one in faults.harmed() if one.method == "DELETE"]) == 4
    faults.heal()
    assert told(beyond).holder == lease.id  # for a judge


def test_freeing_is_quick_when_the_answer_to_the_last_renewal_was_lost(beyond, faults):
    """The version it knows is an old one then."""
    lease = Lease(beyond, NAME, "w", renew=RENEW)
    assert lease.take(never) is None
    faults.harm(LoseAnswer(), "PUT")
    faults.harm(Answer(503, "SlowDown"), "GET")
    until(lambda: len(faults.harmed()) == 2)
    lease.free()
    assert beyond.list("leases/") == {}


def test_while_the_store_is_away_publishing_waits(beyond, faults):
    with taken(beyond) as lease:
        faults.harm(Answer(503, "SlowDown"), "GET", times=None)
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                faults.heal()

        assert lease.sure(pause)
        assert pauses == [leases_module.LOOK] * 3

        def stop(seconds: float) -> None:
            raise InterruptedError

        faults.harm(Answer(503, "SlowDown"), "GET", times=None)
        with pytest.raises(InterruptedError):
            lease.sure(stop)
        faults.heal()


def test_while_the_store_is_away_taking_waits_or_stops(beyond, faults):
    faults.harm(Answer(503, "SlowDown"), times=None)
    assert Lease(beyond, NAME, "w").take(always) == NOBODY
    waiting = Lease(beyond, NAME, "w", renew=RENEW)
    asked = []

    def after_five() -> bool:
        asked.append(1)
        if len(asked) == 5:
            faults.heal()
        return False

    assert waiting.take(after_five) is None
    assert len(asked) >= 5
    waiting.free()


def test_a_lease_survives_whatever_its_cells_raise(tmp_path, caplog):
    cells = open_cells(tmp_path)
    with taken(cells) as lease:
        write = cells.write

        def broken(*arguments):
            raise RuntimeError("not foreseen")

        cells.write = broken
        until(lambda: lease.away_since is not None)
        cells.write = write
        until(lambda: lease.away_since is None)
    assert "not foreseen" in caplog.text


# Other processes.

HOLD = textwrap.dedent("""
    import sys
    import time
    from flows.store.address import open_cells
    from flows.store.leases import Lease
    cells = open_cells(sys.argv[1])
    lease = Lease(cells, "parents/a", "far", renew=0.1)
    assert lease.take(lambda: False) is None
    print(lease.id, flush=True)
    sys.stdin.read()
    end = time.monotonic() + 30
    while not lease.lost and time.monotonic() < end:
        time.sleep(0.05)
    print(lease.lost, flush=True)
""")


@contextlib.contextmanager
def holder(where: str) -> Iterator[tuple[subprocess.Popen, str]]:
    argv = [sys.executable, "-c", HOLD, where]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()
            process.send_signal(signal.SIGCONT)


def stop(process: subprocess.Popen, cells: Cells) -> None:
    """Anywhere but with a folder's lock in hand: that is another test's."""
    while True:
        process.send_signal(signal.SIGSTOP)
        until(lambda: words_module._stat(process.pid)[0] == "T")
        if not isinstance(cells, FolderCells):
            return
        with contextlib.suppress(LockHeld), cells._locked(0.0):
            return
        process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("reaped", [True, False], ids=["reaped", "zombie"])
def test_a_killed_holder_of_this_machine_is_replaced_at_once(cells, reaped):
    with holder(cells.where) as (process, its_id):
        assert Lease(cells, NAME, "w").take(never).holder == its_id
        process.kill()
        if reaped:
            process.wait(60)
        else:
            until(lambda: words_module._stat(process.pid)[0] == "Z")
        until(lambda: told(cells).is_dead)  # its threads end one after the other
        with taken(cells) as lease:
            assert told(cells).holder == lease.id


def test_a_stopped_holder_is_not_dead_and_learns_that_it_was_replaced(cells):
    with holder(cells.where) as (process, its_id):
        stop(process, cells)
        words = Lease(cells, NAME, "w").take(never)
        assert words.holder == its_id
        assert not words.is_dead
        judge = Judge(cells, quiet=0.5, overdue=0.1, gap=5.0)
        until(lambda: judge.lease(NAME, cells.list("leases/"), 1, 10.0) is Verdict.BROKEN)
        assert judge.broken[NAME].holder == its_id
        with taken(cells) as lease:
            process.send_signal(signal.SIGCONT)
            process.stdin.close()
            assert process.stdout.readline() == "True\n"
            assert told(cells).holder == lease.id


def test_a_killed_holder_is_broken_by_a_judge_long_before_it_is_quiet(cells):
    with holder(cells.where) as (process, its_id):
        process.kill()
        process.wait(60)
        judge = Judge(cells, quiet=600.0, overdue=0.3, gap=60.0)
        until(lambda: judge.lease(NAME, cells.list("leases/"), 1, 10.0) is Verdict.BROKEN)
        assert judge.broken[NAME].holder == its_id


# Proof of death.


def said(**changes) -> Words:
    return dataclasses.replace(Words.of_this_process("x", 1, "w", 0), **changes)


@pytest.fixture
def ended() -> int:
    """The number of a process that is over."""
    with subprocess.Popen(["true"]) as process:
        process.wait(60)
    return process.pid


def test_words_are_read_as_they_were_said():
    words = said(made=3, here=("a", "b", "c"), born=None)
    assert Words.parse(words.data()) == words
    assert Words.parse(words.data()[:-1] + b', "later": 1}') == words  # a newer version's


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b"[" * 100_000, said().data()[:-2], b'{"holder": 7}']
    + [said().data().replace(b'"n": 1', bad) for bad in (b'"n": true', b'"n": "1"', b'"m": 1')],
)
def test_anything_else_says_nothing(data):
    assert Words.parse(data) is None


def test_a_living_process_is_not_dead(ended):
    assert not said().is_dead
    assert said(pid=ended).is_dead
    assert said(born="1").is_dead  # its number was given again
    assert not said(pid=os.getppid(), born=None).is_dead


@pytest.mark.parametrize("place", range(3))
def test_of_another_machine_boot_or_container_nothing_is_proven(ended, place):
    here = list(words_module.here())
    here[place] = "another"
    assert not said(pid=ended, here=tuple(here)).is_dead


def test_where_a_process_is_cannot_be_told_nothing_is_proven(ended, monkeypatch):
    monkeypatch.setattr(words_module, "here", lambda: ())
    assert not said(pid=ended, here=()).is_dead


@pytest.mark.parametrize("number", [0, -1, 2**70])
def test_a_number_that_is_nobodys_proves_nothing(number):
    assert not said(pid=number).is_dead


def test_another_users_process_behind_a_hidden_proc_is_not_dead(monkeypatch):
    def denied(pid, number):
        raise PermissionError

    monkeypatch.setattr(os, "kill", denied)
    monkeypatch.setattr(words_module, "_stat", lambda pid: None)
    assert not said().is_dead


def test_a_process_whose_first_thread_is_over_lives(monkeypatch):
    mine = said()
    monkeypatch.setattr(words_module, "_stat", lambda pid: ("Z", mine.born))
    done = threading.Event()
    thread = threading.Thread(target=done.wait, args=(60,))
    thread.start()
    assert not mine.is_dead
    done.set()
    thread.join()
    monkeypatch.setattr(words_module, "_has_threads", lambda pid: False)
    assert mine.is_dead
