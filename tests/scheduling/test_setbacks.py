"""A worker where nothing succeeds keeps away for ever longer; what is made ends it."""

from __future__ import annotations

from flows.scheduling.setbacks import IN_A_ROW, LONGEST, Setbacks


def test_trials_come_after_1_2_4_minutes_and_at_most_30_and_a_picture_ends_them():
    now = [0.0]
    setbacks = Setbacks(lambda: now[0])
    for _ in range(IN_A_ROW - 1):
        setbacks.fruitless("no model")
        assert setbacks.may_take(0)
        assert setbacks.why == ""
    rests = []
    for _ in range(8):
        setbacks.fruitless("no model")
        began = now[0]
        assert not setbacks.may_take(0)
        assert "no model" in setbacks.why
        while not setbacks.may_take(0):
            now[0] += 1.0
        assert not setbacks.may_take(1), "one chunk on trial, no more"
        rests.append(now[0] - began)
    assert rests == [60, 120, 240, 480, 960, LONGEST, LONGEST, LONGEST]
    setbacks.fruitful()
    assert setbacks.may_take(5)
    assert setbacks.why == ""
    setbacks.fruitless("its engine died")
    assert setbacks.may_take(0)
