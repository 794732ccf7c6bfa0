"""A run's chunks: ordered as their parents get done, each seen to its verdict.

A verdict ends a chunk. Without one the judge decides: whoever lives goes on; who is dead is set
back, and counted; who is gone is ordered again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.objects import State as FlowState

from flows.run.ends import ChunkEnds
from flows.run.outcome import State
from flows.run.stages import ChunkSheet, Stage
from flows.run.verdicts import give, verdict
from flows.scheduling.forms import RunForm
from flows.scheduling.names import MAKE_CHUNK, chunks_of
from flows.scheduling.parent import Child, Parent
from flows.scheduling.server import history
from flows.scheduling.states import (
    Try,
    cancelled,
    is_hopeless,
    put_on,
    set_back,
    tries_in,
    try_words,
)
from flows.store.base import StoreAway
from flows.store.cells import Sight
from flows.store.leases import LEASES, Verdict
from flows.store.record import Record

log = logging.getLogger(__name__)

WINDOW = 64  # chunks that are ordered and have not ended, at most; more where engines are many
AGAIN = 3  # times that a chunk whose pictures were lost since is ordered anew
_WAITING = {"Scheduled", "Late", "AwaitingRetry", ""}  # no worker has it


@dataclass(kw_only=True)
class Chunk(Child):
    """A chunk on its way; ``ends`` are its verdict's words."""

    sheet: ChunkSheet
    ends: ChunkEnds | None = None


class ChunksParent(Parent[RunForm, Chunk]):
    """Tends the chunks of one stage. ``why`` set, none is begun, and none that waits is left."""

    flow = MAKE_CHUNK

    def __init__(self, client: SyncPrefectClient, form: RunForm) -> None:
        super().__init__(client, form)
        self.prefix = chunks_of(self.attempt.run)
        self.cells = self.site.cells(form.store)
        self.judge = self.site.judge(form.store)
        self.window = WINDOW
        self.stage: Stage

    def workers(self) -> int:
        """How many could make these chunks."""
        return 1

    def take(self, stage: Stage) -> None:
        """This stage's chunks are its own, none begun."""
        self.stage = stage
        self.children = {
            one.name: Chunk(name=one.name, after=one.after, sheet=one) for one in stage.sheet.chunks
        }

    def terms(self, child: Chunk) -> tuple[str, str, Mapping[str, Any], str | None]:
        """How a chunk is ordered."""
        parameters = {
            "store": self.form.store,
            "run": str(self.attempt.run),
            "chunk": child.name,
            "order": child.order,
        }
        title = f"{child.name} of {self.stage.plan.recipe}"
        return title, self.prefix + child.name, parameters, self.form.queue

    def see(self, runs: Mapping[UUID, FlowRun]) -> None:
        """Judge those that were ordered."""
        try:
            sights = self.cells.list(LEASES + self.prefix)
            for child in self.open:
                if child.run is not None:
                    run = runs.get(child.run)
                    self._see(child, child.run, run.state if run is not None else None, sights)
        except StoreAway:
            self.judge.forget()
            raise

    def order(self) -> None:
        """Order what may begin, if anything may."""
        if self.why:
            self.stop()
        else:
            super().order()

    def stop(self) -> None:
        """Nothing more is begun: what no worker has in hand is cancelled."""
        for child in self.open:
            if child.run is None:
                child.end(self.why)
            elif child.now in _WAITING:
                self.cancel(child)
                child.end(self.why)

    def cancel(self, child: Chunk) -> None:
        """Whoever has it in hand stops by itself; its run is cancelled."""
        if child.run is not None:
            cancelled(self.client, child.run, self.why)

    # --- one look

    def _see(
        self, child: Chunk, run: UUID, state: FlowState[Any] | None, sights: Mapping[str, Sight]
    ) -> None:
        child.now = (state.name or "") if state is not None else "deleted"
        name = self.prefix + child.name
        patience = self.site.tempo.patience(state.type if state is not None else None)
        lease = self.judge.lease(name, sights, state.id if state else "deleted", patience)
        if lease is Verdict.HELD:
            return
        if (state is None or state.is_final() or lease is not Verdict.FREE) and self._ends(child):
            return
        if state is None or state.is_completed():
            self._order_again(child, "was deleted" if state is None else "has no verdict")
        elif state.type is StateType.CANCELLED:
            child.end(state.message or "cancelled")
        elif state.is_failed() or state.is_crashed():
            worker, _, _ = (state.message or "").removeprefix("worker '").partition("'")
            self._came_to_nothing(child, run, worker, state.message or state.name or "")
        elif state.is_scheduled():
            if not self.why:
                put_on(self.client, run, state)
        elif lease is Verdict.FREE:
            return
        elif state.type is StateType.CANCELLING:
            cancelled(self.client, run, "nobody has it in hand")
        elif state.is_running():
            words = self.judge.broken.pop(name, None)
            self._came_to_nothing(child, run, words.worker if words else "", "its worker is dead")
        elif state.is_pending():
            set_back(self.client, run, "whoever took it has not begun")

    def _ends(self, child: Chunk) -> bool:
        """Whether there is a verdict of its newest order; then its words are taken."""
        name = self.prefix + child.name
        words = verdict(self.objects, name, child.order)
        if words is None:
            return False
        try:
            child.ends = ChunkEnds.from_json(words)
        except ValueError as error:
            log.warning("%s: %s", name, error)
            return False
        child.over = True
        return True

    def order_lost(self, records: Mapping[str, Record | None]) -> bool:
        """Order again what has ended and lost pictures since; whether there was any.

        Asked once, when all have ended: each look would cost two requests a picture.
        """
        lost = False
        for child in self.children.values():
            ends = child.ends.steps if child.ends is not None else {}
            made = (key for key, end in ends.items() if end.state in (State.DONE, State.CACHED))
            if child.order < AGAIN and any(self._is_lost(records.get(key)) for key in made):
                child.over, child.ends, lost = False, None, True
                self._order_again(child, "has lost pictures since")
        return lost

    def _is_lost(self, record: Record | None) -> bool:
        """Whether its record or its picture is gone; its chunk will look closer (``chunk_run``)."""
        return record is None or not self.store.holds(record.blob, record.size)

    def _order_again(self, child: Chunk, why: str) -> None:
        if child.now != "deleted":  # a deleted run's number is free again
            child.order += 1
        self.say(logging.WARNING, f"{child.name} {why}: it is ordered again")
        child.run = None
        if self.why:
            child.end(why)
        else:
            self.begin(child)

    def _came_to_nothing(self, child: Chunk, run: UUID, worker: str, why: str) -> None:
        """An attempt ended without a verdict: again, unless it has come to nothing too often."""
        there = dict(self.store.has_all(child.sheet.keys))
        words = try_words(worker, sum(there.values()), len(there), why[:300])
        if not set_back(self.client, run, words):
            return
        row = tries_in(history(self.client, run))
        self.say(logging.WARNING, f"{child.name}: {words}; tried again")
        if is_hopeless(row, self.workers()):
            self._give_up(child, run, row, why)

    def _give_up(self, child: Chunk, run: UUID, row: Sequence[Try], why: str) -> None:
        reason = f"given up after {len(row)} attempts that made nothing: {why}"
        there = dict(self.store.has_all(child.sheet.keys))
        ends = ChunkEnds.given_up(self.stage.plan, there, reason)
        give(self.objects, self.prefix + child.name, child.order, ends.to_json())
        if self._ends(child):
            self.say(logging.ERROR, f"{child.name}: {reason}")
            cancelled(self.client, run, reason)
