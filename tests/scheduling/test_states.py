"""What a run's own history tells: attempts that came to nothing, and how often it was retried."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import uuid4

import pytest
from prefect.states import (
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Failed,
    Pending,
    Running,
    Scheduled,
    Suspended,
)

from flows.scheduling.attempt import Why
from flows.scheduling.states import Try, is_hopeless, people_say, round_of, tries_in, try_words


def history(*tries):
    """A chunk's states, with these (worker, made) attempts that came to nothing."""
    states = [Scheduled()]
    for worker, made in tries:
        words = try_words(worker, made, 40, "its worker is dead")
        states += [Pending(), Running(), Scheduled(message=words)]
    return states


@pytest.mark.parametrize(
    ("tries", "row"),
    [
        ([], []),
        ([("a", 0)], [("a", 0)]),
        ([("a", 0), ("b", 0)], [("a", 0), ("b", 0)]),
        # One that has stored a picture sets the count to nothing, and does not count itself.
        ([("a", 0), ("b", 3)], []),
        ([("a", 0), ("b", 3), ("c", 3)], [("c", 3)]),
        ([("a", 5), ("b", 5), ("a", 7), ("c", 7), ("", 7)], [("c", 7), ("", 7)]),
    ],
)
def test_attempts_count_in_a_row_without_a_new_picture(tries, row):
    assert tries_in(history(*tries)) == [Try(*one) for one in row]


def test_what_others_say_of_a_run_is_no_attempt():
    states = [
        Scheduled(message="worker 'x' stops"),
        Failed(message="worker 'x' ended with 0 of 3 made: that is no state that sets back"),
        Scheduled(message="it is in hand of worker 'y'"),
    ]
    assert tries_in(states) == []


@pytest.mark.parametrize(
    ("workers", "row", "hopeless"),
    [
        (5, ["a", "a", "a", "a"], False),  # others may do it
        (5, ["a", "b", "a"], False),
        (5, ["a", "b", "c"], True),
        (2, ["a", "b"], False),
        (2, ["a", "b", "a"], True),
        (1, ["a", "a", "a"], True),
        (5, ["a", "b", "", ""], False),  # nobody knows whose it was
    ],
)
def test_a_chunk_fails_on_three_workers_or_three_times_where_there_are_fewer(
    workers, row, hopeless
):
    assert is_hopeless([Try(worker, 0) for worker in row], workers) is hopeless


def test_each_end_that_is_final_for_people_begins_a_round():
    states = [Running(), Completed(), Scheduled(), Running()]
    assert round_of(states) == 0
    assert round_of([*states, Failed(), Scheduled(), Cancelled(), Scheduled()]) == 2
    assert round_of([Running(), Crashed(), Scheduled(), Running()]) == 0


@pytest.mark.parametrize(
    ("own", "above", "said"),
    [
        (Running(), [], None),
        (Running(), [Running(), Completed()], None),
        (None, [None], None),
        (Cancelling(), [], Why.CANCEL),
        (Running(), [Running(), Cancelled()], Why.CANCEL),
        (Suspended(), [Running()], Why.SUSPEND),
        (Running(), [Suspended(), Running()], Why.WAIT),
        (Suspended(), [Suspended()], Why.SUSPEND),  # resumed for itself alone
        (Suspended(), [Cancelled()], Why.CANCEL),  # or it would wait for ever
        (Running(), [Suspended(), Cancelling()], Why.CANCEL),
        (Running(), ["deleted"], None),
        ("deleted", [Cancelled()], Why.CANCEL),
    ],
)  # fmt: skip
def test_what_people_say_of_a_run_and_of_those_above_it(own, above, said):
    asked = [uuid4() for _ in range(1 + len(above))]
    states = zip(asked, [own, *above], strict=True)
    runs = {one: SimpleNamespace(state=state) for one, state in states if state != "deleted"}
    assert people_say(runs, asked[0], asked[1:]) is said
