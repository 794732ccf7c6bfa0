"""Whatever is killed while a run goes on, it ends complete. (With real engines: tests/chaos.)"""

from __future__ import annotations

import time

from tests.chaos.storm import Storm
from tests.chaos.verdict import planned


def test_whatever_is_killed_a_run_ends_complete(quick):
    sets = ("defaults.steps=2", f"defaults.seed={time.time_ns() % 10**9}")
    plan = planned("product-backgrounds", *sets)
    victims = ("worker-1", "engine-1", "postgres", "parents", "s3")
    order = quick.order("product-backgrounds", *sets)
    ran = Storm(quick, seed=5).ride(
        order, "", plan, len(victims), victims=victims, pause=(0.2, 0.5)
    )
    assert len(ran.strikes) >= 3, ran
    assert ran.verdict.good, ran.verdict
    assert ran.state == "Completed"
    assert not ran.unexcused, ran.unexcused
    assert set(quick.calls.loads().values()) == {1}
