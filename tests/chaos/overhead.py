"""``python -m tests.chaos.overhead 240:1 1440:8``: pictures and engines; wall over engine time.

Engines sleep a second a picture and take none of the processor's. Wall is taken from the first
chunk's start to the manifest.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from flows.run.pipeline import RunRequest, plan_recipe
from flows.scheduling.names import chunks_of
from flows.settings import Settings

from .city import PATIENCE, City
from .long import say
from .processes import until

EDIT = 1.0  # seconds


def write_recipe(folder: Path, pictures: int, salt: str) -> str:
    """A recipe of so many pictures that share nothing; its name."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"many-{pictures}-{salt}"
    numbers = ", ".join(map(str, range(pictures)))
    (folder / f"{name}.yaml").write_text(
        f"version: 1\nname: {name}\nmatrix:\n  number: [{numbers}]\n"
        "defaults: {steps: 1, size: 64x64}\nsteps:\n"
        f'  s0: {{op: generate, prompt: "scene {{number}} {salt}"}}\n'
        'outputs:\n  - {step: s0, name: "{number}"}\n'
    )
    return name


def measured(city: City, recipes: Path, pictures: int, engines: int) -> str:
    """One run; a line for it."""
    name = write_recipe(recipes, pictures, f"{time.time_ns() % 10**8}")
    plan = plan_recipe(RunRequest(recipes / f"{name}.yaml", settings=Settings()))
    ordered = time.time()
    order = city.order(name)
    state = until(
        lambda: (run := city.flow_run(order)).state.is_final() and run.state,
        PATIENCE * 4,
        city.said,
    )
    assert state.name == "Completed", f"{state.message}\n{city.said()}"
    calls = city.calls.of("start", set(plan.steps))
    manifest = city.home.manifest(plan)
    assert manifest is not None
    written = datetime.fromisoformat(manifest.written).timestamp()
    wall, engine = written - calls[0].time, EDIT * len(calls)
    chunks = len(city.home.names(f"verdicts/{chunks_of(order)}"))
    return (
        f"{pictures} pictures, {engines} engines: first one after {calls[0].time - ordered:.1f} s, "
        f"wall {wall:.1f} s, engines {engine:.0f} s, {chunks} chunks; wall / (engine seconds / "
        f"engines) {wall / (engine / engines):.3f}; {len(calls)} computations"
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+", metavar="PICTURES:ENGINES")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="kontext-overhead-"))
    recipes = folder / "recipes"
    recipes.mkdir(parents=True)
    with City(folder) as city:
        write_recipe(recipes, 1, "first")
        city.deploy("--recipes", str(recipes))
        city.start_parents("parents", "--recipes", str(recipes))
        now = 0
        for one in asked.runs:
            pictures, engines = map(int, one.split(":"))
            if engines != now:
                if now:
                    assert city.kept["worker-1"].stop() == 0
                city.start_worker(
                    "worker-1", "--engines", str(engines), engine="sleeping", seconds=EDIT
                )
                now = engines
                # What makes chunks a minute's worth is measured.
                measured(city, recipes, 8, engines)
            say(measured(city, recipes, pictures, engines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
