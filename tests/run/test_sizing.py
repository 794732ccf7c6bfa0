"""How long steps will take by the store's records, and what a chunk should hold."""

from __future__ import annotations

import statistics

import pytest

from flows.execution.sizing import RECENT, StepTimes, chunk_seconds

from .measured import record_of
from .samples import PlanMaker


def one_step():
    maker = PlanMaker()
    maker.step("s", "0", [], "0")
    plan = maker.plan()
    return plan, next(iter(plan.steps.values()))


def test_times_are_the_median_of_what_was_measured_for_the_same_kind():
    maker = PlanMaker()
    root = maker.step("make", "a", [], "a", steps=10)
    maker.step("edit", "b", [root], "b", steps=10)
    maker.step("firm", "c", [root], "c", steps=10, true_cfg=2.0)
    plan = maker.plan()
    make, edit, firm = plan.steps.values()
    times = StepTimes(plan)
    assert times.seconds(make) is None
    for seconds in (1.0, 3.0, 50.0):
        times.add(record_of(plan, make, seconds))
    assert times.seconds(make) == pytest.approx(3.0)
    assert times.seconds(edit) == pytest.approx(6.0)  # no such record: by its work
    times.add(record_of(plan, edit, 9.0))
    assert times.seconds(edit) == pytest.approx(9.0)
    assert times.seconds(make) == pytest.approx(3.0)
    assert times.seconds(firm) == pytest.approx(4 * statistics.median((1, 3, 50, 4.5)))


def test_records_of_other_weights_or_numerics_tell_nothing():
    plan, step = one_step()
    times = StepTimes(
        plan,
        [
            record_of(plan, step, 9.0, model_digest="ab" * 32),
            record_of(plan, step, 9.0, numerics={"dtype": "bfloat16"}),
            record_of(plan, step, 9.0, params={"steps": 0}),
        ],
    )
    assert times.seconds(step) is None


def test_times_follow_a_machine_that_has_become_slower():
    plan, step = one_step()
    times = StepTimes(plan, [record_of(plan, step, 1.0)] * 200)
    for _ in range(RECENT // 2 + 1):
        times.add(record_of(plan, step, 5.0))
    assert times.seconds(step) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("total", "engines", "expected"),
    [(0, 1, 60), (100, 1, 60), (720, 2, 60), (1200, 2, 100), (1e6, 8, 160), (1e6, 0, 160)],
)
def test_there_is_a_minute_in_a_chunk_and_more_where_there_is_enough_for_all(
    total, engines, expected
):
    assert chunk_seconds(total, engines) == expected
