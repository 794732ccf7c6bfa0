"""A call that breaks as a whole: who is charged, who is asked again, and how often."""

from __future__ import annotations

import pytest

from flows.engines.errors import EngineDied
from flows.run.events import Retrying
from flows.run.execute import Limits, run_plan
from flows.run.outcome import Ending, State
from kontext_engine.errors import EngineError, ModelError

from .samples import PlanMaker, WatchedEngine


def pictures(number: int):
    maker = PlanMaker()
    for at in range(number):
        step = maker.step("s", str(at), [], str(at), seed=at)
        maker.variant(str(at), {"at": str(at)}, [step])
    return maker.plan()


def dies_on(*seeds: int, error=lambda: EngineDied("engine 1 (pid 7) was killed", began=True)):
    def trouble(requests):
        if any(request.seed in seeds for request in requests):
            raise error()

    return trouble


@pytest.mark.parametrize(
    "error",
    [
        lambda: EngineDied("engine 1 (pid 7) was killed", began=True),
        lambda: EngineError("engine 1 (pid 7) was killed"),
        lambda: RuntimeError("engine 1 (pid 7) was killed"),
    ],
)
def test_only_the_picture_that_kills_the_engine_is_charged(store, error):
    events = []
    engine = WatchedEngine(dies_on(5, error=error))
    plan = pictures(16)
    outcome = run_plan(plan, store, engine.load, on_event=events.append)
    ends = dict(outcome.steps)
    guilty = next(key for key, step in plan.steps.items() if step.params.seed == 5)
    failed = ends.pop(guilty)
    assert (failed.state, failed.attempts) == (State.FAILED, 3)
    assert failed.reason.endswith("engine 1 (pid 7) was killed")
    assert {(end.state, end.attempts) for end in ends.values()} == {(State.DONE, 1)}
    assert {end.record.attempts for end in ends.values()} == {1}
    assert outcome.ending is Ending.FAILED
    assert [event.key for event in events if isinstance(event, Retrying)] == [guilty, guilty]
    # 16 in halves down to one, then twice more alone; the other halves once each.
    broken = [len(batch) for batch in engine.asked if any(r.seed == 5 for r in batch)]
    assert broken == [16, 8, 4, 2, 1, 1, 1]
    assert len(engine.asked) == len(broken) + 4


def test_two_guilty_ones_are_both_found(store):
    plan = pictures(10)
    outcome = run_plan(plan, store, WatchedEngine(dies_on(2, 9)).load)
    failed = {plan.steps[key].params.seed for key, end in outcome.steps.items()
              if end.state is State.FAILED}  # fmt: skip
    assert failed == {2, 9}
    assert outcome.counts[State.DONE] == 8


def test_what_was_answered_before_the_death_is_kept_and_not_asked_again(store):
    engine = WatchedEngine()
    answers, deaths = engine.run, []

    def run(requests, on_step=None):
        for count, answer in enumerate(answers(requests, on_step)):
            if count == 3 and not deaths:
                deaths.append(answer.id)
                raise EngineDied("engine 1 was killed", began=True)
            yield answer

    engine.run = run
    outcome = run_plan(pictures(8), store, engine.load)
    assert [len(batch) for batch in engine.asked] == [8, 2, 3]
    assert {end.attempts for end in outcome.steps.values()} == {1}


def test_one_that_is_left_of_a_broken_call_is_asked_alone_before_it_is_charged(store):
    engine = WatchedEngine()
    answers, deaths = engine.run, []

    def run(requests, on_step=None):
        for count, answer in enumerate(answers(requests, on_step)):
            if count == 2 and not deaths:
                deaths.append(answer.id)
                raise EngineDied("engine 1 was killed", began=True)
            yield answer

    engine.run = run
    outcome = run_plan(pictures(3), store, engine.load)
    assert [len(batch) for batch in engine.asked] == [3, 1]
    assert {end.attempts for end in outcome.steps.values()} == {1}


def test_an_engine_that_dies_of_everything_is_asked_so_often_and_no_more(store):
    engine = WatchedEngine(dies_on(*range(8)))
    outcome = run_plan(pictures(8), store, engine.load, limits=Limits(attempts=2))
    assert outcome.counts[State.FAILED] == 8
    assert {end.attempts for end in outcome.steps.values()} == {2}
    assert len(engine.asked) == 15 + 8  # every half down to one, and each once more


def test_a_model_that_is_gone_stops_the_run_at_once(store):
    engine = WatchedEngine(dies_on(0, error=lambda: ModelError("models/x: no such folder")))
    outcome = run_plan(pictures(8), store, engine.load)
    assert (outcome.ending, outcome.why) == (Ending.STOPPED, "models/x: no such folder")
    assert len(engine.asked) == 1
    assert outcome.counts[State.PENDING] == 8
