"""The body of ``nightly``: its recipes' runs, a few at once, to their ends; a table at the end.

What it has ordered is found again by idempotency keys, so it may be killed anywhere. It takes no
care of the dead: the sweep revives its children as any parent.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.objects import State as FlowState
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments import run_deployment
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed

from flows.execution.stages import STAGES
from flows.recipe.catalog import Catalog
from flows.recipe.errors import RecipeError
from flows.scheduling.children import PUT_OFF
from flows.scheduling.closing import CANCELLED, LATE, Closing
from flows.scheduling.fence import below
from flows.scheduling.forms import NightlyForm
from flows.scheduling.hand import Hand, Stop, Why, mine, pause
from flows.scheduling.names import NIGHTLY, RUN_RECIPE, deployment
from flows.scheduling.server import at, connected, history, insist, read, read_many
from flows.scheduling.site import Site, here
from flows.scheduling.states import cancelled, heal, round_began, round_of, set_back
from flows.store.address import is_s3
from flows.store.base import StoreError
from flows.store.objects import checked

CRASHED_FOR = 180.0  # seconds; whoever is not revived by then has ended
LIVING = (
    StateType.SCHEDULED,
    StateType.PENDING,
    StateType.RUNNING,
    StateType.PAUSED,
    StateType.CANCELLING,
)


@dataclass
class _Recipe:
    """One of a night's recipes. ``run`` is its newest flow run."""

    name: str
    run: UUID | None = None
    order: int = 0
    now: str = "waiting"
    why: str = ""
    over: bool = False
    crashed: float | None = None


def nightly_body(form: NightlyForm) -> FlowState[Any]:
    """See a night to its end; the state that it ends in.

    Raises:
        Stop: this execution must end; another one goes on.
    """
    site, hand = here(), mine()
    with connected() as client:
        night = _Night(site, hand, client, form)
        try:
            return _state_of(night.closing.known() or night.carry_out())
        except RecipeError as error:
            return _state_of(night.closing.give({"why": str(error), "ended": {}}))
        except StoreError as error:  # Retry goes on
            return Failed(message=str(error))


@dataclass
class _Night:
    site: Site
    hand: Hand
    client: SyncPrefectClient
    form: NightlyForm
    recipes: list[_Recipe] = field(default_factory=list)
    why: str = ""
    shown: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.objects = self.site.store(self.form.store).objects
        states = history(self.client, self.hand.run)
        self.closing = Closing(self.objects, self.hand, round_of(states))
        self.say = get_run_logger().log
        self.start: datetime = round_began(states) or at()
        hours = self.form.deadline_hours
        self.deadline = self.start + timedelta(hours=hours) if hours is not None else None

    def carry_out(self) -> Mapping[str, Any]:
        """All of it; the words of its verdict."""
        self._wait_for_the_one_before()
        self.recipes = [_Recipe(name) for name in self._names()]
        self.say(logging.INFO, f"{len(self.recipes)} recipes, {self.form.concurrency} at once")
        try:
            while any(not one.over for one in self.recipes):
                self.hand.look()
                heal(self.client, self.hand.run)
                self._see()
                self._order()
                over = sum(one.over for one in self.recipes)
                self._show(over)
                if over < len(self.recipes):
                    pause(self.site.tempo.look)
        except Stop as stop:
            if stop.why is not Why.CANCEL:
                raise
            self._cancel()
        return self._close()

    # --- before it begins

    def _wait_for_the_one_before(self) -> None:
        """A night whose predecessor lives waits for it, and names it."""
        told = ""
        while (other := self._before()) is not None:
            if other.name != told:
                told = other.name
                self.say(logging.INFO, f"the night before, '{told}', is under way; this one waits")
            pause(self.site.tempo.look)

    def _before(self) -> FlowRun | None:
        wanted = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(LIVING)))
        )
        found = insist(
            lambda: self.client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=[NIGHTLY])),
                flow_run_filter=wanted,
                sort=FlowRunSort.EXPECTED_START_TIME_ASC,
                limit=200,
            ),
            "the night before",
        )
        own = (self.start, str(self.hand.run))
        for run in found:
            begins = run.expected_start_time or self.start
            same = run.parameters.get("store") == self.form.store
            # Of those that are Scheduled only one that has been begun before: it was set back.
            if run.state_type is StateType.SCHEDULED and run.start_time is None:
                continue
            if same and run.id != self.hand.run and (begins, str(run.id)) < own:
                return run
        return None

    def _names(self) -> list[str]:
        """The recipes, listed once for a night, whoever goes on with it.

        Raises:
            RecipeError: there is none, or the place cannot be read.
        """
        name = checked(f"{STAGES}{self.hand.run}/{self.closing.round}-night.json")
        held = self.objects.get(name)
        if held is None:
            settings = self.site.settings.given(store=self.form.store)
            if is_s3(self.form.recipes):
                names = Catalog(self.form.recipes, settings).addresses()
            else:
                names = Catalog(self.site.recipes, settings).names(self.form.recipes)
            if not names:
                return []
            self.objects.create(name, json.dumps({"recipes": names}).encode())
            held = self.objects.get(name)
        return list(json.loads(held.data)["recipes"]) if held is not None else []

    # --- while it goes on

    def _see(self) -> None:
        asked = [one.run for one in self.recipes if one.run is not None and not one.over]
        runs = read_many(self.client, asked)
        for one in self.recipes:
            if one.run is None or one.over:
                continue
            run = runs.get(one.run)
            if run is None:
                self.say(logging.WARNING, f"{one.name} was deleted: it is ordered again")
                one.order, one.run = one.order + 1, None
                continue
            state = run.state
            one.now = (state.name or "") if state is not None else "waiting"
            one.why = (state.message or "") if state is not None else ""
            if state is None or not state.is_final():
                one.crashed = None
                self._put_on(one.run, state)
            elif state.is_crashed():
                one.crashed = one.crashed or time.monotonic()
                one.over = time.monotonic() - one.crashed > CRASHED_FOR
            else:
                one.over = True
                self.say(logging.INFO, f"{one.name}: {one.now}: {one.why}")

    def _put_on(self, run: UUID, state: FlowState[Any] | None) -> None:
        """It was put off while the night was suspended."""
        if state is None or not state.is_scheduled():
            return
        due = state.state_details.scheduled_time
        if due is not None and due > at(PUT_OFF):
            set_back(self.client, run, "its night goes on")

    def _order(self) -> None:
        if self.deadline is not None and at() > self.deadline and not self.why:
            self.why = LATE
            self.say(logging.WARNING, f"{LATE}: what was not ordered stays undone")
        out = sum(one.run is not None and not one.over for one in self.recipes)
        for one in self.recipes:
            if one.run is not None or one.over:
                continue
            if self.why:
                one.over, one.now, one.why = True, "not begun", self.why
            elif out < self.form.concurrency:
                self._begin(one)
                out += 1

    def _begin(self, one: _Recipe) -> None:
        deadline = self.deadline.isoformat() if self.deadline is not None else None
        parameters: dict[str, Any] = {
            "recipe": one.name,
            "overrides": [],
            "only": [],
            "store": self.form.store,
            "queue": "nightly",
            "deadline": deadline,
        }
        key = f"night/{self.hand.run}/{self.closing.round}/{one.name}.{one.order}"
        tags = below(self.hand)

        def order() -> Any:
            return run_deployment(
                deployment(RUN_RECIPE),
                parameters=parameters,
                flow_run_name=one.name[:200],
                idempotency_key=key,
                scheduled_time=at(),
                timeout=0,
                tags=tags,
                as_subflow=True,
            )

        one.run = insist(order, "ordering a recipe").id

    def _cancel(self) -> None:
        """People have cancelled it: its runs are told, and stop by themselves."""
        self.hand.closing = True
        self.why = CANCELLED
        for one in self.recipes:
            if one.over:
                continue
            if one.run is not None:
                state = read(self.client, one.run)
                waits = state is not None and state.state is not None and state.state.is_scheduled()
                if waits:
                    cancelled(self.client, one.run, self.why)
            one.over, one.now, one.why = True, "cancelled", self.why

    def _show(self, over: int) -> None:
        """The bar, and the table whenever a row has changed."""
        words = f"{over} of {len(self.recipes)} recipes"
        self.site.progress.tell(self.hand.run, over / max(1, len(self.recipes)), words)
        rows = [{"recipe": one.name, "now": one.now, "why": one.why[:300]} for one in self.recipes]
        if rows != self.shown:
            self.shown = rows
            self.site.progress.table(self.hand.run, "kontext-night", rows[:500], words)

    def _close(self) -> Mapping[str, Any]:
        self._show(len(self.recipes))
        ended = Counter(one.now for one in self.recipes)
        why = self.why or ("" if self.recipes else "there is no recipe to run")
        return self.closing.give({"why": why, "ended": dict(ended)})


def _state_of(words: Mapping[str, Any]) -> FlowState[Any]:
    ended = {str(name): int(n) for name, n in dict(words.get("ended") or {}).items()}
    told = "; ".join(
        part
        for part in (
            ", ".join(f"{n} {name}" for name, n in ended.items()),
            str(words.get("why", "")),
        )
        if part
    )
    if ended and set(ended) == {"Completed"} and not words.get("why"):
        return Completed(message=told, data="made")
    if words.get("why") == CANCELLED:
        return Cancelled(message=told)
    return Failed(message=told or "nothing was made")
