"""What a parent makes of its children's ends, on a real server."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from prefect import flow
from prefect.states import Cancelled, Cancelling, Running

from flows.scheduling import parent as parent_module
from flows.scheduling.attempt import Attempt, become
from flows.scheduling.forms import NightlyForm
from flows.scheduling.night import Night, Recipe
from flows.scheduling.parent import CANCELLED
from flows.scheduling.site import Site, Tempo
from flows.settings import Settings


@flow
def some() -> None:
    """Nothing."""


@pytest.fixture
def night(client, tmp_path, monkeypatch):
    """A night under way, below another run, whose one recipe is ordered; nobody watches it."""
    monkeypatch.setattr(parent_module, "get_run_logger", lambda: logging.getLogger("night"))
    site = Site("parents", Settings(), tempo=Tempo(look=0.1))
    above, mine, child = (client.create_flow_run(some, state=Running()).id for _ in range(3))
    lease = SimpleNamespace(lost=False)
    become(Attempt(site=site, run=mine, name="night", lease=lease, above=(above,)))
    form = NightlyForm(recipes="", store=str(tmp_path / "store"), concurrency=1)
    made = Night(client, form)
    made.children = {"one": Recipe(name="one", run=child), "two": Recipe(name="two")}
    yield SimpleNamespace(parent=made, above=above, mine=mine, child=child)
    become(None)


@pytest.mark.parametrize("cancelled", ["above", "mine"])
def test_a_child_that_has_heard_of_it_first_does_not_make_its_parent_fail(client, night, cancelled):
    """Its last child ends as Cancelled before whoever watches has told the parent."""
    client.set_flow_run_state(getattr(night, cancelled), Cancelling(), force=True)
    client.set_flow_run_state(night.child, Cancelled(message="stopped"), force=True)
    night.parent.tend()
    assert night.parent.why == CANCELLED
    assert night.parent.children["two"].run is None  # and nothing more is begun


def test_a_child_that_alone_was_cancelled_ends_alone(client, night, monkeypatch):
    begun = []

    def begin(child):
        begun.append(child.name)
        child.end("begun")

    monkeypatch.setattr(night.parent, "begin", begin)
    client.set_flow_run_state(night.child, Cancelled(message="by hand"), force=True)
    night.parent.tend()
    assert night.parent.why == ""
    assert night.parent.children["one"].now == "Cancelled"
    assert begun == ["two"]
