"""Of Prefect only public names are used, and those are there in the installed version."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.deployments import run_deployment
from prefect.exceptions import Abort
from prefect.flow_engine import run_flow
from prefect.workers.base import BaseWorker

from flows.scheduling.attempt import Stop

FOLDER = Path(__file__).parents[2] / "flows" / "scheduling"
FILES = sorted(FOLDER.glob("*.py"))
OWN = {"self", "cls"}


def names(path: Path):
    return ast.walk(ast.parse(path.read_text("utf-8")))


def is_own(node):
    """Whether an attribute with an underscore is ours to touch."""
    dunder = node.attr.startswith("__") and node.attr.endswith("__")
    owner = node.value.id if isinstance(node.value, ast.Name) else ""
    return dunder or owner in OWN or ast.unparse(node) == "os._exit"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_taken_of_prefect_is_there_and_public(path):
    for node in names(path):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            assert is_own(node), f"{path.name}:{node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prefect"):
            taken = [*node.module.split("."), *(alias.name for alias in node.names)]
            assert not any(name.startswith("_") for name in taken), taken
            module = importlib.import_module(node.module)
            missing = [one.name for one in node.names if not hasattr(module, one.name)]
            assert not missing, f"{node.module}: {missing}"


def test_what_the_worker_takes_from_its_base_is_there():
    for name in ("run", "sync_with_backend", "get_and_submit_flow_runs", "work_pool"):
        assert hasattr(BaseWorker, name), name
    wanted = {"work_pool_name", "name", "limit", "prefetch_seconds", "heartbeat_interval_seconds"}
    assert wanted <= set(inspect.signature(BaseWorker.__init__).parameters)


def test_what_ends_a_body_passes_through_the_engine():
    assert issubclass(Stop, Abort)
    assert {"flow", "flow_run", "parameters", "return_type"} <= set(
        inspect.signature(run_flow).parameters
    )
    assert {"idempotency_key", "as_subflow", "scheduled_time", "tags", "work_queue_name"} <= set(
        inspect.signature(run_deployment).parameters
    )


def test_what_is_asked_of_the_client_is_there():
    asked = {
        node.attr
        for path in FILES
        for node in names(path)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"client", "self.client"}
    }
    assert asked >= {"read_flow_runs", "set_flow_run_state", "create_variable", "request"}
    assert {name for name in asked if not hasattr(SyncPrefectClient, name)} == set()
