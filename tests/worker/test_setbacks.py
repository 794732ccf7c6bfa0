"""A worker where nothing succeeds keeps away from what others could make."""

from __future__ import annotations

from flows.scheduling.setbacks import IN_A_ROW, LONGEST, Setbacks
from flows.workers.health import unready_of


def test_a_few_in_a_row_set_it_apart_and_each_failed_trial_doubles_that():
    now = [0.0]
    setbacks = Setbacks(clock=lambda: now[0])
    rests = []
    for _ in range(IN_A_ROW - 1):
        setbacks.fruitless("its GPU is lost")
        assert setbacks.may_take(5)
        assert setbacks.why == ""
    for _ in range(8):
        setbacks.fruitless("its GPU is lost")
        assert not setbacks.may_take(0)
        began = now[0]
        while not setbacks.may_take(0):
            now[0] += 1.0
        rests.append(now[0] - began)
        assert not setbacks.may_take(1)  # one on trial, and no second beside it
    assert rests == [60, 120, 240, 480, 960, LONGEST, LONGEST, LONGEST]


def test_what_is_made_ends_it():
    setbacks = Setbacks(clock=lambda: 0.0)
    for _ in range(IN_A_ROW + 2):
        setbacks.fruitless("no model")
    setbacks.fruitful()
    assert setbacks.may_take(5)
    setbacks.fruitless("no model")
    assert setbacks.may_take(5)


def test_people_are_told_why_and_until_when():
    now = [0.0]
    setbacks = Setbacks(clock=lambda: now[0])
    for why in ("no model", "no model", "its GPU is lost"):
        setbacks.fruitless(why)
    now[0] = 20.0
    told = "3 attempts in a row came to nothing (its GPU is lost); a trial in 40 s"
    assert setbacks.why == told
    assert unready_of([], draining=False, quarantine=setbacks.why) == f"quarantined: {told}"
    now[0] = 60.0
    assert setbacks.why.endswith("; on trial")
