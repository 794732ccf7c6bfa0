"""What people do to runs in the dashboard, and what becomes of them."""

from __future__ import annotations

import itertools
import time

import pytest
from prefect import states
from prefect.states import Cancelled, Cancelling, Completed, Paused, Scheduled

from flows.run.outcome import Ending, State
from flows.store.record import decode_record
from tests.chaos.city import PATIENCE
from tests.chaos.processes import until

from .quick import Run

BATCH = 8

seeds = itertools.count(int(time.time()) % 10**6 * 100)


FEW = ("scene=beach", "scene=forest")  # 24 of its 40 pictures


@pytest.fixture(scope="module", autouse=True)
def known(quick):
    """A run has several chunks where it is known how long pictures take: some were made before."""
    if not quick.home.names("records/"):
        Run(quick, next(seeds), only=FEW).assert_whole()


@pytest.fixture
def run(quick) -> Run:
    return Run(quick, next(seeds), only=FEW)


def interrupted(run):
    """The manifest of a run that was stopped."""
    manifest = run.city.home.manifest(run.plan)
    assert manifest is not None
    assert manifest.ending is Ending.INTERRUPTED
    return manifest


def begin_again(run, why="Retry"):
    run.set(run.id, Scheduled(message=why))
    until(lambda: run.state() not in {"Scheduled", "Failed", "Late"}, PATIENCE, run.city.said)


def test_a_run_shows_its_children_below_it_and_set_back_by_force_it_makes_nothing(run):
    run.assert_whole()
    assert set(run.computed().values()) == {1}
    children = run.children()
    assert len(children) >= 2
    assert {child.state.name for child in children} == {"Completed"}
    # The dashboard's graph: every child hangs on a task of its parent.
    assert all(child.parent_task_run_id is not None for child in children)
    assert run.city.flow_run(run.id).name == run.city.home.run(run.plan)
    before, computed = run.versions(), run.computed()
    begin_again(run, "by hand")
    assert run.ended().state.name == "Completed"
    assert run.computed() == computed
    assert run.versions() == before


@pytest.mark.gate
def test_children_that_nobody_has_are_made_whatever_is_said_of_them(quick):
    run = Run(quick, next(seeds))
    said = [getattr(states, kind)(message="by hand") for kind in ("Failed", "Crashed", "Running")]
    said.append(Completed(message="by hand", data="made"))
    waiting = run.waiting(len(said) + 1)
    for child, state in zip(waiting, said, strict=False):
        run.set(child.id, state)
    deleted = waiting[-1]
    run.city._asked(lambda: run.city.client.delete_flow_run(deleted.id))
    run.assert_whole()
    assert set(run.computed().values()) == {1}
    assert deleted.id not in {one.id for one in run.children()}


@pytest.mark.gate
def test_a_child_cancelled_by_hand_blocks_only_its_descendants_until_its_run_is_retried(quick):
    run = Run(quick, next(seeds))  # all of it: the last child is far from being begun
    (child,) = run.waiting(1)
    run.set(child.id, Cancelled(message="not this one"))
    assert run.ended().state.name == "Failed"
    manifest = interrupted(run)
    pending = manifest.in_state(State.PENDING)
    assert {step.reason for step in pending} == {"not this one"}
    done = manifest.in_state(State.DONE)
    assert len(done) + len(pending) == len(run.plan.steps)
    assert len(done) > len(pending) > 0
    begin_again(run)
    run.assert_whole()
    assert set(run.computed().values()) == {1}


@pytest.mark.gate
def test_a_picture_that_is_lost_while_its_run_goes_on_is_made_again(run):
    home = run.city.home
    run.child(lambda child: child.state is not None and child.state.is_completed())
    key = next(key for key in run.plan.steps if home.get(f"records/{key}") is not None)
    record = decode_record(home.get(f"records/{key}"), key)
    home.remove(f"blobs/{record.blob}")
    run.assert_whole()
    assert {one for one, count in run.computed().items() if count > 1} == {key}


def test_a_cancelled_run_stops_its_children_and_retried_makes_what_is_missing(run):
    until(run.computed, PATIENCE, run.city.said)
    asked = time.monotonic()
    run.set(run.id, Cancelling())
    assert run.ended().state.name == "Cancelled"
    until(
        lambda: all(one.state is not None and one.state.is_final() for one in run.children()),
        60.0,
        run.city.said,
    )
    assert time.monotonic() - asked < 60
    run.assert_no_lease()
    interrupted(run)
    begin_again(run)
    run.assert_whole()
    again = [key for key, count in run.computed().items() if count > 1]
    assert len(again) <= BATCH, "more than what was stopped"


@pytest.mark.gate
def test_a_suspended_run_begins_nothing_and_goes_on_when_resumed(run):
    first = run.running()
    run.set(run.id, Paused(timeout_seconds=10**6, reschedule=True))
    run.assert_no_lease()
    assert run.state() in {"Paused", "Suspended"}
    until(lambda: run.state(first.id) in {"Scheduled", "Completed"}, PATIENCE, run.city.said)
    made = dict(run.computed())
    time.sleep(6.0)
    assert run.computed() == made
    run.city._asked(lambda: run.city.client.resume_flow_run(run.id))
    run.assert_whole()
    # The engine had begun its next batch when the one before was told.
    assert sum(count - 1 for count in run.computed().values()) <= BATCH
