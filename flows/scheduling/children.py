"""A parent and its chunks: ordered as their parents get done, each seen to its verdict.

States are read first, then leases, then verdicts: each may only be newer than the one before. A
verdict ends a chunk. Without one the judge decides: whoever lives goes on; who is dead is set
back, and counted; who is gone is ordered again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.objects import State as FlowState
from prefect.deployments import run_deployment

from flows.execution.ends import ChunkEnds
from flows.execution.outcome import State, StepOutcome
from flows.execution.stages import ChunkSheet
from flows.execution.verdicts import give, verdict
from flows.recipe.step import Plan
from flows.scheduling.fence import below
from flows.scheduling.hand import Hand, pause
from flows.scheduling.names import MAKE_CHUNK, Queue, chunks_of, deployment
from flows.scheduling.server import at, history, insist, read_many
from flows.scheduling.site import Site
from flows.scheduling.states import (
    Try,
    cancelled,
    heal,
    is_hopeless,
    set_back,
    tries_in,
    try_words,
)
from flows.store.base import StoreAway
from flows.store.cells import Cells, Sight
from flows.store.keyed import KeyedStore
from flows.store.leases import LEASES, Judge, Verdict
from flows.store.record import Record

log = logging.getLogger(__name__)

WINDOW = 64  # chunks that are ordered and have not ended, at most; more where engines are many
PUT_OFF = 60.0  # seconds; a chunk scheduled later than this waits for a resumed parent
AGAIN = 3  # times that a chunk whose pictures were lost since is ordered anew


class Late(Enum):
    """What becomes of chunks that no worker has begun."""

    WANTED = "wanted"
    STOPPED = "stopped"  # they are cancelled; what is in hand ends


@dataclass
class Child:
    """One chunk on its way. ``run`` is its newest flow run."""

    sheet: ChunkSheet
    run: UUID | None = None
    order: int = 0
    ends: ChunkEnds | None = None
    why: str = ""  # it ended without a verdict of its own
    seen: str = ""


@dataclass
class Family:
    """All chunks of one stage, by the parent that has them in hand; mutable."""

    site: Site
    hand: Hand
    client: SyncPrefectClient
    store: KeyedStore
    cells: Cells
    plan: Plan
    address: str
    queue: Queue
    children: dict[str, Child]
    say: Callable[[int, str], None]
    workers: Callable[[], int] = lambda: 1
    window: int = WINDOW
    late: Late = Late.WANTED
    away: bool = False
    judge: Judge = field(init=False)

    def __post_init__(self) -> None:
        tempo = self.site.tempo
        self.judge = Judge(self.cells, quiet=tempo.quiet, overdue=tempo.overdue)

    @property
    def open(self) -> list[Child]:
        """Those that have not ended."""
        return [child for child in self.children.values() if not self._is_over(child)]

    def tend(self, look_up: Callable[[Mapping[UUID, FlowRun]], None]) -> None:
        """See all to their ends. ``look_up`` is told of the flow runs at each look.

        Raises:
            Stop: the parent must end; its children go on.
            StoreError: the store fails for good.
        """
        while self.open:
            self.hand.look()
            heal(self.client, self.hand.run)
            runs = self._runs()
            try:
                sights = self.cells.list(f"{LEASES}{chunks_of(self.hand.run)}")
                for child in self.open:
                    self._see(child, runs, sights)
                self._order()
                self.away = False
            except StoreAway as why:
                self.judge.forget()
                if not self.away:  # once for each time that the store is away
                    log.warning("%s: %s", self.hand.name, why)
                self.away = True
            look_up(runs)
            if self.open:
                pause(self.site.tempo.look)

    def stop(self, why: str) -> None:
        """Nothing more is begun: what no worker has in hand is cancelled."""
        self.late = Late.STOPPED
        for child in self.open:
            if child.run is None:
                child.why = why
        self._stop_waiting(why)

    def cancel(self, why: str) -> None:
        """The parent is cancelled: its children stop by themselves; the others are told."""
        for child in self.open:
            if child.run is not None:
                cancelled(self.client, child.run, why)
            child.why = why

    def _is_over(self, child: Child) -> bool:
        return child.ends is not None or bool(child.why)

    # --- one look

    def _runs(self) -> dict[UUID, FlowRun]:
        return read_many(self.client, [one.run for one in self.open if one.run is not None])

    def _see(self, child: Child, runs: Mapping[UUID, FlowRun], sights: Mapping[str, Sight]) -> None:
        if child.run is None:
            return
        run = runs.get(child.run)
        state = run.state if run is not None else None
        self._tell_of(child, (state.name or "") if state is not None else "deleted")
        name = self._name(child)
        live = state is not None and (state.is_running() or state.type is StateType.CANCELLING)
        patience = self.site.tempo.brief if live else self.site.tempo.quiet
        lease = self.judge.lease(name, sights, state.id if state else "deleted", patience)
        if lease is Verdict.HELD:
            return
        if (state is None or state.is_final() or lease is not Verdict.FREE) and self._ends(child):
            return
        if state is None or state.is_completed():
            self._order_again(child, "was deleted" if state is None else "has no verdict")
        elif state.type is StateType.CANCELLED:
            child.why = state.message or "cancelled"
        elif state.is_failed() or state.is_crashed():
            worker, _, _ = (state.message or "").removeprefix("worker '").partition("'")
            self._came_to_nothing(child, worker, state.message or state.name or "")
        elif state.is_scheduled():
            self._put_on(child, state)
        elif lease is not Verdict.FREE:
            self._nobody_has(child, state)

    def _nobody_has(self, child: Child, state: FlowState[Any]) -> None:
        """Its lease is free, and its run says that somebody has it in hand."""
        assert child.run is not None  # noqa: S101 - it was ordered
        if state.type is StateType.CANCELLING:
            cancelled(self.client, child.run, "nobody has it in hand")
        elif state.is_running():
            words = self.judge.broken.pop(self._name(child), None)
            self._came_to_nothing(child, words.worker if words else "", "its worker is dead")
        elif state.is_pending():
            set_back(self.client, child.run, "whoever took it has not begun")

    def _put_on(self, child: Child, state: FlowState[Any]) -> None:
        """It was put off while its parent was suspended."""
        due = state.state_details.scheduled_time
        late = self.late is Late.WANTED and due is not None and due > at(PUT_OFF)
        if late and child.run is not None:
            set_back(self.client, child.run, "its parent goes on")

    def _ends(self, child: Child) -> bool:
        """Whether there is a verdict of its newest order; then its words are taken."""
        name = self._name(child)
        words = verdict(self.store.objects, name, child.order)
        if words is None:
            return False
        try:
            child.ends = ChunkEnds.from_json(words)
        except ValueError as error:
            log.warning("%s: %s", name, error)
        return child.ends is not None

    def order_lost(self, records: Mapping[str, Record | None]) -> bool:
        """Order again what has ended and lost pictures since; whether there was any.

        Asked once, when all have ended: each look would cost two requests a picture.
        """
        lost = False
        for child in self.children.values():
            steps = child.ends.steps if child.ends is not None else {}
            made = (key for key, end in steps.items() if end.state in (State.DONE, State.CACHED))
            if child.order < AGAIN and any(self._is_lost(records.get(key)) for key in made):
                child.ends, lost = None, True
                self._order_again(child, "has lost pictures since")
        return lost

    def _is_lost(self, record: Record | None) -> bool:
        """Whether its record or its picture is gone; its chunk will look closer (``chunk_run``)."""
        return record is None or not self.store.holds(record.blob, record.size)

    def _came_to_nothing(self, child: Child, worker: str, why: str) -> None:
        """An attempt ended without a verdict: again, unless it has come to nothing too often."""
        assert child.run is not None  # noqa: S101 - it was ordered
        keys = child.sheet.keys
        made = sum(there for _, there in self.store.has_all(keys))
        words = try_words(worker, made, len(keys), why[:300])
        if not set_back(self.client, child.run, words):
            return
        row = tries_in(history(self.client, child.run))
        self.say(logging.WARNING, f"{child.sheet.name}: {words}; tried again")
        if is_hopeless(row, self.workers()):
            self._give_up(child, row, why)

    def _give_up(self, child: Child, row: Sequence[Try], why: str) -> None:
        reason = f"given up after {len(row)} attempts that made nothing: {why}"
        steps = {
            key: StepOutcome(
                state=State.DONE if there else State.FAILED, reason="" if there else reason
            )
            for key, there in self.store.has_all(child.sheet.keys)
        }
        ends = ChunkEnds(steps=steps, problems={}, engine_seconds=0.0, why=reason)
        give(self.store.objects, self._name(child), child.order, ends.to_json())
        if self._ends(child) and child.run is not None:
            self.say(logging.ERROR, f"{child.sheet.name}: {reason}")
            cancelled(self.client, child.run, reason)

    # --- ordering

    def _order(self) -> None:
        """Order what may begin, as far as the window allows."""
        if self.late is Late.STOPPED:
            self._stop_waiting("stopped")
            return
        out = sum(child.run is not None for child in self.open)
        for child in self.open:
            if out >= self.window:
                return
            if child.run is None and all(
                self._is_over(self.children[one]) for one in child.sheet.after
            ):
                self._begin(child)
                out += 1

    def _begin(self, child: Child) -> None:
        """Ordered once for each number, however often it is asked for."""
        name = f"{self._name(child)}.{child.order}"
        parameters = {
            "store": self.address,
            "run": str(self.hand.run),
            "chunk": child.sheet.name,
            "order": child.order,
        }
        tags = below(self.hand)

        def order() -> Any:
            return run_deployment(
                deployment(MAKE_CHUNK),
                parameters=parameters,
                flow_run_name=f"{child.sheet.name} of {self.plan.recipe}"[:200],
                idempotency_key=name,
                scheduled_time=at(),
                timeout=0,
                tags=tags,
                work_queue_name=self.queue,
                as_subflow=True,
            )

        child.run = insist(order, "ordering a chunk").id

    def _order_again(self, child: Child, why: str) -> None:
        if child.seen != "deleted":  # a deleted run's number is free again
            child.order += 1
        self.say(logging.WARNING, f"{child.sheet.name} {why}: it is ordered again")
        child.run = None
        if self.late is Late.WANTED:
            self._begin(child)
        else:
            child.why = why

    def _stop_waiting(self, why: str) -> None:
        for child in self.open:
            if child.run is not None and child.seen in {"Scheduled", "Late", "AwaitingRetry", ""}:
                cancelled(self.client, child.run, why)
                child.why = why

    def _name(self, child: Child) -> str:
        return f"{chunks_of(self.hand.run)}{child.sheet.name}"

    def _tell_of(self, child: Child, now: str) -> None:
        if now != child.seen:
            log.debug("%s is %s", child.sheet.name, now)
            child.seen = now


def children_of(sheets: Iterable[ChunkSheet]) -> dict[str, Child]:
    """A stage's chunks, none begun."""
    return {sheet.name: Child(sheet) for sheet in sheets}
