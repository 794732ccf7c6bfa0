"""Lending by the pool's own rules, with engines that live and die at a word. No process."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from flows.resident import pool as module
from flows.resident.backoff import Backoff
from flows.resident.messages import Model
from flows.resident.options import EngineState
from flows.resident.pool import EnginePool
from kontext_engine.fake import FAKE_SPEC
from kontext_engine.spec import NumericsProfile

from .samples import OTHER_SPEC, eventually

MODELS = [Model(spec, NumericsProfile()) for spec in (FAKE_SPEC, OTHER_SPEC)]


class Puppet:
    """What the pool sees of an engine process."""

    born: ClassVar[list[Puppet]] = []
    comes_up = False  # by itself, when started

    def __init__(self, options, number, tally, on_change) -> None:
        self.number = number
        self.state = EngineState.STARTING
        self.model = None
        self.death, self.pid, self.proven = "", None, False
        self._tell = on_change
        self._turn = threading.Lock()
        self.born.append(self)

    def start(self) -> None:
        if self.comes_up:
            # Like the real one's: from another thread than whoever starts it.
            threading.Thread(target=self.be, args=[EngineState.IDLE]).start()

    def be(self, state: EngineState) -> None:
        with self._turn:  # states are told in order, and nothing comes after death
            if self.state is EngineState.DEAD:
                return
            self.state = state
            if state is EngineState.DEAD:
                self.death, self.model = f"engine {self.number} died", None
            self._tell(self, state)


@pytest.fixture
def puppets(monkeypatch):
    class Fresh(Puppet):
        born: ClassVar[list[Puppet]] = []

    monkeypatch.setattr(module, "EngineProcess", Fresh)
    return Fresh


def test_an_engine_that_dies_before_its_borrower_wakes_is_not_replaced_by_one_that_starts(puppets):
    pool = EnginePool(1, backoff=Backoff(first=60.0, most=60.0)).start()
    (first,) = puppets.born
    with ThreadPoolExecutor(1) as threads:
        borrowed = threads.submit(pool.borrow, pool.waiter(MODELS[0], 0))
        assert eventually(lambda: pool.waiting)
        with pool._changed:  # the borrower wakes only after this
            first.be(EngineState.IDLE)
            first.be(EngineState.DEAD)
        lent = borrowed.result(timeout=60)
    assert lent is first
    assert len(puppets.born) == 2
    # It is given back by whoever finds it dead, and the other one is not taken for idle by that.
    pool.give_back(lent)
    assert not pool.busy
    pool.close()


def test_the_replacement_is_lent_once(puppets):
    pool = EnginePool(1, backoff=Backoff(first=60.0, most=60.0)).start()
    with ThreadPoolExecutor(2) as threads:
        early = threads.submit(pool.borrow, pool.waiter(MODELS[0], 0))
        assert eventually(lambda: pool.waiting)
        late = threads.submit(pool.borrow, pool.waiter(MODELS[0], 0))
        assert eventually(lambda: pool.waiting == 2)
        with pool._changed:
            puppets.born[0].be(EngineState.IDLE)
            puppets.born[0].be(EngineState.DEAD)
            puppets.born[1].be(EngineState.IDLE)
        assert [one.result(timeout=60) for one in (early, late)] == puppets.born
    pool.close()


@pytest.mark.parametrize("seed", range(4))
def test_nobody_starves_and_no_engine_has_two_borrowers(puppets, seed):
    """Borrowers of two models and priorities; engines that die idle, lent and at work."""
    puppets.comes_up = True
    pool = EnginePool(3, backoff=Backoff(first=0.001, most=0.002)).start()
    guard, holders, served = threading.Lock(), Counter(), Counter()
    numbers = itertools.count()

    def borrower(who: int) -> None:
        chance = random.Random(seed * 1000 + who)
        for _ in range(40):
            engine = pool.borrow(pool.waiter(MODELS[who % 2], who % 3))
            with guard:
                holders[engine] += 1
                assert holders[engine] == 1
            engine.model, engine.proven = MODELS[who % 2], True
            threading.Event().wait(chance.random() / 500)
            with guard:
                holders[engine] -= 1
                served[who] += 1
            engine.be(EngineState.DEAD if next(numbers) % 7 == 0 else EngineState.IDLE)

    def killer() -> None:
        chance = random.Random(seed)
        while not over.wait(0.003):
            # Who never was of any use would count as one that cannot be started.
            if proven := [one for one in puppets.born[-6:] if one.proven]:
                chance.choice(proven).be(EngineState.DEAD)

    over = threading.Event()
    with ThreadPoolExecutor(10) as threads:
        killing = threads.submit(killer)
        ended = [threads.submit(borrower, who) for who in range(9)]
        for one in ended:
            one.result(timeout=120)
        over.set()
        killing.result()
    assert served == dict.fromkeys(range(9), 40)
    assert pool.waiting == 0
    pool.close()
