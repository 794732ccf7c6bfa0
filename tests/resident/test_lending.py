"""Who gets which engine: a table of cases without a process."""

from __future__ import annotations

from dataclasses import replace

from flows.resident.lending import PATIENCE, Waiter, next_loan
from flows.resident.messages import Model
from kontext_engine.fake import FAKE_SPEC
from kontext_engine.spec import NumericsProfile

A, B, C = (Model(replace(FAKE_SPEC, name=name), NumericsProfile()) for name in "abc")


def waiters(*asked):
    return [Waiter(model, priority, arrival) for arrival, (model, priority) in enumerate(asked)]


def loans(waiting, idle):
    """(arrival, engine) one after the other until nothing more can be lent."""
    waiting, idle, found = list(waiting), dict(idle), []
    while (waiter := next_loan(waiting, idle)) is not None:
        found.append((waiter.arrival, waiter.engine))
        waiting.remove(waiter)
        del idle[waiter.engine]
    return found


def test_nobody_waits_or_nothing_is_idle():
    assert next_loan([], {1: A}) is None
    assert next_loan(waiters((A, 0)), {}) is None


def test_by_priority_then_arrival():
    waiting = waiters((A, 5), (A, 0), (A, 5), (A, 0))
    assert loans(waiting, {1: A, 2: A, 3: A, 4: A}) == [(1, 1), (3, 2), (0, 3), (2, 4)]


def test_the_engine_that_holds_the_model_then_an_empty_one_then_any():
    assert loans(waiters((B, 0)), {1: A, 2: None, 3: B}) == [(0, 3)]
    assert loans(waiters((C, 0)), {1: A, 2: None, 3: B}) == [(0, 2)]
    assert loans(waiters((C, 0)), {1: A, 3: B}) == [(0, 1)]


def test_other_numerics_are_another_model():
    bf16 = Model(A.spec, NumericsProfile(dtype="bfloat16"))
    assert loans(waiters((bf16, 0)), {1: A, 2: None}) == [(0, 2)]


def test_one_who_needs_no_load_goes_before_one_who_does():
    assert loans(waiters((B, 0), (A, 0)), {1: A}) == [(1, 1)]


def test_but_not_before_one_of_a_higher_priority():
    assert loans(waiters((A, 1), (B, 0)), {1: A}) == [(1, 1)]


def test_and_not_for_ever():
    waiting = waiters((B, 0), *[(A, 0)] * (PATIENCE + 3))
    served = []
    for _ in range(PATIENCE + 1):
        waiter = next_loan(waiting, {1: A})
        waiting.remove(waiter)
        served.append(waiter.arrival)
    assert served == [*range(1, PATIENCE + 1), 0]
