"""``python -m tests.chaos.long --seed N --rounds 40``: strikes over as many runs as needed."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from .city import City
from .storm import HEAD, Storm, table
from .verdict import planned

RECIPES = ("product-backgrounds", "style-series", "storyboard", "text-to-image-set", "seasons")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--per-run", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="denoise steps of an edit")
    parser.add_argument("--away", action="store_true", help="workers on hosts of their own")
    parser.add_argument("--apart", type=int, default=0, help="workers' clocks: this far each way")
    parser.add_argument("--recipe", help="always this one")
    parser.add_argument("--pause", type=float, nargs=2, default=(1.0, 8.0), metavar="S")
    parser.add_argument("--victims", help="in this order, one or more a run; else drawn")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="kontext-chaos-"))
    say(f"seed {asked.seed}, {folder}")
    dice, runs, bad = random.Random(asked.seed), 0, 0
    with City(folder) as city:
        city.open(away=asked.away, apart=asked.apart)
        storm = Storm(city, asked.seed)
        say(HEAD)
        while (done := len(storm.strikes)) < asked.rounds:
            runs += 1
            recipe = asked.recipe or dice.choice(RECIPES)
            sets = (f"defaults.steps={asked.steps}", f"defaults.seed={asked.seed * 1000 + runs}")
            plan = planned(recipe, *sets)
            rounds = min(asked.per_run, asked.rounds - done)
            fixed = asked.victims.split(",")[done : done + rounds] if asked.victims else ()
            ran = storm.ride(
                city.order(recipe, *sets),
                recipe,
                plan,
                rounds,
                victims=fixed,
                pause=tuple(asked.pause),
            )
            for line in table(ran, done + 1):
                say(line)
            if not ran.good:
                bad += 1
                faults = (*ran.verdict.lost, *ran.verdict.corrupt, *ran.verdict.left)
                say("\n".join(("      BAD", ran.state, *faults, *ran.unexcused)))
        loads = city.calls.loads()
        say(
            f"{len(storm.strikes)} rounds, {runs} runs, {bad} bad; {len(loads)} engine processes "
            f"loaded a model, most loads in one: {max(loads.values())}"
        )
    return 1 if bad or max(loads.values()) > 1 else 0


if __name__ == "__main__":
    sys.exit(main())
