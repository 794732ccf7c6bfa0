"""``python -m tests.chaos.asked --minutes 10``: what S3 is asked, counted by proxies before it.

First while nothing runs; then by a parent while it has few children, and while it has many. The
parents' worker and the chunks' worker come through a proxy of their own each.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.scheduling.quick import Run
from tests.servers.faults import Faults, Request

from .city import PATIENCE, City
from .growth import write_recipe
from .long import say
from .processes import until

ENDPOINT = "KONTEXT_S3__ENDPOINT_URL"


def counted(proxy: Faults, seconds: float) -> Counter[str]:
    """Requests within so many seconds, by kind."""
    proxy.requests.clear()
    time.sleep(seconds)
    return Counter(kind(request) for request in list(proxy.requests))


def kind(request: Request) -> str:
    """LIST, or the method."""
    listing = request.method == "GET" and "list-type=2" in request.path
    return "LIST" if listing else request.method


def told(counts: Counter[str], seconds: float) -> str:
    rows = ", ".join(f"{n} {name}" for name, n in sorted(counts.items())) or "none"
    return f"{rows} ({sum(counts.values()) / seconds * 60:.1f} a minute)"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="kontext-asked-"))
    recipes = folder / "recipes"
    names = [write_recipe(recipes, steps) for steps in (100, 1000)]
    with (
        City(folder) as city,
        Faults(city.seaweed.ports["s3"]) as one,
        Faults(city.seaweed.ports["s3"]) as other,
    ):
        city.deploy("--recipes", str(recipes))
        city._keep(
            "parents",
            *("worker", "--serve", "parents", "--name", f"parents-{city.salt}"),
            *("--recipes", str(recipes)),
            **{ENDPOINT: one.endpoint},
        )
        city.start_worker("worker-1", engine="swift", seconds=0.2, **{ENDPOINT: other.endpoint})
        time.sleep(30.0)
        seconds = asked.minutes * 60
        one.requests.clear()
        other.requests.clear()
        time.sleep(seconds)
        for name, proxy in (("parents' worker", one), ("chunks' worker", other)):
            found = Counter(map(kind, list(proxy.requests)))
            say(f"idle {asked.minutes:g} minutes, {name}: {told(found, seconds)}")
        for name in names:
            run = Run.of(city, name)
            until(lambda run=run: len(run.children()) > 0, PATIENCE, city.said)
            time.sleep(10.0)
            found = counted(one, 60.0)
            children = len(run.children())
            say(f"{name}: a parent with {children} children ordered: {told(found, 60.0)}")
            city.cancel(run.id)
            city.ended(run.id)
    return 0


if __name__ == "__main__":
    sys.exit(main())
