"""A worker's log: JSON on each line, what Prefect writes too; or lines for people."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import logging, sys
from flows.cli.logs import begin_log
from flows.settings import Settings
say = begin_log(Settings(log_format=sys.argv[1], log_level="warning" if sys.argv[2:] else "info"))
say("metrics are there")
logging.getLogger("flows.x").info("two\\nlines, %d", 2)
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("flows.x").exception("no")
from prefect.logging.configuration import ensure_logging_setup
ensure_logging_setup()
logging.getLogger("prefect.flow_runs").warning("of %s", "Prefect", extra={"flow_run_name": "ten"})
"""


def logged(*arguments: str) -> tuple[str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore"},
        check=True,
    )  # fmt: skip
    return done.stdout, done.stderr.splitlines()


def test_each_line_is_an_object():
    out, lines = logged("json")
    found = [json.loads(line) for line in lines]
    assert out == ""
    assert [(one["level"], one["logger"], one["message"]) for one in found] == [
        ("info", "flows.worker", "metrics are there"),
        ("info", "flows.x", "two\nlines, 2"),
        ("error", "flows.x", "no"),
        ("warning", "prefect.flow_runs", "of Prefect"),
    ]
    assert found[2]["error"].endswith("ZeroDivisionError: division by zero")
    assert found[3]["flow_run"] == "ten"
    assert all(datetime.fromisoformat(one["time"]).utcoffset() is not None for one in found)


@pytest.mark.parametrize(("level", "shown"), [((), True), (("warning",), False)])
def test_lines_for_people_and_what_is_below_the_level_is_left_out(level, shown):
    out, lines = logged("text", *level)
    assert out == "metrics are there\n"
    assert any(line.endswith(" INFO two") for line in lines) == shown
    assert any(line.endswith(" ERROR no") for line in lines)
