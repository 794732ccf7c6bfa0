"""``python -m tests.chaos.outages prefect:60 postgres:180 s3:600 prefect:180:parents``: one by one.

Each names a server, how long it is away (seconds), and who is killed meanwhile. A run of sleeping
engines is under way; it must end complete, nothing twice, nobody charged.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from flows.scheduling.names import MAKE_CHUNK, chunks_of
from flows.scheduling.server import history
from flows.scheduling.states import tries_in
from tests.scheduling.quick import below

from .city import PATIENCE, City
from .long import say
from .processes import until
from .verdict import planned

RECIPE = "style-series"
EDIT = 2.0  # seconds
HEAD = (
    f"{'server':<9} {'away s':>7} {'killed':<18} {'state':<10} {'lost':>4} {'corrupt':>7} "
    f"{'twice':>5} {'charged':>7} {'moved s':>8} {'told s':>7} {'end s':>6}"
)


def endure(city: City, server: str, seconds: float, killed: tuple[str, ...]) -> str:
    """One outage; a line for it. Times are counted from the server's return.

    ``moved`` is when the next picture was begun, ``told`` when the last of those chunks was shown
    as Completed that had ended while the server was away, ``end`` when the run was complete.
    """
    seed = f"defaults.seed={time.time_ns() % 10**9}"
    plan = planned(RECIPE, "defaults.steps=4", seed)
    keys = set(plan.steps)
    order = city.order(RECIPE, "defaults.steps=4", seed)
    until(lambda: len(city.calls.of("start", keys)) > 3, PATIENCE, city.said)
    city.strike(server)
    down = time.time()
    time.sleep(min(5.0, seconds / 2))
    for name in killed:
        city.strike(name)
        time.sleep(2.0)
    time.sleep(max(0.0, down + seconds - time.time()))
    ended = len(city.home.names(f"verdicts/{chunks_of(order)}")) if server != "s3" else 0
    back = time.time()
    city.restore(server)
    state = city.ended(order, PATIENCE + 300).state
    assert state is not None
    end = time.time() - back
    verdict = city.home.judge(plan)
    made = city.calls.computations(keys)
    twice = sum(count - 1 for count in made.values() if count > 1)
    later = [call.time for call in city.calls.of("start", keys) if call.time > back]
    runs = below(city, order, MAKE_CHUNK)
    told = [
        run.end_time.timestamp() - back
        for run in runs
        if run.end_time is not None and run.state is not None and run.state.is_completed()
    ]
    during = sorted(one for one in told if one > 0)[:ended]
    charged = sum(
        len(tries_in(city._asked(lambda run=run: history(city.client, run.id)))) for run in runs
    )
    moved = f"{min(later) - back:>8.1f}" if later else f"{'-':>8}"
    shown = f"{max(during):>7.1f}" if during else f"{'-':>7}"
    return (
        f"{server:<9} {seconds:>7.0f} {'+'.join(killed) or '-':<18} {state.name:<10} "
        f"{len(verdict.lost):>4} {len(verdict.corrupt):>7} {twice:>5} {charged:>7} {moved} "
        f"{shown} {end:>6.1f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("outages", nargs="+", metavar="SERVER:SECONDS[:KILLED+KILLED]")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--away", action="store_true", help="workers on hosts of their own")
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="kontext-outages-"))
    say(f"{folder}")
    with City(folder) as city:
        city.deploy()
        city.start_parents(away=asked.away)
        for name in ("worker-1", "worker-2"):
            city.start_worker(name, engine="sleeping", seconds=EDIT, away=asked.away)
        say(HEAD)
        for one in asked.outages:
            server, seconds, *rest = one.split(":")
            killed = tuple(rest[0].split("+")) if rest else ()
            say(endure(city, server, float(seconds), killed))
        starts = {name: kept.starts for name, kept in city.kept.items()}
        say(f"starts of each process: {starts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
