"""A judge goes by its own clock and by what it saw itself, look by look."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from flows.store.base import StoreAway
from flows.store.cells import CellChanged, Sight
from flows.store.judge import Judge, Verdict
from flows.store.objects import Held
from flows.store.words import GAP, OVERDUE, QUIET, RENEW, Words

NAME = "parents/a"
KEY = f"leases/{NAME}"
AWAY = StoreAway("s3://b: no answer")
FOREIGN = Words("f" * 32, 1, "far", 7, "1", ("another", "machine", "pid:[1]"), 0)


@dataclass
class Shelf:
    """Cells in memory. ``silent`` calls get no answer, and are done all the same if ``lost``."""

    things: dict[str, Held] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    lost: bool = False
    asked: list[str] = field(default_factory=list)
    where: str = "shelf"
    turn: int = 0

    def prepare(self) -> None:
        pass

    def read(self, name: str) -> Held | None:
        self._ask("read")
        return self.things.get(name)

    def write(self, name: str, data: bytes, version: str | None = None) -> str:
        self._ask("write")
        self._compare(name, version)
        self.turn += 1
        self.things[name] = Held(data, f"v{self.turn}")
        return f"v{self.turn}"

    def drop(self, name: str, version: str) -> None:
        if "drop" not in self.silent or self.lost:
            self._compare(name, version)
            del self.things[name]
        self._ask("drop")

    def list(self, prefix: str) -> dict[str, Sight]:
        self._ask("list")
        return {
            name: Sight(held.version, len(held.data))
            for name, held in self.things.items()
            if name.startswith(prefix)
        }

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if what in self.silent:
            raise AWAY

    def _compare(self, name: str, version: str | None) -> None:
        held = self.things.get(name)
        if (held and held.version) != version:
            raise CellChanged(name)


class Town:
    """A shelf, a clock, and a judge that looks."""

    def __init__(self, **changes) -> None:
        self.shelf = Shelf()
        self.now = 1000.0
        self.judge = Judge(self.shelf, clock=lambda: self.now, **changes)
        self.state: object = "state 1"

    def say(self, data: bytes | None = None) -> None:
        held = self.shelf.things.get(KEY)
        words = FOREIGN.data() if data is None else data
        self.shelf.write(KEY, words, held and held.version)

    def look(self, after: float = 0.0, patience: float = 10.0) -> Verdict:
        self.now += after
        return self.judge.lease(NAME, self.shelf.list("leases/"), self.state, patience)

    def looks(self, *afters: float, patience: float = 10.0) -> list[Verdict]:
        return [self.look(after, patience) for after in afters]


@pytest.fixture
def town() -> Town:
    return Town()


def test_a_lease_is_broken_once_it_stood_still_for_longer_than_quiet(town):
    town.say()
    assert town.looks(0, 10, 10, 10, 10, 5) == [Verdict.HELD] * 6  # 45 s exactly
    assert town.look(0.1) is Verdict.BROKEN
    assert town.shelf.things == {}
    assert town.judge.broken == {NAME: FOREIGN}
    assert town.look(3) is Verdict.FREE


def test_whatever_its_holder_says_starts_the_count_again(town):
    town.say()
    for _ in range(5):
        assert set(town.looks(0, 10, 10, 10, 10, 5)) == {Verdict.HELD}
        town.say()
    assert town.judge.broken == {}


@pytest.mark.parametrize("gap", [20.1, 100.0, 10_000.0])
def test_who_did_not_watch_has_seen_nothing(town, gap):
    town.say()
    town.looks(0, 10, 10, 10, 10)
    assert town.look(gap) is Verdict.HELD
    assert town.looks(20, 20) == [Verdict.HELD] * 2
    assert town.look(5.1) is Verdict.BROKEN


def test_a_look_without_an_answer_starts_the_count_again(town):
    town.say()
    town.looks(0, 20, 20)
    town.judge.forget()
    assert town.looks(5.1, 20, 20, 5) == [Verdict.HELD] * 4
    assert town.look(0.1) is Verdict.BROKEN


@pytest.mark.parametrize("what", ["read", "drop"])
def test_a_store_that_is_away_when_the_lease_is_due_breaks_nothing(town, what):
    town.say()
    town.looks(0, 20, 20)
    town.shelf.silent = {what}
    with pytest.raises(StoreAway):
        town.look(10)
    town.shelf.silent = set()
    assert KEY in town.shelf.things
    assert town.judge.broken == {}
    assert town.looks(1, 20, 20, 5) == [Verdict.HELD] * 4
    assert town.look(1) is Verdict.BROKEN


def test_a_break_whose_answer_was_lost_is_settled_by_reading(town):
    town.say()
    town.looks(0, 20, 20)
    town.shelf.silent, town.shelf.lost = {"drop"}, True
    assert town.look(10) is Verdict.BROKEN
    assert town.judge.broken == {NAME: FOREIGN}


def test_a_lease_that_moves_between_look_and_break_is_held(town):
    town.say()
    town.looks(0, 20, 20)
    sights = town.shelf.list("leases/")
    town.say()
    town.now += 10
    assert town.judge.lease(NAME, sights, town.state, 10.0) is Verdict.HELD
    read = town.shelf.read

    def late(name):
        held = read(name)
        town.say()
        return held

    town.looks(0, 20, 20)
    town.shelf.read = late
    assert town.look(10) is Verdict.HELD
    assert town.judge.broken == {}


def test_proof_of_death_spares_the_wait_but_not_all_of_it(town, monkeypatch):
    monkeypatch.setattr(Words, "is_dead", property(lambda self: True))
    town.say()
    assert town.looks(0, 10, 5) == [Verdict.HELD] * 3
    assert "read" not in town.shelf.asked
    assert town.look(0.1) is Verdict.BROKEN


def test_without_proof_a_lease_is_looked_into_and_left(town):
    town.say()
    town.looks(0, 10, 5, 0.1, 10)
    assert town.shelf.asked.count("read") == 2
    assert KEY in town.shelf.things


def test_garbage_is_somebodys_until_it_is_quiet(town):
    town.say(b"from a newer version")
    assert set(town.looks(0, 20, 20, 5)) == {Verdict.HELD}
    assert town.look(0.1) is Verdict.BROKEN
    assert town.judge.broken[NAME].holder == "?"


@pytest.mark.parametrize("words", [None, b"{}", b""], ids=["absent", "emptied", "empty"])
@pytest.mark.parametrize("patience", [10.0, 45.0])
def test_a_free_name_is_quiet_when_its_runs_state_stands_still(town, words, patience):
    if words is not None:
        town.say(words)
    steps = [0.0, *[5.0] * int(patience / 5)]
    assert town.looks(*steps, patience=patience) == [Verdict.FREE] * len(steps)
    assert town.look(0.1, patience) is Verdict.QUIET
    town.state = "state 2"
    assert town.looks(*steps, patience=patience) == [Verdict.FREE] * len(steps)
    assert town.look(0.1, patience) is Verdict.QUIET
    town.say()
    assert town.look(1, patience) is Verdict.HELD


def test_names_are_judged_apart(town):
    town.say()
    other, version = "chunks/a/1", None
    for told in [*[Verdict.HELD] * 5, Verdict.BROKEN]:
        version = town.shelf.write(f"leases/{other}", b"somebody's", version)
        sights = town.shelf.list("leases/")
        assert town.judge.lease(NAME, sights, 1, 10.0) is told
        assert town.judge.lease(other, sights, 1, 10.0) is Verdict.HELD
        town.now += 10
    assert set(town.shelf.things) == {f"leases/{other}"}


def test_what_is_not_looked_at_any_more_is_forgotten(town):
    for number in range(500):
        town.judge.since(f"chunks/{number}", "x")
        town.now += 1
    assert len(town.judge._seen) < 3 * GAP


def test_only_the_last_broken_are_remembered(town, monkeypatch):
    monkeypatch.setattr("flows.store.judge.REMEMBERED", 3)
    for number in range(5):
        name = f"parents/{number}"
        town.shelf.write(f"leases/{name}", FOREIGN.data())
        for after in (0, 20, 20, 6):
            town.now += after
            told = town.judge.lease(name, town.shelf.list("leases/"), 1, 10.0)
        assert told is Verdict.BROKEN
    assert list(town.judge.broken) == ["parents/2", "parents/3", "parents/4"]


# Whatever happens in whatever order.


@pytest.mark.parametrize("seed", range(200))
def test_broken_means_seen_to_stand_still_for_so_long_and_nothing_else(seed):
    """An oracle that remembers every look says when a lease may be broken, and when it must."""
    rng = random.Random(seed)
    town = Town()
    town.say()
    looks: list[tuple[float, str] | None] = []  # time and version; None: not answered
    broken = 0
    for _ in range(300):
        town.now += rng.choice([0.5, 3, 10, 10, 10, 19, 20, 20.5, 60])
        event = rng.random()
        if event < 0.12:
            if KEY not in town.shelf.things or rng.random() < 0.7:
                town.say()
            continue
        if event < 0.15:
            town.judge.forget()
            looks.append(None)
            continue
        town.shelf.silent = {rng.choice(["read", "drop"])} if rng.random() < 0.05 else set()
        held = town.shelf.things.get(KEY)
        if held is None:
            town.say()
            held = town.shelf.things[KEY]
        looks.append((town.now, held.version))
        due = stood_still(looks) > QUIET
        try:
            told = town.look()
        except StoreAway:
            assert KEY in town.shelf.things
            looks.append(None)
            continue
        assert (told is Verdict.BROKEN) == due
        assert (KEY not in town.shelf.things) == due
        broken += due
    assert broken or seed % 10  # of ten rows of events one has a death in it at least


def stood_still(looks) -> float:
    """For how long the last looks in a row saw one version without a gap."""
    end, version = looks[-1]
    begin = end
    for look in reversed(looks[:-1]):
        if look is None or look[1] != version or begin - look[0] > GAP:
            break
        begin = look[0]
    return end - begin


@pytest.mark.parametrize("seed", range(30))
def test_a_holder_that_renews_in_time_is_never_broken_whoever_looks(seed):
    """Renewals as late as a hanging store makes them, three judges at their own pace."""
    rng = random.Random(seed)
    town = Town()
    judges = [Judge(town.shelf, clock=lambda: town.now) for _ in range(3)]
    town.say()
    renewed = town.now
    for _ in range(2000):
        town.now += rng.choice([0.5, 1, 3])
        if town.now - renewed > rng.uniform(RENEW, QUIET - 4):
            town.say()
            renewed = town.now
        judge = rng.choice(judges)
        assert judge.lease(NAME, town.shelf.list("leases/"), 1, 10.0) is Verdict.HELD


def test_the_figures_fit_together():
    assert 4 * RENEW < QUIET
    assert RENEW < OVERDUE < QUIET
    assert 2 * GAP < QUIET  # two looks alone prove nothing
