"""Real servers, coordinator, workers and engines: a run as it should be, and one that is struck."""

from __future__ import annotations

import numpy as np
import pytest

from .city import City
from .storm import Storm
from .verdict import Home, planned

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    with City(tmp_path_factory.mktemp("city"), patience=15.0) as city:
        city.open()
        yield city


def assert_same_pictures(home: Home, keys, folder) -> None:
    """Contract 4 in float32: at most one level of 255, in at most 0.1 % of values."""
    from flows.store.local import LocalStore
    from tests.chaos.verdict import pixels

    local = LocalStore(folder)
    far = []
    for key in keys:
        record = local.find(key)
        assert record is not None
        far.append(np.abs(home.picture(key) - pixels(local.read(record))).ravel())
    difference = np.concatenate(far)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.001


def test_a_run_is_made_as_one_made_locally(city, tmp_path):
    sets, only = ("defaults.steps=4",), ("character=raccoon", "character=monkey")
    plan = planned("storyboard", *sets, only=only)
    order = city.order("storyboard", *sets, only=only)
    selected = [part for one in only for part in ("--only", one)]
    city.kontext(
        "run", "recipes/storyboard.yaml", "--set", *sets, *selected, "--out", str(tmp_path)
    )
    assert city.ended(order).state.name == "Completed", city.said()
    verdict = city.home.judge(plan)
    assert verdict.good, verdict
    assert verdict.quarantined == 0
    assert set(city.calls.computations(set(plan.steps)).values()) == {1}
    assert_same_pictures(city.home, plan.steps, tmp_path)


def test_whatever_is_killed_a_run_ends_complete(city):
    sets = ("defaults.steps=4", "defaults.seed=5")
    plan = planned("product-backgrounds", *sets)
    storm = Storm(city, seed=5)
    victims = ("worker-2", "engine-1", "postgres", "coordinator", "s3")
    order = city.order("product-backgrounds", *sets)
    ran = storm.ride(order, "", plan, len(victims), victims=victims, pause=(0.3, 1.5))
    assert len(ran.strikes) >= 3, ran
    assert ran.verdict.good, ran.verdict
    assert ran.state == "Completed"
    assert not ran.unexcused, ran.unexcused
    assert set(city.calls.loads().values()) == {1}
