"""The conductor: sees to it that every run under way ends, whoever dies meanwhile.

It holds nothing that the store does not: a tick lists ``active/``, compares, and does the next
thing. So one that was killed is simply started again, and everything it does may be done twice.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flows.coordination.cutting import cut_run
from flows.coordination.dispatch import Delivery, Dispatcher, DispatchError
from flows.coordination.ledger import (
    AttemptName,
    ChunkSheet,
    Ledger,
    LedgerError,
    attempts_in,
)
from flows.coordination.publishing import Publish, Publisher, Submit, at_once
from flows.coordination.underway import Sights, UnderWay, newest, next_attempt
from flows.coordination.unreadable import what_is_left
from flows.execution.outcome import Ending
from flows.store.base import StoreError
from flows.store.claims import ORDER
from flows.store.keyed import KeyedStore
from flows.store.objects import Entry

log = logging.getLogger(__name__)

GONE_AFTER = 5.0  # seconds: the listing may be older than what the scheduler says
GONE_DOUBLINGS = 7  # of that, with each further attempt
BLIND_AFTER = 5.0  # seconds that a look may take; beyond, the store was away
NEVER_BEGUN = "its flow runs end before they begin; see their messages"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited before somebody is taken for dead (seconds), and how often."""

    lease: float = 60.0  # a lease that is not renewed
    pickup: float = 60.0  # a worker says that it has the attempt, but has taken no lease
    strikes: int = 5  # attempts of a chunk in a row that came to nothing
    window: int = 64  # chunks of a run that are with the scheduler at once


class Conductor:
    """One per store. ``tick`` is called again and again; ``clock`` is monotonic.

    ``submit`` has runs published and closed; with a thread for that, no other run waits for it.
    """

    def __init__(
        self,
        store: KeyedStore,
        dispatcher: Dispatcher,
        publish: Publish,
        patience: Patience = Patience(),
        clock: Callable[[], float] = time.monotonic,
        submit: Submit = at_once,
    ) -> None:
        self.ledger = Ledger(store.objects)
        self._store = store
        self._dispatcher = dispatcher
        self._publisher = Publisher(store, self.ledger, publish, submit)
        self._patience = patience
        self._clock = clock
        self._runs: dict[str, UnderWay] = {}
        self._blind_since: float | None = None

    def tick(self) -> int:
        """Look once at every run under way and do what is next; how many there are.

        What fails for one run, for now or for good, does not hold up the others.

        Raises:
            StoreError: the store itself cannot be listed.
        """
        found = self._look()
        under_way = {run: entries for run, entries in found.items() if ORDER in entries}
        for gone in set(self._runs) - set(under_way):
            del self._runs[gone]
            self._publisher.drop(gone)
        for name, entries in under_way.items():
            try:
                run = self._runs.get(name) or self._adopt(name)
                if run is not None:
                    self._advance(run, entries)
            except (StoreError, DispatchError) as error:
                log.warning("%s: %s", name, error)
            except Exception:  # a flaw met in one run must not hold up the others
                log.exception("%s", name)
        return len(under_way)

    def _look(self) -> Mapping[str, Mapping[str, Entry]]:
        if self._blind_since is None:
            self._blind_since = self._clock()
        found = self.ledger.look()
        now = self._clock()
        blind, self._blind_since = now - self._blind_since, None
        if blind > BLIND_AFTER:
            for run in self._runs.values():
                run.forgive(blind, now)
        return found

    def _adopt(self, name: str) -> UnderWay | None:
        try:
            return self._read(name)
        except LedgerError as error:
            self._refuse(name, error)
            return None

    def _refuse(self, name: str, error: LedgerError) -> None:
        """This release cannot read what is under way: nobody is left to wait for that."""
        why = f"{error}. Run it again: pictures whose keys are the same are found"
        log.error("%s cannot be gone on with: %s", name, why)
        self._dispatcher.refuse(what_is_left(self.ledger.objects, name), why)
        self.ledger.close(name)

    def _read(self, name: str) -> UnderWay | None:
        order, plan = self.ledger.order(name), self.ledger.plan(name)
        if order is None:
            return None
        if plan is None:
            # It was written before its order: somebody died while closing the run. A parent that
            # waits for it nevertheless is found in no book, and taken in again.
            self.ledger.close(name)
            return None
        chunks = self.ledger.chunks(name)
        if chunks is None:
            self.ledger.cut(name, cut_run(plan, self._store))
            chunks = self.ledger.chunks(name)
        if chunks is None:
            return None
        run = self._runs[name] = UnderWay.begin(order, plan, chunks, self._clock())
        log.info("%s: %d steps, %d chunks to make", name, len(plan.steps), len(chunks.chunks))
        return run

    def _advance(self, run: UnderWay, entries: Mapping[str, Entry]) -> None:
        if run.finished is not None:
            self._end(run)
            return
        name = run.order.run
        sights = attempts_in(name, entries)
        waiting: list[AttemptName] = []
        for chunk in run.chunks.chunks:
            if chunk.name in run.closed:
                continue
            if why := run.take(chunk, sights.get(chunk.name, {}), self.ledger.result):
                self._count_strike(run, chunk, why)
            run.block(chunk)
            if run.is_done(chunk):
                run.closed.add(chunk.name)
            elif (attempt := newest(name, chunk, sights)) is not None:
                waiting.append(attempt)
        lost = run.silent(waiting, sights, self._clock(), self._patience.lease)
        stopping = "cancel" in entries or self._asked_to_stop(run)
        if stopping:
            self._stop(run, [attempt for attempt in waiting if attempt not in lost])
        else:
            for attempt in lost:
                self._count_strike(run, run.sheet(attempt.chunk), "its worker or engine was lost")
                self._replace(run, attempt)
            for attempt, delivery in self._undelivered(run, waiting, sights).items():
                # A worker that has it and died before it began did not die of its steps.
                if delivery is Delivery.GONE:
                    self._count_strike(run, run.sheet(attempt.chunk), NEVER_BEGUN)
                self._replace(run, attempt)
            self._issue(run, sights, len(waiting))
        self._tell(run)
        if len(run.closed) == len(run.chunks.chunks):
            self._finish(run, Ending.INTERRUPTED if stopping else None)

    def _undelivered(
        self, run: UnderWay, waiting: list[AttemptName], sights: Sights
    ) -> Mapping[AttemptName, Delivery]:
        """Those that nobody has taken and that the scheduler does not have in its queue any more.

        Counted from when they were first heard to be where they are: a tick may have been long.
        """
        pending = [a for a in waiting if sights[a.chunk][a.number].lease is None]
        if not pending:
            return {}
        # Sent again and again: the scheduler may have been away, or this process is a new one.
        self._dispatcher.send(run.order, pending)
        places = self._dispatcher.where(run.order, pending)
        now = self._clock()
        return {
            attempt: delivery
            for attempt, delivery in places.items()
            if run.stands(attempt, delivery, now) > self._borne(attempt, delivery)
        }

    def _borne(self, attempt: AttemptName, delivery: Delivery) -> float:
        match delivery:
            case Delivery.WAITING:
                return float("inf")
            case Delivery.RUNNING:
                return self._patience.pickup
            case Delivery.GONE:
                # Longer each time: where no worker can begin it, a night must not fill with them.
                return GONE_AFTER * 2.0 ** min(attempt.number - 1, GONE_DOUBLINGS)

    def _replace(self, run: UnderWay, attempt: AttemptName) -> None:
        """Its worker is taken for dead: fence it off and try again, unless it was given up."""
        last = attempt.chunk in run.closed
        log.warning("%s: its worker is gone%s", attempt, "" if last else "; it is tried again")
        run.standing.strikes += 1
        self.ledger.issue(AttemptName(attempt.run, attempt.chunk, attempt.number + 1))
        self._dispatcher.recall(run.order, [attempt])

    def _count_strike(self, run: UnderWay, chunk: ChunkSheet, why: str) -> None:
        held = dict(self._store.has_all(chunk.keys))
        count = run.strike(chunk, sum(held.values()))
        if count >= self._patience.strikes:
            # With what was made by attempts that did not live to tell.
            run.give_up(chunk, held, f"given up after {count} attempts: {why}")

    def _issue(self, run: UnderWay, sights: Sights, out: int) -> None:
        """Send what is ready, as far as the window allows."""
        issued: list[AttemptName] = []
        for chunk in run.chunks.chunks:
            if out + len(issued) >= self._patience.window:
                break
            if run.is_ready(chunk) and newest(run.order.run, chunk, sights) is None:
                attempt = next_attempt(run.order.run, chunk, sights)
                self.ledger.issue(attempt)
                issued.append(attempt)
        if issued:
            run.standing.attempts += len(issued)
            self._dispatcher.send(run.order, issued)

    def _asked_to_stop(self, run: UnderWay) -> bool:
        late = run.order.deadline is not None and time.time() > run.order.deadline
        if late:
            run.standing.why = "the deadline has passed"
        asked = late
        with contextlib.suppress(DispatchError):  # nobody can ask while it is away
            asked = asked or self._dispatcher.wants_to_stop(run.order)
        if asked:
            self.ledger.cancel(run.order.run)
        return asked

    def _stop(self, run: UnderWay, out: list[AttemptName]) -> None:
        """Nothing new is sent; what is out ends by itself, or its lease does."""
        self._dispatcher.recall(run.order, out)
        busy = {attempt.chunk for attempt in out if run.seen.get(attempt, (None, 0.0))[0]}
        run.closed.update(c.name for c in run.chunks.chunks if c.name not in busy)

    def _tell(self, run: UnderWay) -> None:
        counts = tuple(run.standing.counts.values())
        if counts != run.told:
            self._dispatcher.tell(run.order, run.standing)
            run.told = counts

    def _finish(self, run: UnderWay, ending: Ending | None) -> None:
        """Manifest and report; as long as that takes, the other runs go on."""
        published = self._publisher.published(run, ending, self._clock() - run.began)
        if published is None:
            return
        if published.finished is None:
            run.reopen(published.damaged)
            return
        run.finished, outcome = published.finished, published.outcome
        run.standing.ending, run.standing.why = outcome.ending, outcome.why
        log.info("%s: %s", run.order.run, outcome.ending.value)
        self._end(run)

    def _end(self, run: UnderWay) -> None:
        """It is published: tell the scheduler, then forget it. Each may be done twice."""
        if run.finished is not None and not run.shown:
            self._dispatcher.finished(run.order, run.standing, run.finished.report)
            run.shown = True
        if self._publisher.closed(run.order.run):
            del self._runs[run.order.run]
