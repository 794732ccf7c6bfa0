"""``python -m tests.acceptance.killed --kills 5``: both shipped recipes, whole, into a real S3
server that is killed -9 and started again meanwhile; then pulled and held against a local run.

The suite does the same with shortened recipes and two kills at chosen requests.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.acceptance.conftest import ROOT, contents
from tests.acceptance.test_s3 import RECIPES, assert_same_run
from tests.chaos.city import KONTEXT
from tests.chaos.long import say
from tests.servers.seaweed import BUCKET, Seaweed


def kontext(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [KONTEXT, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


class Killer(threading.Thread):
    """Kills the server ``count`` times, at seeded moments within about ``seconds``."""

    def __init__(self, server: Seaweed, seed: int, count: int, seconds: float) -> None:
        super().__init__(daemon=True)
        self.server, self.count = server, count
        self.dice, self.seconds = random.Random(seed), seconds
        self.kills: list[float] = []
        self.over = threading.Event()

    def run(self) -> None:
        began = time.monotonic()
        for _ in range(self.count):
            share = self.seconds / self.count
            if self.over.wait(self.dice.uniform(0.3, 1.0) * share):
                return
            self.kills.append(time.monotonic() - began)
            self.server.kill9()
            time.sleep(self.dice.uniform(0.3, 3.0))
            self.server.start()


def strike(server: Seaweed, recipe: str, seed: int, count: int, folder: Path) -> bool:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    remote, store = plain | server.environment, f"s3://{BUCKET}/night"
    began = time.monotonic()
    here = kontext(plain, "run", f"recipes/{recipe}.yaml", "--out", str(folder / "local"))
    assert here.returncode == 0, here.stderr
    (local,) = (folder / "local" / "runs").glob(f"*-{recipe}-*")
    killer = Killer(server, seed, count, time.monotonic() - began)
    killer.start()
    there = kontext(remote, "run", f"recipes/{recipe}.yaml", "--store", store)
    killer.over.set()
    killer.join()
    assert there.returncode == 0, there.stderr
    target = folder / "pulled" / recipe
    pulled = kontext(remote, "pull", recipe, str(target), "--store", store)
    assert pulled.returncode == 0, pulled.stderr
    assert_same_run(target, local)
    again = kontext(remote, "pull", recipe, str(target), "--store", store)
    count_files = len(contents(target))
    assert f"0 pulled, {count_files} there" in again.stdout, again.stdout
    moments = ", ".join(f"{at:.1f}" for at in killer.kills)
    say(f"{recipe}: complete; server killed at {moments} s; pulled {count_files} files, equal to")
    say("  the local run; a second pull transferred nothing")
    return len(killer.kills) == count


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kontext-killed-") as name:
        folder = Path(name)
        with Seaweed(folder / "seaweed") as server:
            server.make_bucket(BUCKET)
            hit = [
                strike(server, recipe, asked.seed + k, asked.kills, folder)
                for k, recipe in enumerate(RECIPES)
            ]
    if not all(hit):
        say("a run was over before all kills had come; take another --seed")
    return 0 if all(hit) else 1


if __name__ == "__main__":
    sys.exit(main())
