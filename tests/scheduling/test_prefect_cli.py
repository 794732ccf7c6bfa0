"""Prefect's own command line as it is installed: people look with it, and pins keep it working.

From fastapi 0.151 on, the same versions of Prefect get 422 here for the nulls that they send.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from flows.scheduling.names import (
    CHUNKS_POOL,
    MAKE_CHUNK,
    NIGHTLY,
    PARENTS_POOL,
    RUN_RECIPE,
    deployment,
)


@pytest.fixture
def prefect_says(prefect, board):
    """``prefect VERB ls`` as people call it; its answer."""
    board.deploy()

    def ask(*words: str) -> str:
        # Wide enough that no table cuts a name.
        environment = {**os.environ, **prefect.environment, "COLUMNS": "300"}
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return ask


def test_it_lists_both_pools(prefect_says):
    said = prefect_says("work-pool", "ls")
    assert PARENTS_POOL in said
    assert f" {CHUNKS_POOL} " in said


def test_it_lists_all_three_deployments(prefect_says):
    said = prefect_says("deployment", "ls")
    for flow in (RUN_RECIPE, NIGHTLY, MAKE_CHUNK):
        assert deployment(flow) in said


def test_it_orders_a_run_and_lists_it(prefect_says, board):
    """Enforced: what the form does not allow is refused here, too."""
    name = deployment(RUN_RECIPE)
    listed = ("flow-run", "ls", "--limit", "200")
    before = {run["id"] for run in json.loads(prefect_says(*listed, "--output", "json"))}
    prefect_says("deployment", "run", name, "--param", "recipe=ten")
    after = json.loads(prefect_says(*listed, "--output", "json"))
    (run,) = [run for run in after if run["id"] not in before]
    assert run["parameters"]["recipe"] == "ten"
    assert run["parameters"]["store"] == board.store
    said = prefect_says(*listed)
    assert run["name"] in said
    assert RUN_RECIPE in said
    with pytest.raises(AssertionError, match="Validation failed"):
        prefect_says("deployment", "run", name, "--param", "overrides=[1]")
