"""A run's outcome from what its chunks told, and from the records that are there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flows.execution.ends import ChunkEnds, gather
from flows.execution.execute import run_plan
from flows.execution.outcome import Ending, Outcome, State, StepOutcome
from flows.outputs import keyed_outputs
from kontext_engine.fake import FakeFaults

from .samples import PlanMaker, WatchedEngine, make, product_plan, ten_products


@pytest.fixture
def plan(tmp_path):
    return product_plan(ten_products(tmp_path / "in")[:2])


def told(states: dict, problems=None, why="") -> ChunkEnds:
    """``states`` by key: a state, or a state, a reason and attempts."""
    steps = {}
    for key, end in states.items():
        state, reason, attempts = end if isinstance(end, tuple) else (end, "", 1)
        steps[key] = StepOutcome(state=state, reason=reason, attempts=attempts)
    return ChunkEnds(steps=steps, problems=problems or {}, engine_seconds=0.0, why=why)


def outcome(plan, store, ends, *, cached=(), ending=None, why=""):
    return gather(plan, ends, cached, dict(store.peek_all(plan.steps)), ending, why, 12.5)


def states(found: Outcome) -> list[str]:
    return [end.state.value for end in found.steps.values()]


def test_ends_are_told_as_they_were(plan, store):
    engine = WatchedEngine(faults=FakeFaults(prompts=("snow",)))
    made = make(plan, store, engine=engine)
    keys = list(plan.steps)[:2]
    ends = ChunkEnds.of(replace(made, problems={"an output": "ValueError: why"}), keys)
    ends = ChunkEnds.from_json(ends.to_json())
    done, failed = (ends.steps[key] for key in keys)
    assert (done.state, done.attempts, done.reason) == (State.DONE, 1, "")
    assert (failed.state, failed.attempts, failed.reason) == (State.FAILED, 1, "failed on purpose")
    assert ends.problems == {"an output": "ValueError: why"}


def test_engine_time_is_that_of_what_was_made(plan, store):
    slow = WatchedEngine(seconds_per_edit=0.002)
    first = run_plan(plan, store, slow.load)
    assert ChunkEnds.of(first, plan.steps).engine_seconds == pytest.approx(4 * 0.002)
    again = run_plan(plan, store, slow.load)
    assert ChunkEnds.of(again, plan.steps).engine_seconds == 0.0


def test_a_parent_that_had_to_be_made_anew_on_the_way_is_told_too(plan, store):
    parent, child = list(plan.steps)[:2]
    found = run_plan(plan, store, WatchedEngine().load)
    record = found.steps[parent].record
    (store.root / "blobs" / record.blob).write_bytes(b"rotten")
    (store.root / "records" / child).unlink()
    ends = ChunkEnds.of(make(plan, store, [child]), [child])
    assert {key: end.state for key, end in ends.steps.items()} == {
        parent: State.DONE,
        child: State.DONE,
    }


@pytest.mark.parametrize("data", [b"", b"[]", b'{"steps": {}}', b"\xff"])
def test_other_bytes_tell_nothing(data):
    with pytest.raises(ValueError):
        ChunkEnds.from_json(data)


def test_what_is_there_was_found_or_made(plan, store):
    run_plan(plan, store, WatchedEngine().load)
    first, _second, third, fourth = plan.steps
    # The second is of an execution that did not live to tell; the third was found damaged and
    # made again; the fourth was met as cached by the second execution of its chunk.
    ends = [told({third: State.DONE}), told({fourth: State.DONE}), told({fourth: State.CACHED})]
    found = outcome(plan, store, ends, cached=[first, third])
    assert states(found) == ["cached", "done", "done", "done"]
    assert (found.ending, found.why, found.seconds) == (Ending.COMPLETE, "", 12.5)
    assert found.steps[fourth].attempts == 2


def test_a_run_that_was_stopped_too_late_is_complete(plan, store):
    run_plan(plan, store, WatchedEngine().load)
    found = outcome(plan, store, [], ending=Ending.INTERRUPTED, why="somebody asked to stop")
    assert (found.ending, found.why) == (Ending.COMPLETE, "")


def test_what_is_not_reached_is_pending_with_the_reason_why(plan, store):
    first, _second, *_ = plan.steps
    ends = [told({first: (State.PENDING, "the run ended before its turn", 0)})]
    found = outcome(plan, store, ends, ending=Ending.INTERRUPTED, why="somebody asked to stop")
    assert states(found) == ["pending"] * 4
    assert {end.reason for end in found.steps.values()} == {"somebody asked to stop"}
    assert (found.ending, found.why) == (Ending.INTERRUPTED, "somebody asked to stop")
    assert outcome(plan, store, []).ending is Ending.STOPPED


def test_a_failure_blocks_its_descendants_in_whatever_chunk(store):
    maker = PlanMaker()
    root = maker.step("root", "a", [], "x")
    middle = maker.step("middle", "b", [root], "x")
    leaf = maker.step("leaf", "c", [middle], "x")
    other = maker.step("other", "d", [], "x")
    plan = maker.plan()
    found = outcome(plan, store, [told({root.key: (State.FAILED, "broken", 3)})])
    assert states(found) == ["failed", "blocked", "blocked", "pending"]
    assert found.steps[root.key] == StepOutcome(state=State.FAILED, reason="broken", attempts=3)
    for below in (middle, leaf):
        end = found.steps[below.key]
        assert (end.blocked_by, end.reason) == (root.key, "needs 'root[x]', which failed")
    assert found.steps[other.key].reason == "the run ended before its turn"


def test_everything_ended_and_some_failed_is_failed_whoever_stopped_it(plan, store):
    first, _second, third, _fourth = plan.steps
    failed = (State.FAILED, "broken", 3)
    ends = [told({first: failed}), told({third: failed})]
    found = outcome(plan, store, ends, ending=Ending.INTERRUPTED, why="somebody asked to stop")
    assert states(found) == ["failed", "blocked", "failed", "blocked"]
    assert (found.ending, found.why) == (Ending.FAILED, "")


def test_what_failed_first_and_was_made_later_is_made(plan, store):
    first, second, *_ = plan.steps
    make(plan, store, [first, second])
    ends = [
        told({first: (State.FAILED, "broken", 3), second: (State.BLOCKED, "needs it", 0)}),
        told({first: State.DONE, second: State.DONE}),
    ]
    found = outcome(plan, store, ends)
    assert states(found) == ["done", "done", "pending", "pending"]
    assert found.steps[first].attempts == 4


def test_one_that_was_blocked_by_what_was_made_later_is_pending(plan, store):
    first, second, *_ = plan.steps
    make(plan, store, [first])
    ends = [told({first: (State.FAILED, "broken", 3), second: (State.BLOCKED, "needs it", 0)})]
    assert states(outcome(plan, store, ends)) == ["done", "pending", "pending", "pending"]


def test_a_failure_is_told_although_a_later_execution_did_not_get_there(plan, store):
    first, *_ = plan.steps
    ends = [told({first: (State.FAILED, "broken", 3)}), told({first: (State.PENDING, "", 0)})]
    assert outcome(plan, store, ends).steps[first].reason == "broken"


def test_a_picture_that_was_lost_since_is_no_picture(plan, store):
    first, _second, third, _ = plan.steps
    found = outcome(plan, store, [told({first: State.DONE})], cached=[third])
    assert states(found) == ["failed", "blocked", "failed", "blocked"]
    assert found.steps[first].reason == "its picture was damaged since; run again"


def test_problems_of_outputs_come_along(plan, store):
    key = next(iter(next(iter(keyed_outputs(plan).values()))))
    ends = [told({}, {key: "first"}), told({}, {key: "second"}), told({}, {"other": "third"})]
    assert outcome(plan, store, ends).problems == {key: "second", "other": "third"}
