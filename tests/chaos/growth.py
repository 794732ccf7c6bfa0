"""``python -m tests.chaos.growth 1000 10000 100000``: plans of these sizes, made by an engine that
takes no time, through a parents' worker, Prefect on PostgreSQL and a worker into a local folder.

Prints a line for each and draws ``--plot`` (SVG, both axes logarithmic, so that what grows in
proportion is parallel to the dashed line).
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from flows.run.pipeline import RunRequest, plan_recipe
from flows.settings import Settings
from flows.store.local import LocalStore

from .city import City
from .long import say
from .processes import until

CHAIN = 10  # steps of a variant: one drawn, the others each an edit of the one before
TABLES = ("flow_run", "flow_run_state", "task_run", "events", "log", "artifact")
HOURS = 3600.0 * 3


@dataclass(frozen=True)
class Grown:
    """One plan's figures; memory is the highest resident set of each process."""

    steps: int
    chunks: int
    plan_seconds: float
    run_seconds: float
    parent_bytes: int
    worker_bytes: int
    rows: int
    database_bytes: int


class Village(City):
    """A city whose store is a folder, with recipes of its own and one worker."""

    @property
    def store(self) -> str:
        return str(self.folder / "store")

    @property
    def recipes(self) -> Path:
        return self.folder / "recipes"

    def settle(self) -> None:
        self.deploy("--recipes", str(self.recipes))
        self.start_parents("parents", "--recipes", str(self.recipes))
        self.start_worker("worker-1", engine="instant")

    def rows(self) -> tuple[int, int]:
        """Rows of the tables that grow, and bytes of the whole database."""

        async def ask() -> tuple[int, int]:
            url = self.postgres.url.replace("postgresql+asyncpg", "postgresql")
            connection = await asyncpg.connect(url)
            try:
                counts = [
                    await connection.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608
                    for table in TABLES
                ]
                query = "SELECT pg_database_size(current_database())"
                return sum(counts), await connection.fetchval(query)
            finally:
                await connection.close()

        return asyncio.run(ask())


def write_recipe(folder: Path, steps: int) -> str:
    """A recipe of ``steps`` steps in chains of ``CHAIN``; its name."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"growth-{steps}"
    numbers = ", ".join(map(str, range(steps // CHAIN)))
    lines = [
        "version: 1", f"name: {name}", "matrix:", f"  number: [{numbers}]",
        "defaults: {steps: 1, size: 64x64}", "steps:",
        '  s0: {op: generate, prompt: "scene {number}"}',
        *(
            f"  s{k}: {{op: edit, image: s{k - 1}, prompt: change it for the {k}. time}}"
            for k in range(1, CHAIN)
        ),
        "outputs:", f'  - {{step: s{CHAIN - 1}, name: "{{number}}"}}',
    ]  # fmt: skip
    (folder / f"{name}.yaml").write_text("\n".join(lines) + "\n")
    return name


def most_memory(pid: int | None) -> int:
    """The highest resident set (VmHWM) of a process, bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) << 10
    raise AssertionError(f"process {pid} has no VmHWM")


def grow(village: Village, name: str) -> Grown:
    began = time.monotonic()
    file = village.recipes / f"{name}.yaml"
    plan = plan_recipe(RunRequest(file, village.store, settings=Settings()))
    planned = time.monotonic() - began
    rows, size = village.rows()
    began = time.monotonic()
    order = village.order(name)
    chunks: set[str] = set()
    pids: dict[str, int] = {}

    def over() -> bool:
        for kept in village.kept.values():
            if kept.pid is not None:
                assert pids.setdefault(kept.name, kept.pid) == kept.pid, f"{kept.name} died"
        found = Path(village.store).glob(f"verdicts/chunks/{order}/*")
        chunks.update(path.name for path in found)
        time.sleep(1.0)
        return village.flow_run(order).state.is_final()

    until(over, HOURS, village.said)
    seconds = time.monotonic() - began
    state = village.flow_run(order).state
    assert state.name == "Completed", f"{state.name}: {state.message}\n{village.said()}"
    store = LocalStore(Path(village.store))
    assert all(found for _, found in store.has_all(plan.steps))
    rows_after, size_after = village.rows()
    return Grown(
        len(plan.steps), len(chunks), planned, seconds,
        most_memory(pids["parents"]), most_memory(pids["worker-1"]),
        rows_after - rows, size_after - size,
    )  # fmt: skip


HEAD = (
    f"{'steps':>7} {'chunks':>7} {'plan s':>7} {'run s':>7} {'parent MB':>15} "
    f"{'worker MB':>10} {'rows':>7} {'rows/chunk':>11} {'database MB':>12}"
)


def line(grown: Grown) -> str:
    return (
        f"{grown.steps:>7} {grown.chunks:>7} {grown.plan_seconds:>7.1f} {grown.run_seconds:>7.1f} "
        f"{grown.parent_bytes / 1e6:>15.0f} {grown.worker_bytes / 1e6:>10.0f} "
        f"{grown.rows:>7} {grown.rows / max(1, grown.chunks):>11.1f} "
        f"{grown.database_bytes / 1e6:>12.1f}"
    )


WIDTH, HEIGHT, LEFT, BASE = 640, 360, 60, 320
COLOURS = ("#2563eb", "#dc2626", "#059669", "#7c3aed", "#d97706")


def plot(every: Sequence[Grown]) -> str:
    """Time, memory and rows over steps, both axes logarithmic, as SVG."""
    series = {
        "run, s": [g.run_seconds for g in every],
        "plan, s": [g.plan_seconds for g in every],
        "parent, MB": [g.parent_bytes / 1e6 for g in every],
        "worker, MB": [g.worker_bytes / 1e6 for g in every],
        "database rows": [float(g.rows) for g in every],
    }
    values = [value for row in series.values() for value in row]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    first, last = (math.log10(g.steps) for g in (every[0], every[-1]))

    def x(steps: float) -> float:
        return LEFT + (WIDTH - LEFT - 170) * (math.log10(steps) - first) / ((last - first) or 1)

    def y(value: float) -> float:
        return BASE - (BASE - 30) * (math.log10(value) - low) / ((high - low) or 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for power in range(low, high + 1):
        at = y(10.0**power)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - 170}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{10.0**power:g}</text>'
        )
    for grown in every:
        at = x(grown.steps)
        parts.append(
            f'<text x="{at:.1f}" y="{BASE + 18}" text-anchor="middle">{grown.steps:,}</text>'
        )
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 6}">steps of the plan</text>')
    rise = [10.0**low, 10.0**low * every[-1].steps / every[0].steps]
    parts.append(
        f'<path d="M{x(every[0].steps):.1f} {y(rise[0]):.1f}L{x(every[-1].steps):.1f} '
        f'{y(rise[1]):.1f}" stroke="#999" stroke-dasharray="5 4"/>'
        f'<text x="{x(every[-1].steps) + 6:.1f}" y="{y(rise[1]):.1f}" fill="#999">'
        "in proportion</text>"
    )
    labels: list[tuple[float, str, str]] = []
    for colour, (name, row) in zip(COLOURS, series.items(), strict=True):
        points = [(x(g.steps), y(v)) for g, v in zip(every, row, strict=True)]
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        labels.append((points[-1][1] + 4, colour, name))
    below = 0.0
    for wanted, colour, name in sorted(labels):
        at = below = max(wanted, below + 14)  # two lines that end together keep their names apart
        parts.append(f'<text x="{WIDTH - 164}" y="{at:.1f}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>"])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("steps", nargs="+", type=int)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="kontext-growth-"))
    # What makes chunks a minute's worth is measured: a first run, not counted, is to tell.
    first, *names = (
        write_recipe(folder / "recipes", steps) for steps in (20 * CHAIN, *asked.steps)
    )
    every: list[Grown] = []
    with Village(folder) as village:
        village.settle()
        grow(village, first)
        say(HEAD)
        for name in names:
            every.append(grow(village, name))
            say(line(every[-1]))
    if asked.plot:
        asked.plot.write_text(plot(every))
    return 0


if __name__ == "__main__":
    sys.exit(main())
