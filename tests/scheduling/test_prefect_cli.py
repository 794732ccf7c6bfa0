"""Prefect's own command line as it is installed: people look with it, and pins keep it working.

From fastapi 0.151 on, the same versions of Prefect get 422 here for the nulls that they send.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from prefect.client.schemas.sorting import FlowRunSort

from flows.scheduling.names import CHUNKS_POOL, MAKE_CHUNK, NIGHTLY, PARENTS_POOL, RUN_RECIPE
from flows.scheduling.names import deployment as full_name


@pytest.fixture
def prefect_says(prefect, board):
    """``prefect VERB ls`` as people call it; its answer."""
    board.deploy()

    def ask(*words: str) -> str:
        # Wide enough that no table cuts a name.
        environment = {**os.environ, **prefect.environment, "COLUMNS": "300"}
        command = [sys.executable, "-m", "prefect", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return ask


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("work-pool ls", [PARENTS_POOL, f" {CHUNKS_POOL} "]),
        ("deployment ls", [full_name(flow) for flow in (RUN_RECIPE, NIGHTLY, MAKE_CHUNK)]),
    ],
)
def test_it_lists_what_is_deployed(prefect_says, words, named):
    said = prefect_says(*words.split())
    assert [name for name in named if name not in said] == []


def test_it_orders_a_run_and_lists_it(prefect_says, board):
    """Enforced: what the form does not allow is refused here, too."""
    order = ("deployment", "run", full_name(RUN_RECIPE), "--param")
    prefect_says(*order, "recipe=ten")
    (run,) = board.client.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1)
    assert run.parameters["recipe"] == "ten"
    assert run.parameters["store"] == board.store
    said = prefect_says("flow-run", "ls", "--limit", "200")
    assert run.name in said
    assert RUN_RECIPE in said
    with pytest.raises(AssertionError, match="Validation failed"):
        prefect_says(*order, "overrides=[1]")
