"""Parents on their way in, by themselves: Prefect is a book here."""

from __future__ import annotations

import uuid
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled, Cancelling, Pending

from flows.coordination.intake import RunForm, Wait
from flows.orchestration.parents import Parents, _Taken

FORM = RunForm(recipe="ten", overrides=[], only=[])


class Book:
    """Flow runs and their states."""

    def __init__(self) -> None:
        self.states = {}

    def flow_run(self, id_):
        state = self.states.get(id_)
        return state and SimpleNamespace(id=id_, state=state, state_type=state.type)

    def set_state(self, id_, state, *, force=False):
        self.states[id_] = state
        return True


@pytest.mark.parametrize(
    ("said", "ends"),
    [
        (Pending(), (StateType.PENDING, "the same run is under way")),
        (Cancelling(), (StateType.CANCELLED, "interrupted before it began")),
        (Cancelled(message="by me"), (StateType.CANCELLED, "by me")),
    ],
)
def test_one_that_has_to_wait_is_cancelled_if_somebody_said_so_meanwhile(said, ends):
    book, flow_run = Book(), uuid.uuid4()
    asked = []
    parents = Parents(
        book, lambda *given: asked.append(given), None, None, "out", "w", clock=lambda: 0.0
    )
    planned: Future = Future()
    planned.set_result(Wait(message="the same run is under way"))
    parents._taken[flow_run] = _Taken(FORM, planned)
    book.states[flow_run] = said
    parents._collect(0.0)
    found = book.states[flow_run]
    assert (found.type, found.message) == ends
    waits = said.type is StateType.PENDING
    assert (flow_run in parents._taken) is waits
    parents._collect(100.0)
    assert bool(asked) is waits
