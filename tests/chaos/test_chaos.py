"""Real servers, workers and engines: a run as it should be, and one that is struck."""

from __future__ import annotations

import time

import pytest

from flows.run.outcome import Ending, State

from .city import PATIENCE, City
from .measure import noticed
from .processes import until
from .storm import Storm
from .verdict import MOST_LEVELS, MOST_SHARE, apart, planned

# The suite's own kills are in tests/scheduling/test_struck.py, before engines that sleep.
pytestmark = [pytest.mark.timeout(1200), pytest.mark.gate]


TEMPO = "renew=2,quiet=12,overdue=4,sweep=3"


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    with City(tmp_path_factory.mktemp("city"), tempo=TEMPO) as city:
        city.open()
        yield city


@pytest.fixture
def struck(tmp_path_factory):
    """One with a real engine, and one that sleeps: whoever goes on after a death may be either.

    An engine that is killed loads its model again, which takes ten seconds of a processor.
    """
    with City(tmp_path_factory.mktemp("struck"), tempo=TEMPO) as city:
        city.deploy()
        city.start_parents()
        city.start_worker("worker-1")
        city.start_worker("worker-2", engine="sleeping", seconds=0.5)
        yield city


def judged(city, plan):
    """The verdict, once a moment has passed in which leases are given up."""
    until(lambda: not city.home.names("leases/"), PATIENCE, city.said)
    return city.home.judge(plan)


def test_a_run_is_made_as_one_made_locally(city, tmp_path):
    sets, only = ("defaults.steps=4",), ("character=raccoon", "character=monkey")
    plan = planned("storyboard", *sets, only=only)
    order = city.order("storyboard", *sets, only=only)
    selected = [part for one in only for part in ("--only", one)]
    city.kontext(
        "run", "recipes/storyboard.yaml", "--set", *sets, *selected, "--out", str(tmp_path)
    )
    assert city.ended(order).state.name == "Completed", city.said()
    verdict = judged(city, plan)
    assert verdict.good, verdict
    assert verdict.quarantined == 0
    assert set(city.calls.computations(set(plan.steps)).values()) == {1}
    most, share = apart(city.home, plan.steps, tmp_path)
    assert most <= MOST_LEVELS
    assert share <= MOST_SHARE


def test_whatever_is_killed_a_run_ends_complete(struck):
    sets = ("defaults.steps=2", "defaults.seed=5")
    plan = planned("product-backgrounds", *sets)
    storm = Storm(struck, seed=5)
    victims = ("worker-2", "engine-1", "postgres", "parents", "s3")
    order = struck.order("product-backgrounds", *sets)
    ran = storm.ride(order, "", plan, len(victims), victims=victims, pause=(0.3, 1.5))
    assert len(ran.strikes) >= 3, ran
    assert ran.verdict.good, ran.verdict
    assert ran.state == "Completed"
    assert not ran.unexcused, ran.unexcused
    assert set(struck.calls.loads().values()) == {1}


def test_a_cancelled_run_stops_within_a_denoise_step(city):
    sets, only = ("defaults.steps=50", "defaults.seed=6"), ("character=raccoon",)
    plan = planned("storyboard", *sets, only=only)  # one chunk
    keys = set(plan.steps)
    order = city.order("storyboard", *sets, only=only)
    until(lambda: city.calls.of("step", keys), PATIENCE, city.said)
    engines = {worker.engine for worker in city.workers}
    asked = time.time()
    city.cancel(order)
    assert city.ended(order).state.name == "Cancelled", city.said()
    until(lambda: not city.home.names("leases/"), PATIENCE, city.said)
    manifest = city.home.manifest(plan)
    assert manifest is not None
    assert manifest.ending is Ending.INTERRUPTED
    assert manifest.in_state(State.PENDING)
    steps = city.calls.of("step", keys)
    for worker in city.workers:
        at = noticed(worker.log, asked)
        if at is not None:
            # The one that was under way, and one more if that ended in this very moment.
            assert sum(call.time > at for call in steps if call.worker == worker.name) <= 2
    # The engines have kept their models, and nobody computes any more for what was cancelled.
    sets = ("defaults.steps=2", "defaults.seed=6")
    again = planned("storyboard", *sets, only=only)
    assert city.ended(city.order("storyboard", *sets, only=only)).state.name == "Completed"
    assert judged(city, again).good
    assert len(city.calls.of("step", keys)) == len(steps)
    assert {call.pid for call in city.calls.of("start", set(again.steps))} <= engines


def test_a_drained_worker_hands_back_what_it_did_not_do(city):
    sets = ("defaults.steps=4", "defaults.seed=7")
    plan = planned("style-series", *sets)
    keys = set(plan.steps)
    order = city.order("style-series", *sets)

    def at_work() -> list[str]:
        return sorted({c.worker for c in city.calls.of("step", keys)})

    until(at_work, PATIENCE, city.said)
    drained = at_work()[0]  # the other may have nothing to do: it is one chunk
    assert city.kept[drained].stop() == 0, city.said()
    stopped = time.time()
    city.kept[drained].start()
    assert city.ended(order).state.name == "Completed", city.said()
    until(lambda: not city.home.names("leases/"), PATIENCE, city.said)
    verdict = city.home.judge(plan)
    assert verdict.good, verdict
    # What was in the batch that was stopped is made once more, and nothing else.
    again = {key for key, count in city.calls.computations(keys).items() if count > 1}
    left = [c.time for c in city.calls.of("start", again) if c.worker == drained]
    assert not left or min(left) < stopped
    assert max(city.calls.computations(keys).values()) <= 2
    assert set(city.calls.loads().values()) == {1}
