"""``python -m tests.up.kills [--store FOLDER] [--postgres]``: each process killed in turn.

Each once, by -9, while a recipe runs; then the supervisor, and a second start goes on with the run.
Times are of this machine at this moment.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flows.up.programs import DRAIN
from tests.chaos.processes import until

from .house import PATIENCE, House

STEPS = 24
RECIPE = "version: 1\nname: kills\nmatrix: {n: [%s]}\nsteps:\n  s: {op: generate, prompt: '{n}'}\n"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def computed(house: House) -> int:
    """How many pictures engines have begun."""
    file = house.folder / "calls.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return sum(json.loads(line)["event"] == "start" for line in lines)


def killed(house: House, name: str, seed: int) -> str:
    """One kill in the middle of a run; what came of it."""
    before = computed(house)
    run = house.order("kills", f"defaults.seed={seed}")
    until(lambda: computed(house) >= before + STEPS // 4, PATIENCE, house.said)
    pid = house.victim(name)
    assert pid is not None, name
    os.kill(pid, signal.SIGKILL)
    at = time.monotonic()
    back = 0.0
    if name != "up":
        until(lambda: house.victim(name) not in {None, pid}, PATIENCE, house.said)
        back = time.monotonic() - at
    until(lambda: house.state_of(run) in {"Completed", "Failed", "Crashed"}, PATIENCE, house.said)
    state, after = house.state_of(run), time.monotonic() - at
    made = computed(house) - before
    assert state == "Completed", (name, state)
    return f"{name}: back after {back:.0f} s, {state} after {after:.0f} s, {made} begun of {STEPS}"


def supervisor_killed(house: House, seed: int) -> str:
    before = computed(house)
    run = house.order("kills", f"defaults.seed={seed}")
    until(lambda: computed(house) >= before + STEPS // 4, PATIENCE, house.said)
    pids = [*house.state.processes().values(), house.victim("engine")]
    os.kill(house.victim("supervisor"), signal.SIGKILL)
    at = time.monotonic()
    until(lambda: house.gone(pids), 10, house.said)
    gone = time.monotonic() - at
    code = house.process.wait(PATIENCE) if house.process is not None else None
    last = house.said().splitlines()[-1]
    up = house.start()
    until(lambda: house.state_of(run) in {"Completed", "Failed"}, PATIENCE, house.said)
    assert house.state_of(run) == "Completed"
    return (
        f"supervisor: its {len(pids)} processes gone after {gone:.1f} s; 'up' ended with {code}: "
        f"{last}\nsecond up after {up:.0f} s, the run Completed "
        f"{time.monotonic() - at:.0f} s after the kill, {computed(house) - before} begun of {STEPS}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", default="")
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--seconds", type=float, default=1.0, help="that an edit takes")
    given = parser.parse_args()
    options = [*(["--store", given.store] if given.store else [])]
    options += ["--postgres"] if given.postgres else []
    with tempfile.TemporaryDirectory(prefix="kontext-up-") as folder:
        Path(folder).chmod(0o755)
        with House(Path(folder), *options, seconds=given.seconds) as house:
            numbers = ", ".join(map(str, range(STEPS)))
            (house.folder / "recipes" / "kills.yaml").write_text(RECIPE % numbers)
            say(f"up after {house.start():.0f} s")
            seed = 0
            for name in [*house.state.processes(), "engine"]:
                seed += 1
                say(killed(house, name, seed))
            say(supervisor_killed(house, seed + 1))
            say(killed(house, "up", seed + 2))
            decoy = subprocess.Popen(["sleep", "600"], cwd=house.folder)
            pids, at = list(house.state.processes().values()), time.monotonic()
            done = house.kontext("down")
            say(f"down ended with {done.returncode} after {time.monotonic() - at:.0f} s: "
                f"{done.stdout.splitlines()}")  # fmt: skip
            assert house.gone(pids) and decoy.poll() is None
            assert time.monotonic() - at < 3 * DRAIN
            decoy.kill()
            decoy.wait()
            again = house.start()
            seen = house.kontext("gc", "--verify", variables=house.variables)
            told = f"{seen.returncode} {seen.stdout.strip()}"
            say(f"third up after {again:.0f} s; gc --verify: {told}")
            shown = house.kontext("runs", variables=house.variables)
            say(shown.stdout)
            say(f"Ctrl-C: {house.interrupt()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
