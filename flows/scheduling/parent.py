"""What ``run-recipe`` and ``nightly`` have in common: children, and a verdict of each round.

A parent may be killed anywhere and begun again: what it has ordered is found by idempotency keys,
and its verdict, said again, says the same.
"""

from __future__ import annotations

import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed

from flows.recipe.errors import RecipeError
from flows.run.verdicts import give, verdict, words_of
from flows.scheduling.attempt import Stop, Why, become, mine, pause
from flows.scheduling.forms import NightlyForm, RunForm
from flows.scheduling.names import deployment, parent_name
from flows.scheduling.server import at, connected, history, insist, insisting, read_many
from flows.scheduling.statement import FleetError
from flows.scheduling.states import heal, people_say, round_began, round_of
from flows.settings import SettingsError
from flows.store.base import StoreAway, StoreError
from flows.store.lanes import in_lanes
from flows.store.objects import Objects

log = logging.getLogger(__name__)

CANCELLED = "it was cancelled"  # why a parent ended, when people said so
LATE = "the deadline has passed"
CANCELS = 4  # children told of it at once

Form = TypeVar("Form", bound=RunForm | NightlyForm)


@dataclass(kw_only=True)
class Child:
    """One of a parent's children. ``run`` is its newest flow run, ``now`` how that was seen last.

    ``why`` says why it ended, where it has not ended by itself.
    """

    name: str
    after: tuple[str, ...] = ()
    run: UUID | None = None
    order: int = 0
    now: str = ""
    why: str = ""
    over: bool = False

    def end(self, why: str) -> None:
        """It has ended, with nothing of its own to say."""
        self.over, self.why = True, why


ChildT = TypeVar("ChildT", bound=Child)


class Parent(ABC, Generic[Form, ChildT]):
    """One execution of a parent's body. ``why`` says why nothing more is begun, if nothing is."""

    flow: str  # of its children

    def __init__(self, client: SyncPrefectClient, form: Form) -> None:
        self.attempt = mine()
        self.site = self.attempt.site
        self.client = client
        self.form = form
        self.store = self.site.store(form.store)
        self.objects = self.store.objects
        states = history(client, self.attempt.run)
        self.round = round_of(states)
        self.start: datetime = round_began(states) or at()
        self.say = get_run_logger().log
        self.children: dict[str, ChildT] = {}
        self.window = 1  # children that are ordered and have not ended, at most
        self.why = ""
        self._away = False
        self._told: dict[str, float] = {}

    @property
    def open(self) -> list[ChildT]:
        """Those that have not ended."""
        return [child for child in self.children.values() if not child.over]

    # --- its verdict

    def known(self) -> Mapping[str, Any] | None:
        """The verdict that an earlier execution has given."""
        words = verdict(self.objects, self.attempt.name, self.round)
        return None if words is None else words_of(words, self.attempt.name)

    def give(self, words: Mapping[str, Any]) -> Mapping[str, Any]:
        """End with these words; those that count.

        Raises:
            Stop: it is somebody else's by now.
        """
        self.attempt.be_sure()
        give(self.objects, self.attempt.name, self.round, json.dumps(words, indent=1).encode())
        return self.known() or words

    # --- its children

    def tend(self) -> None:
        """See all children to their ends; cancelled by people, it tells them.

        States are read first, then leases, then verdicts: each may only be newer than the one
        before.

        Raises:
            Stop: it must end; its children go on.
            StoreError: the store fails for good.
        """
        try:
            while self.open:
                self._look()
        except Stop as stop:
            if stop.why is not Why.CANCEL:
                raise
            self.attempt.closing = True
            self.why = CANCELLED
            for child, _ in in_lanes(self._cancel, self.open, CANCELS):
                child.end(self.why)

    def _cancel(self, child: ChildT) -> None:
        become(self.attempt)  # this thread works for it
        self.cancel(child)

    def _look(self) -> None:
        self.attempt.look()
        heal(self.client, self.attempt.run)
        runs = read_many(self.client, [one.run for one in self.open if one.run is not None])
        if not self.why and any(one.state and one.state.is_cancelled() for one in runs.values()):
            self._hear()
        try:
            self.see(runs)
            self.order()
            self._away = False
        except StoreAway as error:
            if not self._away:  # once for each time that the store is away
                log.warning("%s: %s", self.attempt.name, error)
            self._away = True
        self.show()
        if self.open:
            pause(self.site.tempo.look)

    def _hear(self) -> None:
        """A child of what people have cancelled may have ended before this parent has heard it.

        Raises:
            Stop: they have said so of it, or of what stands above it, and not only of a child.
        """
        run, above = self.attempt.run, self.attempt.above
        said = people_say(read_many(self.client, (run, *above)), run, above)
        if said is not None:
            raise Stop(said)

    def order(self) -> None:
        """Order what may begin, as far as the window allows."""
        out = sum(child.run is not None for child in self.open)
        for child in self.open:
            if out >= self.window:
                return
            if child.run is None and all(self.children[one].over for one in child.after):
                self.begin(child)
                out += 1

    def begin(self, child: ChildT) -> None:
        """Ordered once for each number, however often it is asked for."""
        title, key, parameters, queue = self.terms(child)

        def order() -> Any:
            return run_deployment(
                deployment(self.flow),
                parameters=dict(parameters),
                flow_run_name=title[:200],
                idempotency_key=f"{key}.{child.order}",
                scheduled_time=at(),
                timeout=0,
                tags=self.attempt.tags,
                work_queue_name=queue,
                as_subflow=True,
            )

        child.run = insist(order, f"ordering {title}").id

    def is_late(self, deadline: datetime | None, undone: str) -> bool:
        """Whether the deadline has passed now; ``undone`` is told once."""
        if deadline is None or at() <= deadline or self.why:
            return False
        self.why = LATE
        self.say(logging.WARNING, f"{LATE}: {undone}")
        return True

    def is_due(self, what: str, every: float) -> bool:
        """Whether it is time again for something that is done so often."""
        now = time.monotonic()
        due = now - self._told.get(what, float("-inf")) > every
        if due:
            self._told[what] = now
        return due

    @abstractmethod
    def make(self) -> Mapping[str, Any]:
        """All of it; the words of its verdict."""

    @abstractmethod
    def terms(self, child: ChildT) -> tuple[str, str, Mapping[str, Any], str | None]:
        """How a child is ordered: title, idempotency key, parameters, queue."""

    @abstractmethod
    def see(self, runs: Mapping[UUID, FlowRun]) -> None:
        """Look at the children in hand, by their flow runs."""

    @abstractmethod
    def show(self) -> None:
        """Tell people how far it is; called after each look."""

    @abstractmethod
    def cancel(self, child: ChildT) -> None:
        """The parent is cancelled: a child that would not stop by itself is told."""


def carry_out(kind: type[Parent[Form, Any]], form: Form) -> State[Any]:
    """See a parent to its end; the state that it ends in.

    Raises:
        Stop: this execution must end; another one goes on.
    """
    with connected() as client:
        parent = kind(insisting(client), form)
        try:
            return _state_of(parent.known() or parent.make())
        except (RecipeError, SettingsError, FleetError) as error:  # for good
            return _state_of(parent.give({"ending": "refused", "why": str(error)}))
        except StoreError as error:  # what was made stays made; Retry goes on
            return Failed(message=str(error))


def last_words(client: SyncPrefectClient, objects: Objects, flow_run: UUID) -> Mapping[str, Any]:
    """The verdict of a parent's newest round that has one; empty without.

    Raises:
        StoreError: the store fails.
    """
    name, last = parent_name(flow_run), round_of(history(client, flow_run))
    # A state that has ended a round counts already.
    found = (verdict(objects, name, n) for n in (last, last - 1) if n >= 0)
    return next((words_of(data, name) for data in found if data is not None), {})


def _state_of(words: Mapping[str, Any]) -> State[Any]:
    """The state of a parent by its verdict."""
    counts = in_counts(dict(words.get("counts") or {}))
    why = str(words.get("why") or "")
    if words.get("whole"):
        return Completed(message=counts or "nothing to make", data="made")
    told = "; ".join(part for part in (counts, why) if part) or "not all was made"
    return Cancelled(message=told) if why == CANCELLED else Failed(message=told)


def in_counts(counts: Mapping[str, int]) -> str:
    """``3 done, 1 failed``."""
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)
