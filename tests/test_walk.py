"""What ``kontext plan`` and ``run`` do goes downwards through the rooms, but for callbacks."""

from __future__ import annotations

import subprocess
import sys

from .rooms import FLOWS

FILL = "recipe: Template.render.<locals>.<genexpr> -> plan"
FILLED = {
    # How a placeholder is filled in: the language knows templates, the plan what stands for what.
    f"{FILL}: rendered.<locals>.fill",
    f"{FILL}: unsafe.<locals>.<lambda>",
}
HEARD = {
    # How people are told, and stop a run.
    "run: Asker.stop_if_cancelled -> cli: Interrupts.asked",
    "run: both.<locals>.hear -> cli: Interrupts.hear",
    "run: both.<locals>.hear -> cli: RunProgress.hear",
}


def test_no_room_calls_one_above_it_but_by_these_callbacks():
    walked = subprocess.run(
        [sys.executable, "-m", "tests.walk"],
        cwd=FLOWS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in walked.stderr.splitlines() if " -> " in line]
    assert set(lines) == {
        *(f"plan: {line}" for line in FILLED),
        *(f"run: {line}" for line in FILLED | HEARD),
    }, walked.stderr
    assert "4 done, 1 failed, 1 blocked" in walked.stdout + walked.stderr
