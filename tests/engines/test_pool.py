"""A pool of real processes: lent one at a time, several at once, back after every death."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

from flows.engines.errors import EngineDied, EnginesStopping
from flows.engines.options import EngineState
from flows.engines.pool import EnginePool
from flows.engines.pooled import PooledEngine
from flows.run.execute import Limits, run_plan
from flows.run.outcome import Ending, State
from flows.store.local import LocalStore
from kontext_engine.errors import Cancelled
from kontext_engine.fake import FAKE_SPEC, FakeEngine

from ..run.samples import NUMERICS, PlanMaker
from .samples import (
    SCRIPTED,
    batches,
    busy,
    eventually,
    gone,
    orders_are_out,
    pixels,
    request,
)  # fmt: skip


def borrowed(pool, spec=FAKE_SPEC) -> PooledEngine:
    return PooledEngine(pool, spec, NUMERICS)


def made(pool, *requests, **how):
    return list(borrowed(pool, **how).run(requests))


def pids(answers) -> set[int]:
    return {int(answer.notes[0].split()[1]) for answer in answers}


def plan_of(*prompts):
    maker = PlanMaker()
    for number, prompt in enumerate(prompts):
        step = maker.step(f"s{number}", prompt, (), str(number))
        maker.variant(str(number), {}, [step])
    return maker.plan()


def states(outcome, plan):
    return {plan.steps[key].params.prompt: end.state for key, end in outcome.steps.items()}


def test_many_ask_one_engine_and_each_has_it_alone(pool, threads, tmp_path):
    marks = tmp_path / "marks"
    asked = [[request(f"{n}", f"MARK:{marks} look {n}", steps=20)] for n in range(6)]
    ended = [threads.submit(made, pool, *one) for one in asked]
    answers = [future.result() for future in ended]
    assert [pixels(a) for a in answers] == [pixels(FakeEngine().run(one)) for one in asked]
    (stats,) = pool.stats()
    assert set().union(*map(pids, answers)) == {stats.pid}
    assert (stats.loads, stats.restarts) == (1, 0)
    assert (stats.batches, stats.edits, stats.model, stats.state) == (6, 6, "fake", "idle")
    assert stats.busy_seconds > 0
    assert stats.memory > 1 << 20
    # Its steps were not mixed: each run's twenty are in a row.
    assert [int(line.split()[1]) for line in marks.read_text().splitlines()] == [*range(1, 21)] * 6


def test_two_engines_work_at_the_same_time(threads, tmp_path):
    with EnginePool(2, SCRIPTED) as pool:
        # Each waits within a step until the other is within one too.
        ended = [threads.submit(made, pool, request(id_, f"MEET:{tmp_path}@2")) for id_ in "ab"]
        first, second = (future.result(timeout=120) for future in ended)
        assert pids(first) != pids(second)
        assert pids(first + second) == {stats.pid for stats in pool.stats()}
        assert [stats.loads for stats in pool.stats()] == [1, 1]


def test_who_is_slow_to_take_the_pictures_holds_no_engine(pool):
    slow = borrowed(pool).run([request("a", steps=1), request("b", steps=2)])
    first = next(slow)
    assert pixels(made(pool, request("c"))).keys() == {"c"}
    assert {first.id, *(answer.id for answer in slow)} == {"a", "b"}


def test_a_request_that_kills_its_engine_is_parked_and_the_rest_is_made(pool, tmp_path):
    store = LocalStore(tmp_path / "out")
    plan = plan_of("make it red", "KILL it", "make it blue", "make it green")
    engine = borrowed(pool)
    outcome = run_plan(plan, store, engine.load, limits=Limits(attempts=3))
    assert outcome.ending is Ending.FAILED
    assert states(outcome, plan) == {
        "make it red": State.DONE, "KILL it": State.FAILED,
        "make it blue": State.DONE, "make it green": State.DONE,
    }  # fmt: skip
    (why,) = (end.reason for end in outcome.steps.values() if end.state is State.FAILED)
    assert "died of signal 9 (killed; out of memory?) while working on step 1 of 2" in why
    (stats,) = pool.stats()
    assert stats.restarts == 5  # by the four together, by two of them, and three times alone
    charged = {plan.steps[key].params.prompt: end.attempts for key, end in outcome.steps.items()}
    assert charged == {"make it red": 1, "KILL it": 3, "make it blue": 1, "make it green": 1}
    assert "died of signal 9" in stats.last_death
    assert pixels(made(pool, request("a")))


def test_the_death_of_an_idle_engine_is_nobodys_failure(pool):
    before = pids(made(pool, request("a")))
    os.kill(*before, signal.SIGKILL)
    after = pids(made(pool, request("b")))
    assert before != after
    assert pool.stats()[0].restarts == 1
    assert pool.stats()[0].loads == 2


def test_a_model_that_kills_whoever_loads_it(pool):
    deadly = replace(FAKE_SPEC, name="deadly")
    with pytest.raises(EngineDied, match="while loading model 'deadly'"):
        borrowed(pool, deadly).load()
    assert pixels(made(pool, request("a")))


def test_a_model_that_is_known_is_not_waited_for(pool, threads, tmp_path):
    gate = tmp_path / "gate"
    borrowed(pool).load()
    at_work = threads.submit(made, pool, request("a", f"GATE:{gate}"))
    assert eventually(lambda: busy(pool))
    borrowed(pool).load()  # returns, although the only engine is at work
    gate.touch()
    assert at_work.result()


def test_cancelling_frees_the_engine_and_ends_the_waiting(pool, threads, tmp_path):
    gate = tmp_path / "gate"
    at_work, in_line = borrowed(pool), borrowed(pool)
    first = threads.submit(list, at_work.run([request("a", f"GATE:{gate}", steps=1000)]))
    assert eventually(lambda: busy(pool))
    second = threads.submit(list, in_line.run([request("b")]))
    assert eventually(lambda: pool.waiting)
    for engine, ended in ((in_line, second), (at_work, first)):
        engine.cancel()
        with pytest.raises(Cancelled):
            ended.result(timeout=60)
        with pytest.raises(Cancelled):
            list(engine.run([request("c")]))
        assert engine.load() is engine
    gate.touch()
    assert pixels(made(pool, request("d")))
    assert pool.stats()[0].restarts == 0
    assert pool.stats()[0].loads == 1


def test_engines_that_cannot_be_started_are_told_of_not_waited_for():
    options = replace(SCRIPTED, engine="tests.engines.engines:nothing")
    with EnginePool(1, options) as pool:
        with pytest.raises(EngineDied) as died:
            made(pool, request("a"))
        assert str(died.value).startswith("no engine process can be started: engine 1 (pid ")
        assert "AttributeError" in str(died.value)


def test_closing_ends_the_waiting(pool, threads, tmp_path):
    gate = tmp_path / "gate"
    at_work = threads.submit(made, pool, request("a", f"GATE:{gate} DOZE:1"))
    assert eventually(lambda: busy(pool))
    waiting = threads.submit(made, pool, request("b"))
    assert eventually(lambda: pool.waiting)
    closing = threads.submit(pool.close, 60)
    with pytest.raises(EnginesStopping):
        waiting.result(timeout=60)
    orders_are_out()
    gate.touch()
    closing.result(timeout=60)
    with pytest.raises(Cancelled):
        at_work.result()


@pytest.mark.parametrize("how", ["SLEEP", "FREEZE"])
def test_closing_ends_also_what_hangs(pool, threads, how):
    at_work = threads.submit(made, pool, request("a", how))
    assert eventually(lambda: batches(pool))
    pool.close(limit=0.2)
    assert gone(pool.stats()[0].pid)
    assert pool.stats()[0].state is EngineState.DEAD
    with pytest.raises(Cancelled):
        at_work.result(timeout=60)


@pytest.mark.parametrize("how", ["DOZE", "SLEEP"])
def test_a_run_whose_engines_are_stopped_is_interrupted_and_nothing_is_blamed(
    pool, threads, tmp_path, how
):
    store = LocalStore(tmp_path / "out")
    plan = plan_of(*(f"{how} {number}" for number in range(40)))
    one_by_one = Limits(requests=1)
    run = threads.submit(run_plan, plan, store, borrowed(pool).load, limits=one_by_one)
    assert eventually(lambda: batches(pool))
    pool.close(limit=0.5)
    outcome = run.result(timeout=60)
    assert outcome.ending is Ending.INTERRUPTED
    assert not outcome.counts[State.FAILED]
    assert outcome.counts[State.PENDING]
    assert all(store.last_failure(key) is None for key in plan.steps)
