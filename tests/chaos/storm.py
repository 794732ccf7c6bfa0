"""Seeded strikes while a run is under way, and what came of the run."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from flows.plan.step import Plan

from .calls import Strike
from .city import PATIENCE, City
from .processes import until
from .verdict import Verdict

SERVERS = ("prefect", "postgres", "s3")
VICTIMS = (
    "engine-1", "engine-2", "worker-1", "worker-2", "host-1", "host-2",
    "parents", "parents+worker-1", "s3", "stop-2",
)  # fmt: skip
STOPPED = 70.0  # seconds that a stopped process stands still: longer than a lease


@dataclass(frozen=True)
class Ran:
    """A run that was struck, and its verdict."""

    plan: Plan
    recipe: str
    strikes: tuple[Strike, ...]
    verdict: Verdict
    state: str  # as Prefect has it
    began: float
    seconds: float
    most: int  # computations of a key
    computed: int  # in all
    unexcused: tuple[str, ...]

    @property
    def good(self) -> bool:
        return self.verdict.good and not self.unexcused and self.state == "Completed"


class Storm:
    """Strikes a city; ``strikes`` are all that there were."""

    def __init__(self, city: City, seed: int) -> None:
        self.city = city
        self.strikes: list[Strike] = []
        self._dice = random.Random(seed)
        self._bag: list[str] = []

    def ride(
        self,
        order: UUID,
        recipe: str,
        plan: Plan,
        rounds: int,
        *,
        victims: Sequence[str] = (),
        pause: tuple[float, float] = (1.0, 8.0),
    ) -> Ran:
        """Strike up to ``rounds`` times while the run goes on; returns when it is over.

        ``victims`` in their order, or drawn, each once before any comes again.
        """
        city, began, before = self.city, time.time(), len(self.strikes)
        fixed = list(victims)
        until(lambda: self._begun(plan) or self._over(plan), PATIENCE, city.said)
        while len(self.strikes) - before < rounds:
            time.sleep(self._dice.uniform(*pause))
            if self._over(plan):
                break
            self._strike(fixed.pop(0) if fixed else self._draw())
        until(lambda: self._over(plan), 2 * PATIENCE, city.said)
        state = city.ended(order).state
        assert state is not None
        seconds, keys = time.time() - began, set(plan.steps)
        made = city.calls.computations(keys)
        strikes = tuple(self.strikes[before:])
        return Ran(
            plan,
            recipe,
            strikes,
            city.home.judge(plan),
            state.name or "",
            began,
            seconds,
            max(made.values(), default=0),
            sum(made.values()),
            # Those of earlier runs as well: a worker's end may still be felt.
            tuple(city.calls.unexcused(keys, self.strikes)),
        )

    def _begun(self, plan: Plan) -> bool:
        return bool(self.city.calls.of("start", set(plan.steps)))

    def _over(self, plan: Plan) -> bool:
        home = self.city.home
        return home.manifest(plan) is not None and not home.names("leases/")

    def _draw(self) -> str:
        if not self._bag:
            self._bag = self._dice.sample(VICTIMS, len(VICTIMS))
        return self._bag.pop()

    def _strike(self, victim: str) -> None:
        names = victim.replace("host-", "worker-").replace("stop-", "worker-").split("+")
        for name in names:
            until(lambda name=name: self.city.victim(name), PATIENCE, self.city.said)
        at = time.time()
        if victim.startswith("stop-"):
            pid = self.city.stand_still(names[0], STOPPED)
            self.strikes.append(Strike(victim, pid, at, time.time()))
            return
        if victim.startswith("host-"):
            self.city.strike(names[0].replace("worker-", "engine-"))
        struck = {name: self.city.strike(name) for name in names}
        if None in struck.values():
            return
        end = at
        for name, pid in struck.items():
            if name in SERVERS:
                time.sleep(self._dice.uniform(0.5, 5.0))
                self.city.restore(name)
                end = time.time()
            else:
                until(
                    lambda name=name, pid=pid: self.city.victim(name) not in (None, pid),
                    PATIENCE,
                    self.city.said,
                )
        self.strikes.append(Strike(victim, next(iter(struck.values())) or 0, at, end))


HEAD = (
    f"{'round':>5} {'recipe':<20} {'victim':<16} {'pid':>7} {'at s':>6} {'out s':>6}  "
    f"{'outcome':<10} {'lost':>4} {'corrupt':>7} {'most':>4} {'computed':>9} {'run s':>6} "
    f"{'after s':>7}"
)


def table(ran: Ran, first: int) -> Iterable[str]:
    """A line for each strike of a run; ``after`` is from the strike to the run's end."""
    for number, strike in enumerate(ran.strikes, first):
        out = strike.end - strike.at
        outcome = "complete" if ran.good else "BAD"
        yield (
            f"{number:>5} {ran.recipe:<20} {strike.victim:<16} {strike.pid:>7} "
            f"{strike.at - ran.began:>6.1f} {out:>6.1f}  {outcome:<10} "
            f"{len(ran.verdict.lost):>4} {len(ran.verdict.corrupt):>7} {ran.most:>4} "
            f"{ran.computed:>4}/{len(ran.plan.steps):<4} {ran.seconds:>6.0f} "
            f"{ran.began + ran.seconds - strike.at:>7.0f}"
        )
