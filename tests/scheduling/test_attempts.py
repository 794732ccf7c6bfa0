"""What cannot be made is given up, by itself; its worker is not worn out, and all else is made."""

from __future__ import annotations

import json
import re
import time
from uuid import UUID

import pytest
from PIL import Image

from flows.run.manifest import Manifest
from flows.run.outcome import State
from flows.scheduling.shown import FAILURES
from tests.chaos.engines import DEADLY
from tests.chaos.processes import until

from .quick import kontext, logged, shown

TEXT = """\
version: 1
name: deadly-{salt}
inputs: {{pic: pic.png}}
matrix:
  what: [make it snow {salt}, "{deadly} {salt}", make it rain {salt}]
steps:
  first: {{op: edit, image: pic, prompt: "{{what}}", steps: 2}}
  second: {{op: edit, image: first, prompt: at night, steps: 2}}
"""


@pytest.fixture
def recipe(tmp_path):
    Image.new("RGB", (128, 128), "red").save(tmp_path / "pic.png")
    path = tmp_path / "recipe.yaml"
    path.write_text(TEXT.format(salt=time.time_ns() % 10**9, deadly=DEADLY))
    return path


def test_a_picture_that_kills_its_engine_fails_and_blocks_only_what_needs_it(quick, recipe):
    done = kontext(quick, "run", recipe, "--prefect", "--json", cwd=recipe.parent)
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    assert answer["counts"] == {**answer["counts"], "done": 4, "failed": 1, "blocked": 1}
    name = answer["manifest"].removeprefix(f"{quick.store}/")
    manifest = Manifest.model_validate_json(quick.home.get(name))
    (failed,) = manifest.in_state(State.FAILED)
    assert DEADLY in failed.label or DEADLY in failed.params["prompt"]
    assert "given up after 3 attempts that made nothing" in failed.reason
    assert "died of signal 9" in failed.reason
    (blocked,) = manifest.in_state(State.BLOCKED)
    assert blocked.blocked_by == failed.key
    # Whoever looks at the run in the dashboard reads the same.
    run = UUID(re.search(r"flow-run/(\S+)", done.stderr)[1])

    def told() -> str:
        return "\n".join(logged(quick, run))

    # Prefect sends what a run says every two seconds.
    until(lambda: "given up after 3 attempts that made nothing" in told(), 30.0, told)
    assert f"{failed.label}: attempt 1 failed: " in told()
    # They come after the manifest, with which the command has ended.
    rows = json.loads(until(lambda: shown(quick, run, FAILURES), 60.0, quick.said))
    assert {(row["step"], row["ended"]) for row in rows} == {
        (failed.label, "failed"),
        (blocked.label, "blocked"),
    }
    # Nobody else was charged: each of the others was made at the first try that reached it.
    keys = {step.key for step in manifest.in_state(State.DONE)}
    assert set(quick.calls.computations(keys).values()) == {1}
