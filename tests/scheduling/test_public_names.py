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


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_private_is_touched(path):
    for node in names(path):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prefect"):
            assert not any(part.startswith("_") for part in (node.module or "").split("."))
            assert not any(alias.name.startswith("_") for alias in node.names)
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            dunder = node.attr.startswith("__") and node.attr.endswith("__")
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            whose = ast.unparse(node)
            assert (
                dunder
                or owner in OWN
                or (path.stem, owner) == ("os", "_exit")
                or (whose == "os._exit")
            ), f"{path.name}:{node.lineno}: {whose}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_imported_of_prefect_is_there(path):
    for node in names(path):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prefect"):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


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
    for name in (
        "read_flow_run", "read_flow_runs", "read_flow_run_states", "set_flow_run_state",
        "update_flow_run", "read_workers_for_work_pool", "read_variable_by_name",
        "create_variable", "update_variable", "create_artifact", "update_artifact",
        "read_artifacts", "create_flow_run_from_deployment", "read_deployment_by_name",
        "count_flow_runs", "read_work_pool", "read_flow", "request",
    ):  # fmt: skip
        assert callable(getattr(SyncPrefectClient, name)), name
