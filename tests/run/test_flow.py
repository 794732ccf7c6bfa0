"""The Prefect flow on Prefect's own harness: the same recipe both ways, the same pictures."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

import flows.recipe.plan
from flows.execution.outcome import Ending, State
from flows.pipeline import Hooks, RunRequest, plan_recipe, run_recipe
from kontext_engine.fake import FAKE_SPEC

from .samples import WatchedEngine


@pytest.fixture(scope="module")
def server():
    """A temporary Prefect server on loopback: the one dear thing here, started once."""
    from flows import run  # before prefect: it turns Prefect's analytics off

    harness = import_module("prefect.testing.utilities").prefect_test_harness

    with harness(server_startup_timeout=120):
        yield run


def pictures(finished) -> dict[str, bytes]:
    found = {}
    for entry in finished.manifest.outputs:
        if entry.sha256:
            with Image.open(Path(finished.folder) / entry.path) as image:
                found[entry.path] = image.tobytes()
    return found


def test_both_ways_give_the_same_pictures(server, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(flows.recipe.plan, "resolve_model", lambda name: FAKE_SPEC)
    (tmp_path / "in/p3.png").write_bytes(b"broken")

    def hooks(engine):
        return Hooks(factory=lambda plan, out, batch: engine.load)

    plain_request = RunRequest(recipe, tmp_path / "plain")
    plain = run_recipe(plan_recipe(plain_request), plain_request, hooks(WatchedEngine()))
    engine = WatchedEngine()
    request = RunRequest(recipe, tmp_path / "flow", sets=("what=snow",))
    as_flow = server.run_as_flow(request, hooks(engine))
    assert pictures(as_flow) == pictures(plain)
    assert len(pictures(plain)) == 9
    assert as_flow.manifest.counts == plain.manifest.counts
    assert engine.loads == 1

    again = server.run_as_flow(request, hooks(engine))
    assert again.manifest.counts[State.CACHED] == 18
    assert engine.loads == 1

    hooked = replace(hooks(engine), cancelled=lambda: True)
    stopped = server.run_as_flow(replace(request, sets=("what=rain",)), hooked)
    assert stopped.manifest.ending is Ending.INTERRUPTED

    recipe.write_text("version: 1\nsteps: {a: {op: edit}}\n")
    state = server.run_recipe_flow(recipe, return_state=True)
    assert state.name == "Failed"
    assert state.message.startswith(f"{recipe}:2:")

    # The broken input is seen on the dashboard, too.
    assert flow_states() == ["Failed", "Failed", "Cancelled", "Failed"]


def flow_states() -> list[str]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(limit=10, sort=FlowRunSort.START_TIME_ASC)
        return [run.state.name for run in runs]
