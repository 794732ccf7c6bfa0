"""A worker's parts by themselves: its GPUs, its attempts, how it judges a result."""

from __future__ import annotations

import logging

import pytest
from flows.coordination.ledger import AttemptName, Result, StepSheet
from flows.workers.attempt import Attempt, End, Ticket, judge
from flows.workers.workshop import priority_of
from pydantic import ValidationError

from flows.execution.events import Settled
from flows.execution.outcome import State, StepOutcome
from flows.workers.gpus import visible_gpus
from flows.workers.options import WorkerOptions


@pytest.mark.parametrize(
    ("visible", "found"),
    [("0,1", ("0", "1")), ("", ()), ("-1", ()), ("2,-1,3", ("2",)), ("GPU-ab", ("GPU-ab",))],
)
def test_gpus_are_those_that_this_process_may_use(monkeypatch, visible, found):
    visible_gpus.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    try:
        assert visible_gpus() == found
        assert WorkerOptions().count == max(1, len(found))
        assert WorkerOptions().slots == 2 * max(1, len(found))
        assert WorkerOptions(engines=3, prefetch=1).slots == 4
    finally:
        visible_gpus.cache_clear()


@pytest.mark.parametrize(
    ("states", "given", "end", "why"),
    [
        ("dd", {}, End.COMPLETED, "2 of 2 steps are made, 3.0 s"),
        ("dc", {"handed_back": True}, End.HANDED_BACK, "2 of 2 steps are made; the rest"),
        ("dp", {"handed_back": True}, End.HANDED_BACK, "1 of 2 steps are made; the rest"),
        ("df", {}, End.FAILED, "1 of 2 steps are made: no such hat"),
        ("dp", {"why": "no model"}, End.FAILED, "1 of 2 steps are made: no model"),
        ("dp", {"cancelled": True}, End.CANCELLED, "1 of 2 steps are made; stopped"),
        ("df", {"cancelled": True}, End.FAILED, "no such hat"),
        ("dd", {"cancelled": True}, End.COMPLETED, "2 of 2"),
    ],
)
def test_a_result_is_judged_by_what_was_made(states, given, end, why):
    kinds = {"d": State.DONE, "c": State.CACHED, "f": State.FAILED, "p": State.PENDING}
    steps = {
        f"k{n}": StepSheet(state=kinds[one], reason="no such hat" if one == "f" else "")
        for n, one in enumerate(states)
    }
    cancelled = given.pop("cancelled", False)
    result = Result(holder="w", steps=steps, seconds=3.0, **given)
    verdict = judge(result, cancelled=cancelled)
    assert verdict.end is end
    assert why in verdict.why


def test_no_result_is_an_attempt_that_nobody_wants():
    assert judge(None, cancelled=False).end is End.NOT_WANTED


def test_parameters_of_a_flow_run_are_checked():
    good = {"store": "out", "run": "r", "chunk": "c1", "attempt": 2}
    assert Ticket.model_validate(good).name == AttemptName("r", "c1", 2)
    for wrong in ({"attempt": 0}, {"run": ""}, {"more": 1}):
        with pytest.raises(ValidationError):
            Ticket.model_validate({**good, **wrong})


def test_urgent_goes_before_nightly_before_what_nobody_knows():
    assert priority_of("urgent") < priority_of("nightly") < priority_of("default")
    assert priority_of(None) == priority_of("default")


def test_a_stopped_attempt_stops_the_engine_that_it_gets_later():
    class Engine:
        cancelled = False

        def cancel(self):
            self.cancelled = True

    ticket = Ticket(store="out", run="r", chunk="c1", attempt=1)
    attempt = Attempt(ticket, 1, lambda level, text: None)
    early = attempt.hire(Engine(), draining=lambda: False)
    assert not early.cancelled
    attempt.cancel()
    assert early.cancelled
    assert attempt.hire(Engine(), draining=lambda: False).cancelled
    fresh = Attempt(ticket, 1, lambda level, text: None)
    assert fresh.hire(Engine(), draining=lambda: True).cancelled
    assert not fresh.cancelled()


def test_people_hear_of_what_was_made_and_what_failed_but_not_of_what_was_there():
    said = []
    ticket = Ticket(store="out", run="r", chunk="c1", attempt=1)
    attempt = Attempt(ticket, 1, lambda level, text: said.append((level, text)))
    for state, reason in ((State.DONE, ""), (State.CACHED, ""), (State.FAILED, "no hat")):
        attempt.hear(Settled(StepOutcome("k", state, reason=reason), "hat[red]"))
    assert said == [
        (logging.INFO, "hat[red]: done"),
        (logging.WARNING, "hat[red]: failed: no hat"),
    ]
