"""A run's outcome from what its chunks told, and from the records that are there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from flows.run.ends import ChunkEnds, gather
from flows.run.execute import run_plan
from flows.run.outcome import NOT_REACHED, Ending, Outcome, State, StepOutcome
from kontext_engine.fake import FakeFaults

from .samples import PlanMaker, WatchedEngine, make, product_plan

STOPPED = "somebody asked to stop"
DONE, CACHED, PENDING = State.DONE, State.CACHED, State.PENDING
BROKEN = StepOutcome(state=State.FAILED, reason="broken", attempts=3)
BLOCKED = StepOutcome(state=State.BLOCKED, reason="needs it")


@pytest.fixture
def plan(products):
    """Two chains of two steps."""
    return product_plan(products[:2])


def told(plan, ends: dict, problems=None) -> ChunkEnds:
    """``ends`` by the number of the step: a state, or a whole outcome."""
    steps = {
        list(plan.steps)[at]: StepOutcome(state=end, attempts=1) if isinstance(end, State) else end
        for at, end in ends.items()
    }
    return ChunkEnds(steps=steps, problems=problems or {}, engine_seconds=0.0)


def gathered(plan, store, ends, cached=(), ending=None, why="") -> Outcome:
    found = [list(plan.steps)[at] for at in cached]
    return gather(plan, ends, found, dict(store.peek_all(plan.steps)), ending, why, 12.5)


# --- what is told


def test_ends_are_told_as_they_were_without_their_records(plan, store):
    engine = WatchedEngine(faults=FakeFaults(prompts=("snow",)))
    made = replace(make(plan, store, engine=engine), problems={"an output": "ValueError: why"})
    ends = ChunkEnds.from_json(ChunkEnds.of(made, list(plan.steps)[:2]).to_json())
    failed = StepOutcome(state=State.FAILED, reason="failed on purpose", attempts=1)
    # Another chunk's failure on the way is told, too.
    assert list(ends.steps.values())[:2] == [StepOutcome(state=DONE, attempts=1), failed]
    assert ends.problems == {"an output": "ValueError: why"}


def test_engine_time_is_that_of_what_was_made(plan, store):
    slow = WatchedEngine(seconds_per_edit=0.002)
    first, again = (run_plan(plan, store, slow.load) for _ in range(2))
    assert ChunkEnds.of(first, plan.steps).engine_seconds == pytest.approx(4 * 0.002)
    assert ChunkEnds.of(again, plan.steps).engine_seconds == 0.0


def test_a_parent_that_had_to_be_made_anew_on_the_way_is_told_too(plan, store):
    parent, child = list(plan.steps)[:2]
    record = make(plan, store).steps[parent].record
    (store.root / "blobs" / record.blob).write_bytes(b"rotten")
    (store.root / "records" / child).unlink()
    ends = ChunkEnds.of(make(plan, store, [child]), [child])
    assert {key: end.state for key, end in ends.steps.items()} == {parent: DONE, child: DONE}


def test_of_a_chunk_that_is_given_up_only_what_could_have_begun_failed(plan):
    """The dashboard's table shows it before all is gathered."""
    one, below, other, last = plan.steps
    there = {one: True, below: False, other: False, last: False}
    ends = ChunkEnds.given_up(plan, there, "nobody can").steps
    failed = StepOutcome(state=State.FAILED, reason="nobody can")
    assert (ends[one].state, ends[below], ends[other]) == (DONE, failed, failed)
    assert (ends[last].state, ends[last].blocked_by) == (State.BLOCKED, other)
    assert plan.steps[other].label in ends[last].reason
    # Of a part of the plan whose parents are elsewhere nothing is known to be blocked.
    assert ChunkEnds.given_up(plan, {last: False}, "nobody can").steps == {last: failed}


@pytest.mark.parametrize("data", [b"", b"[]", b'{"steps": {}}', b"\xff"])
def test_other_bytes_tell_nothing(data):
    with pytest.raises(ValueError, match="ChunkEnds"):
        ChunkEnds.from_json(data)


# --- what is gathered


@dataclass(frozen=True)
class Case:
    """``there`` are the steps with records; ``ends`` what the chunks told, one after the other."""

    there: tuple[int, ...]
    ends: tuple[dict[int, Any], ...]
    states: str
    ending: Ending
    cached: tuple[int, ...] = ()
    asked: Ending | None = None
    why: str = ""
    reasons: dict[int, str] | None = None
    attempts: dict[int, int] | None = None


CASES = {
    # The second is of an execution that did not live to tell; the third was found damaged and
    # made again; the fourth was met as cached by the second execution of its chunk.
    "what is there was found or made": Case(
        (0, 1, 2, 3),
        ({2: DONE}, {3: DONE}, {3: CACHED}),
        "cached done done done",
        Ending.COMPLETE,
        cached=(0, 2),
        attempts={3: 2},
    ),
    "stopped too late is complete": Case(
        (0, 1, 2, 3), (), "done done done done", Ending.COMPLETE, asked=Ending.INTERRUPTED,
        why=STOPPED,
    ),
    "what is not reached is pending with the reason why": Case(
        (), ({0: PENDING},), "pending pending pending pending", Ending.INTERRUPTED,
        asked=Ending.INTERRUPTED, why=STOPPED, reasons=dict.fromkeys(range(4), STOPPED),
    ),
    "nobody told anything": Case(
        (), (), "pending pending pending pending", Ending.STOPPED, reasons={0: NOT_REACHED},
    ),
    "all ended and some failed is failed, whoever stopped it": Case(
        (), ({0: BROKEN}, {2: BROKEN}), "failed blocked failed blocked", Ending.FAILED,
        asked=Ending.INTERRUPTED, why=STOPPED,
        reasons={0: "broken", 1: "needs 'place[product=p0]', which failed"},
    ),
    "failed first and made later is made": Case(
        (0, 1), ({0: BROKEN, 1: BLOCKED}, {0: DONE, 1: DONE}), "done done pending pending",
        Ending.STOPPED, attempts={0: 4},
    ),
    "blocked by what was made later is pending": Case(
        (0,), ({0: BROKEN, 1: BLOCKED},), "done pending pending pending", Ending.STOPPED,
    ),
    "a failure is told although a later execution did not get there": Case(
        (), ({0: BROKEN}, {0: PENDING}), "failed blocked pending pending", Ending.STOPPED,
        reasons={0: "broken"},
    ),
    "a picture that was lost since is no picture": Case(
        (), ({0: DONE},), "failed blocked failed blocked", Ending.FAILED, cached=(2,),
        reasons={0: "its picture was damaged since; run again"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_run_ends_by_its_records_and_what_was_told_last(plan, store, name):
    case, keys = CASES[name], list(plan.steps)
    make(plan, store, [keys[at] for at in case.there])
    ends = [told(plan, one) for one in case.ends]
    found = gathered(plan, store, ends, case.cached, case.asked, case.why)
    assert [end.state.value for end in found.steps.values()] == case.states.split()
    over = case.ending in (Ending.COMPLETE, Ending.FAILED)
    assert (found.ending, found.why, found.seconds) == (case.ending, "" if over else case.why, 12.5)
    for at, reason in (case.reasons or {}).items():
        assert found.steps[keys[at]].reason == reason
    for at, attempts in (case.attempts or {}).items():
        assert found.steps[keys[at]].attempts == attempts


def test_a_failure_blocks_its_descendants_in_whatever_chunk(store):
    maker = PlanMaker()
    root = maker.step("root", "a", [], "x")
    middle = maker.step("middle", "b", [root], "x")
    maker.step("leaf", "c", [middle], "x")
    maker.step("other", "d", [], "x")
    plan = maker.plan()
    first, *below, other = gathered(plan, store, [told(plan, {0: BROKEN})]).steps.values()
    assert (first, other.state) == (BROKEN, PENDING)
    needs = "needs 'root[x]', which failed"
    assert below == [StepOutcome(state=State.BLOCKED, reason=needs, blocked_by=root.key)] * 2


def test_problems_of_outputs_come_along(plan, store):
    ends = [told(plan, {}, one) for one in ({"a": "first"}, {"a": "second"}, {"b": "third"})]
    assert gathered(plan, store, ends).problems == {"a": "second", "b": "third"}
