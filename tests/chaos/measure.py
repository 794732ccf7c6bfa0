"""``python -m tests.chaos.measure cancel crowd drain overhead pair night restart stores``.

Each once.

Times are of this machine at this moment; what must hold on any is in the tests.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterStartTime
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from flows.scheduling.names import RUN_RECIPE
from flows.scheduling.server import history
from flows.scheduling.states import tries_in
from tests.servers.seaweed import BUCKET

from .city import PATIENCE, City
from .long import say
from .processes import until
from .verdict import MOST_LEVELS, MOST_SHARE, RECIPES, Home, apart, planned

# A schedule's runs to come are flow runs, too: a hundred of them.
STARTED = FlowRunFilter(start_time=FlowRunFilterStartTime(is_null_=False))
OLDEST = FlowRunSort.START_TIME_ASC
EDITS = 1.0  # seconds that a sleeping engine takes for one


def cancelled(city: City) -> str:
    """Cancel a run of one chunk at work, and say what the engine did after that."""
    sets, only = (
        ("defaults.steps=50", f"defaults.seed={time.time_ns() % 10**6}"),
        "character=monkey",
    )
    plan = planned("storyboard", *sets, only=(only,))
    order = city.order("storyboard", *sets, only=(only,))
    keys = set(plan.steps)
    until(lambda: len(city.calls.of("step", keys)) > 8, PATIENCE, city.said)
    asked = time.time()
    city.cancel(order)
    city.ended(order)
    until(lambda: not city.home.names("leases/"), PATIENCE, city.said)
    steps = city.calls.of("step", keys)
    pace = statistics.median(b.time - a.time for a, b in itertools.pairwise(steps))
    text = f"last step {steps[-1].time - asked:.1f} s after the click (a step takes {pace:.2f} s)"
    (worker,) = {call.worker for call in steps}
    at = noticed(city.kept[worker].log, asked)
    if at is None:
        return f"{text}; the worker saw it in the store first"
    late = sum(call.time > at for call in steps)
    return f"{text}; the worker saw it after {at - asked:.1f} s; {late} steps ended after that"


def noticed(log: str, since: float) -> float | None:
    """When the worker said that something was cancelled."""
    for line in log.splitlines():
        if "people say: cancel" in line:
            at = datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f")
            if at.timestamp() >= since - 0.001:
                return at.timestamp()
    return None


def drained(city: City) -> tuple[int, float]:
    """SIGTERM to a worker at work: its exit code and the seconds that it took."""
    sets = ("defaults.steps=8", f"defaults.seed={time.time_ns() % 10**6}")
    plan = planned("style-series", *sets)
    order = city.order("style-series", *sets)
    worker = city.kept["worker-2"]
    keys = set(plan.steps)
    until(
        lambda: any(c.worker == worker.name for c in city.calls.of("step", keys)),
        PATIENCE,
        city.said,
    )
    began = time.time()
    code = worker.stop()
    seconds = time.time() - began
    del city.kept["worker-2"]
    assert city.ended(order).state.name == "Completed", city.said()
    until(lambda: not city.home.names("leases/"), PATIENCE, city.said)
    verdict = city.home.judge(plan)
    assert verdict.good, verdict
    return code, seconds


def slept(city: City, *sets: str) -> tuple[float, float, int]:
    """All recipes at once by sleeping engines: wall from the first chunk's start to the last
    manifest, engine seconds, and chunks sent."""
    plans = {path.stem: planned(path.stem, *sets) for path in sorted(RECIPES.glob("*.yaml"))}
    orders = [city.order(recipe, *sets) for recipe in plans]

    def over() -> bool:
        return all(city.flow_run(order).state.is_final() for order in orders)

    until(over, PATIENCE * 4, city.said)
    sent = [n for n in city.home.names("verdicts/chunks/") if any(str(o) in n for o in orders)]
    keys = {key for plan in plans.values() for key in plan.steps}
    written = [found.written for plan in plans.values() if (found := city.home.manifest(plan))]
    assert len(written) == len(plans)
    last = max(map(datetime.fromisoformat, written)).timestamp()
    begun = city.calls.of("start", keys)
    return last - begun[0].time, EDITS * len(begun), len(sent)


def night(city: City) -> None:
    """The six recipes by the schedule, every minute until it has started, then never again; held
    against local runs."""
    plans = {path.stem: planned(path.stem) for path in sorted(RECIPES.glob("*.yaml"))}
    began = time.time()
    city.deploy("--cron", "* * * * *")
    found: list = []

    def started() -> bool:
        runs = city._asked(
            lambda: city.client.read_flow_runs(flow_run_filter=STARTED, sort=OLDEST, limit=50)
        )
        found[:] = [run for run in runs if run.auto_scheduled and run.start_time]
        return bool(found)

    until(started, PATIENCE, city.said)
    city.deploy("--cron", "")
    begun = time.time()
    say(f"night: started by its schedule after {begun - began:.0f} s")
    state = city.ended(found[0].id, 3600.0 * 3).state
    say(f"night: {state.name}: {state.message}; {time.time() - begun:.0f} s")
    until(lambda: not city.home.names("leases/"), PATIENCE, city.said)
    for name, plan in plans.items():
        verdict, made = city.home.judge(plan), city.calls.computations(set(plan.steps))
        say(
            f"  {name:<20} {len(plan.steps):>4} edits, lost {len(verdict.lost)}, corrupt "
            f"{len(verdict.corrupt)}, computations {sum(made.values())}, most {max(made.values())}"
        )
    say(f"  in all {sum(len(plan.steps) for plan in plans.values())} edits")
    local = city.folder / "local"
    for name, plan in plans.items():
        command = ("run", f"recipes/{name}.yaml", "--out", str(local))
        city.kontext(*command, OMP_NUM_THREADS="2")  # nothing else is at work now
        most, share = apart(city.home, plan.steps, local)
        say(f"  {name:<20} against a local run: at most {most} levels, in {share:.4%} of values")
        assert most <= MOST_LEVELS
        assert share <= MOST_SHARE


def everything(city: City) -> list[FlowRun]:
    """All flow runs that there are, in pages."""
    found: list[FlowRun] = []

    def page() -> list[FlowRun]:
        return city.client.read_flow_runs(limit=200, offset=len(found))

    while more := city._asked(page):
        found += more
    return found


def crowded(city: City) -> str:
    """Cancel a run with more than 500 chunks before it: seconds until every state is final."""
    text = (
        "version: 1\nname: crowd\nmatrix:\n  number: [{}]\ndefaults: {{steps: 1, size: 64x64}}\n"
        'steps:\n  one: {{op: generate, prompt: "scene {{number}} of {}"}}\n'
        'outputs:\n  - {{step: one, name: "{{number}}"}}\n'
    )
    names: list[str] = []
    for count in (4, 4400):
        file = city.folder / "recipes" / f"crowd-{count}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text.format(", ".join(map(str, range(count))), count))
        names.append(file.stem)
    assert city.ended(city.order(names[0])).state.name == "Completed", city.said()
    order = city.order(names[1])
    before = {run.id for run in everything(city)}

    def filled() -> int:
        return sum(run.id not in before for run in everything(city))

    until(lambda: filled() >= 64, PATIENCE, city.said)
    time.sleep(5)
    asked = time.time()
    city.cancel(order)
    until(
        lambda: all(run.state.is_final() for run in everything(city) if not run.auto_scheduled),
        PATIENCE,
        city.said,
    )
    seconds = time.time() - asked
    until(lambda: not city.home.names("leases/"), PATIENCE, city.said)
    states = Counter(run.state.name for run in everything(city) if run.id not in before)
    return f"all {states.total()} states final after {seconds:.1f} s ({dict(states)})"


def restarted(city: City) -> str:
    """SIGTERM to a worker and to the parents' worker while two runs go on, both started again."""
    recipes = ("storyboard", "style-series")
    sets = ("defaults.steps=50", f"defaults.seed={time.time_ns() % 10**6}")
    plans = [planned(recipe, *sets) for recipe in recipes]
    orders = [city.order(recipe, *sets) for recipe in recipes]
    keys = [set(plan.steps) for plan in plans]
    until(lambda: all(city.calls.of("step", one) for one in keys), PATIENCE, city.said)
    until(lambda: len({call.worker for call in city.calls.of("step")}) == 2, PATIENCE, city.said)
    asked = time.time()
    codes = [city.kept[name].stop() for name in ("worker-1", "parents")]
    stopped = time.time()
    city.kept["worker-1"].start()
    city.kept["parents"].start()
    again = time.time()

    def on() -> bool:
        runs = [city.flow_run(order) for order in orders]
        begun = [run.state.is_running() and run.state.timestamp.timestamp() > asked for run in runs]
        steps = [call for call in city.calls.of("step") if call.time > again]
        return all(begun) and {call.worker for call in steps} == {"worker-1", "worker-2"}

    until(on, PATIENCE, city.said)
    seconds = time.time() - again
    names = [city.ended(order, 3600.0).state.name for order in orders]
    until(lambda: not city.home.names("leases/"), PATIENCE, city.said)
    tries = sum(
        len(tries_in(city._asked(lambda run=run: history(city.client, run.id))))
        for run in everything(city)
    )
    made = city.calls.computations(set().union(*keys))
    return (
        f"exits {codes} after {stopped - asked:.1f} s; both runs and both workers at work "
        f"{seconds:.1f} s after the start; {names}; attempts counted {tries}; "
        f"{sum(made.values())} computations of {len(made)} pictures"
    )


def twinned(city: City) -> str:
    """The same recipe into two stores at once, the parents' worker killed meanwhile."""
    second = Home(city.seaweed, BUCKET, "second")
    sets = ("defaults.steps=8", f"defaults.seed={time.time_ns() % 10**6}")
    plan = planned("product-backgrounds", *sets)
    keys = set(plan.steps)
    parameters = {"recipe": "product-backgrounds", "overrides": list(sets), "only": []}
    stores = (city.store, f"s3://{BUCKET}/second")
    city.deploy(*(word for store in stores for word in ("--store", store)))
    began = time.time()
    orders = [city._start(RUN_RECIPE, parameters | {"store": store}) for store in stores]
    until(lambda: city.calls.of("start", keys), PATIENCE, city.said)
    city.strike("parents")
    states = [city.ended(order, 3600.0).state.name for order in orders]
    seconds = time.time() - began
    homes = (city.home, second)
    until(lambda: not any(home.names("leases/") for home in homes), PATIENCE, city.said)
    made = city.calls.computations(keys)
    return (
        f"{states} after {seconds:.0f} s, the parents' worker killed; "
        f"{[home.judge(plan).good for home in homes]}; {len(keys)} pictures, "
        f"{sum(made.values())} computations, most of one {max(made.values())}"
    )


def measure(city: City, wanted: list[str]) -> None:
    if "cancel" in wanted:
        say(f"cancel: {cancelled(city)}")
    if "stores" in wanted:
        say(f"stores: {twinned(city)}")
    if "restart" in wanted:
        say(f"restart: {restarted(city)}")
    if "night" in wanted:
        night(city)
    if "drain" in wanted:
        code, seconds = drained(city)
        say(f"drain: exit {code} after {seconds:.1f} s; the other worker made the rest, 0 lost")
        city.start_worker("worker-2")
    loads = city.calls.loads()
    say(f"model loads: {len(loads)} engine processes, most of one {max(loads.values(), default=0)}")


def sleep(city: City, wanted: list[str]) -> None:
    runs: dict[int, tuple[float, float, int]] = {}
    for count in (2, 1) if "pair" in wanted else (2,):
        runs[count] = slept(city, f"defaults.seed={count}")
        total, engine, chunks = runs[count]
        say(
            f"{count} sleeping engines: {total:.1f} s wall, {engine:.1f} s of engines, {chunks} "
            f"chunks; overhead {total / (engine / count):.3f}"
        )
        if count == 2 and "pair" in wanted:
            assert city.kept.pop("worker-2").stop() == 0
    if len(runs) == 2:
        say(f"two engines against one: {runs[1][0] / runs[2][0]:.2f}x")


def crowd(city: City, wanted: list[str]) -> None:
    say(f"crowd: {crowded(city)}")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("wanted", nargs="+")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="kontext-measure-"))
    parts: list[tuple[str, set[str], Callable[[City, list[str]], None]]] = [
        ("logged", {"cancel", "drain", "night", "restart", "stores"}, measure),
        ("sleeping", {"overhead", "pair"}, sleep),
        ("crowded", {"crowd"}, crowd),
    ]
    for kind, names, carry_out in parts:
        if names & set(asked.wanted):
            own = kind == "crowded"
            recipes = ("--recipes", str(folder / kind / "recipes")) if own else ()
            (folder / kind / "recipes").mkdir(parents=True, exist_ok=True)
            with City(folder / kind) as city:
                city.deploy(*recipes)
                city.start_parents("parents", *recipes)
                for name in ("worker-1", "worker-2"):
                    engine = "sleeping" if own else kind
                    city.start_worker(name, engine=engine, seconds=20.0 if own else EDITS)
                carry_out(city, asked.wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
