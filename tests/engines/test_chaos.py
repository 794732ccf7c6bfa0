"""Engines killed at random while several runs share them: all is made, little is made twice."""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from flows.engines.pool import EnginePool
from flows.engines.pooled import PooledEngine
from flows.run.execute import Limits, run_plan
from flows.run.outcome import Ending
from flows.store.local import LocalStore
from kontext_engine.fake import FakeEngine

from ..run.samples import NUMERICS, PlanMaker, decoded
from .samples import SCRIPTED, batches, eventually, request

RUNS, STEPS, KILLS = 3, 8, 6


def plan_of(run: int):
    maker = PlanMaker()
    for number in range(STEPS):
        # Each of its two denoise steps waits a little, so that there is something to kill.
        prompt = f"run {run} picture {number} DOZE@1 DOZE@2"
        maker.variant(str(number), {}, [maker.step(f"s{number}", prompt, (), str(number))])
    return maker.plan(f"run {run}")


def test_every_picture_is_made_whatever_dies(tmp_path):
    log = tmp_path / "calls.jsonl"
    dice = random.Random(5)
    plans = [plan_of(run) for run in range(RUNS)]
    store = LocalStore(tmp_path / "out")
    options = replace(SCRIPTED, batch=4, call_log=str(log))
    with EnginePool(2, options) as pool, ThreadPoolExecutor(RUNS) as threads:

        def carry_out(plan):
            engine = PooledEngine(pool, plan.model, NUMERICS)
            return run_plan(plan, store, engine.load, limits=Limits(attempts=KILLS + 1, requests=4))

        runs = [threads.submit(carry_out, plan) for plan in plans]

        def over() -> bool:
            return all(run.done() for run in runs)

        killed = 0
        while killed < KILLS and not over():
            wanted = batches(pool) + dice.randint(1, 4)
            assert eventually(lambda wanted=wanted: over() or batches(pool) >= wanted)
            killed += strike(dice.choice(pool.stats()).pid)
        outcomes = [run.result(timeout=240) for run in runs]
        restarts = sum(stats.restarts for stats in pool.stats())

    assert 2 <= restarts <= killed
    assert [outcome.ending for outcome in outcomes] == [Ending.COMPLETE] * RUNS
    for plan, outcome in zip(plans, outcomes, strict=True):
        for key, end in outcome.steps.items():
            (same,) = FakeEngine().run([request(key, plan.steps[key].params.prompt, steps=2)])
            assert decoded(store, end.record) == same.image.tobytes()
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    begun = Counter(call["id"] for call in calls if call["event"] == "start")
    assert set(begun) == {key for plan in plans for key in plan.steps}
    assert max(begun.values()) <= 1 + killed
    assert sum(begun.values()) <= RUNS * STEPS + killed * options.batch
    loads = Counter(call["pid"] for call in calls if call["event"] == "load")
    assert set(loads.values()) == {1}


def strike(pid: int | None) -> bool:
    """Kill an engine, whatever it is doing; whether there was one."""
    if pid is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False
