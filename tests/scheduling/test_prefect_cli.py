"""Prefect's own command line as it is installed: people look with it, and pins keep it working.

From fastapi 0.151 on, the same versions of Prefect get 422 here for the nulls that they send.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId

from flows.scheduling.names import CHUNKS_POOL, MAKE_CHUNK, NIGHTLY, PARENTS_POOL, RUN_RECIPE
from flows.scheduling.names import deployment as full_name

# The console script, again and again in one process: to begin takes it seconds of a processor.
PROGRAM = """
import contextlib, io, json, sys
from prefect.cli import app
for line in sys.stdin:
    sys.argv = ["prefect", *json.loads(line)]
    said, code = io.StringIO(), 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            app()
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([code, said.getvalue()]), flush=True)
"""


@pytest.fixture(scope="module")
def command_line(prefect):
    # Wide enough that no table cuts a name.
    environment = {**os.environ, **prefect.environment, "COLUMNS": "300"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def prefect_says(command_line, board):
    """``prefect VERB ls`` as people call it; its answer."""
    board.deploy()

    def ask(*words: str) -> str:
        command_line.stdin.write(json.dumps(words) + "\n")
        command_line.stdin.flush()
        code, said = json.loads(command_line.stdout.readline())
        assert not code, said
        return said

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
    # Other tests may have scheduled runs for later: this order alone is asked for.
    ours = DeploymentFilter(id=DeploymentFilterId(any_=[board.deployment(RUN_RECIPE).id]))
    (run,) = board.client.read_flow_runs(deployment_filter=ours)
    assert run.parameters["recipe"] == "ten"
    assert run.parameters["store"] == board.store
    said = prefect_says("flow-run", "ls", "--limit", "200")
    assert run.name in said
    assert RUN_RECIPE in said
    with pytest.raises(AssertionError, match="Validation failed"):
        prefect_says(*order, "overrides=[1]")
