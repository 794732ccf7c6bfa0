"""Who gets which engine, with processes that live and die at a word: no real one is started."""

from __future__ import annotations

import itertools
import queue
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import ClassVar

import pytest

from flows.engines import supervisor as module
from flows.engines.errors import EngineDied
from flows.engines.messages import Ended, Model, Run
from flows.engines.options import Backoff, EngineState, ProcessOptions
from flows.engines.pool import EnginePool
from kontext_engine.fake import FAKE_SPEC
from kontext_engine.spec import NumericsProfile

from .samples import eventually

A, B, C = (Model(replace(FAKE_SPEC, name=name), NumericsProfile()) for name in "abc")
BF16 = replace(A, numerics=NumericsProfile(dtype="bfloat16"))


class Puppet:
    """What a supervisor sees of a process: it is up at once, and answers as ``obey`` says."""

    born: ClassVar[list[Puppet]] = []
    pid = 2**22 + 1  # none has it

    def __init__(self, options):
        self.said = queue.SimpleQueue()
        self.held = None
        self.born.append(self)
        self.said.put(EngineState.IDLE)

    def tell(self, order):
        if isinstance(order, Run):
            self.obey(order)

    def obey(self, order):
        if self.held != order.model:
            self.held = order.model
            self.said.put(EngineState.BUSY)
        self.said.put(Ended())

    def tell_soon(self, order):
        self.kill()

    def listen(self):
        said = self.said.get()
        if said is None:
            raise EOFError
        return said

    def kill(self):
        self.said.put(None)

    def reap(self):
        return -9


@pytest.fixture
def puppets(monkeypatch):
    class Fresh(Puppet):
        born: ClassVar[list[Puppet]] = []

    monkeypatch.setattr(module, "EngineProcess", Fresh)
    return Fresh


def pool_of(count):
    return EnginePool(count, ProcessOptions(backoff=Backoff(first=0.001, most=0.002)))


def take(pool, model):
    return pool.take(model, (), lambda: False)


def all_idle(pool):
    return all(stats.state is EngineState.IDLE for stats in pool.stats())


@pytest.mark.parametrize(
    ("held", "asked", "given"),
    [
        ((A, None, B), B, 3),  # who holds it
        ((A, None, B), C, 2),  # else an empty one
        ((A, C, B), BF16, 1),  # else any; other numerics are another model
    ],
)
def test_the_engine_that_holds_the_model_then_an_empty_one_then_any(puppets, held, asked, given):
    with pool_of(3) as pool:
        assert eventually(lambda: all_idle(pool))
        jobs = [take(pool, model or A) for model in held]
        for job, model in zip(jobs, held, strict=True):
            if model is not None:
                list(job.answers((), None))
            else:
                job.process.said.put(Ended())
        assert eventually(lambda: all_idle(pool))
        assert take(pool, asked).process is jobs[given - 1].process


def test_first_come_first_served_whatever_is_held(puppets):
    with pool_of(1) as pool, ThreadPoolExecutor(3) as threads:
        first, served = take(pool, A), []

        def ask(name, model):
            job = take(pool, model)
            served.append(name)
            return list(job.answers((), None))

        asked = []
        for count, (name, model) in enumerate([("b", B), ("a", A), ("b again", B)], 1):
            asked.append(threads.submit(ask, name, model))
            assert eventually(lambda count=count: pool.waiting == count)
        assert list(first.answers((), None)) == []
        for one in asked:
            one.result(timeout=60)
        assert served == ["b", "a", "b again"]


def test_one_that_dies_when_it_has_just_been_taken_is_told_of_and_replaced(puppets):
    with pool_of(1) as pool:
        job = take(pool, A)
        job.process.kill()
        with pytest.raises(EngineDied, match="signal 9") as died:
            list(job.answers((), None))
        assert not died.value.began
        # What was told to the dead is not told to the living.
        assert list(take(pool, A).answers((), None)) == []
        assert len(puppets.born) == 2


@pytest.mark.parametrize("seed", range(4))
def test_nobody_starves_and_no_engine_has_two_jobs(puppets, monkeypatch, seed):
    """Borrowers of two models; engines that die idle, taken and at work."""
    numbers, at_work = itertools.count(1), set()

    def obey(self, order):
        assert self not in at_work
        at_work.add(self)
        threading.Event().wait(chance.random() / 500)
        at_work.remove(self)
        if next(numbers) % 7 == 0:
            self.kill()
        else:
            Puppet.obey(self, order)

    def borrower(who):
        served = 0
        while served < 40:
            try:
                served += list(take(pool, (A, B)[who % 2]).answers((), None)) == []
            except EngineDied as died:
                assert not str(died).startswith("no engine")
        return served

    def killer():
        while not over.wait(0.003):
            chance.choice(puppets.born[-6:]).kill()

    chance, over = random.Random(seed), threading.Event()
    monkeypatch.setattr(puppets, "obey", obey)
    # Idle ones die so often here that they would count as such that cannot be started.
    monkeypatch.setattr("flows.engines.stats.HOPELESS", 10**9)
    with pool_of(3) as pool, ThreadPoolExecutor(10) as threads:
        killing = threads.submit(killer)
        ended = [threads.submit(borrower, who) for who in range(9)]
        assert [one.result(timeout=120) for one in ended] == [40] * 9
        over.set()
        killing.result()
        assert pool.waiting == 0
