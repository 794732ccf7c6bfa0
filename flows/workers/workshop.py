"""Where a worker's attempts are carried out: its engines, its stores, and what it has in hand."""

from __future__ import annotations

import logging
import threading

from flows.coordination.duty import Station, do_chunk
from flows.coordination.ledger import Ledger
from flows.execution.events import both
from flows.execution.execute import EngineFactory
from flows.metrics import Counts
from flows.orchestration.names import PRIORITIES
from flows.recipe.step import Plan
from flows.resident.pool import EnginePool
from flows.resident.pooled import PooledEngine
from flows.settings import Settings, SettingsError
from flows.store.address import open_store
from flows.store.base import StoreError
from flows.store.keyed import KeyedStore
from flows.workers.attempt import Attempt, End, Verdict, judge

log = logging.getLogger(__name__)


class Workshop:
    """Carries out attempts in its callers' threads; they share the engines of one pool."""

    def __init__(
        self,
        holder: str,
        pool: EnginePool,
        counts: Counts | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.pool = pool
        self.counts = counts or Counts()
        self._holder = holder
        self._settings = settings
        self._lock = threading.Lock()
        self._stores: dict[str, KeyedStore] = {}
        self._in_hand: set[Attempt] = set()
        self._draining = threading.Event()

    @property
    def leases(self) -> int:
        """How many attempts are being carried out."""
        with self._lock:
            return len(self._in_hand)

    @property
    def draining(self) -> bool:
        """Whether what is in hand is being handed back."""
        return self._draining.is_set()

    def drain(self) -> None:
        """Have every attempt stop within a denoise step and be handed back; returns at once."""
        self._draining.set()
        with self._lock:
            in_hand = list(self._in_hand)
        for attempt in in_hand:
            attempt.let_go()

    def carry_out(self, attempt: Attempt) -> Verdict:
        """Do it, and say how it ended; never raises, because what it made is safe in any case."""
        with self._lock:
            self._in_hand.add(attempt)
        try:
            verdict = self._carry_out(attempt)
        except (StoreError, SettingsError) as error:
            verdict = Verdict(End.FAILED, str(error), fruitless=True)
        except Exception as error:
            log.exception("%s", attempt.ticket.name)
            verdict = Verdict(End.FAILED, f"{type(error).__name__}: {error}", fruitless=True)
        finally:
            with self._lock:
                self._in_hand.discard(attempt)
        self.counts.ended(verdict.end)
        return verdict

    def _carry_out(self, attempt: Attempt) -> Verdict:
        name = attempt.ticket.name
        store = self._store(attempt.ticket.store)
        station = Station(
            holder=self._holder,
            engine=lambda plan, _batch: self._hire(attempt, plan),
            draining=self._draining.is_set,
            cancelled=attempt.cancelled,
            hear=both(self.counts.hear, attempt.hear),
            moved=attempt.moved,
        )
        result = do_chunk(store, name, station)
        verdict = judge(result, cancelled=attempt.cancelled())
        if verdict.end is End.FAILED and Ledger(store.objects).is_cancelled(name.run):
            verdict = judge(result, cancelled=True)
        return verdict

    def _hire(self, attempt: Attempt, plan: Plan) -> EngineFactory:
        def load() -> PooledEngine:
            engine = PooledEngine(self.pool, plan.model, plan.numerics, attempt.priority)
            return attempt.hire(engine, draining=self._draining.is_set).load()

        return load

    def _store(self, address: str) -> KeyedStore:
        with self._lock:
            if address not in self._stores:
                self._stores[address] = open_store(address, self._settings)
            return self._stores[address]


def priority_of(queue: str | None) -> int:
    """A queue's priority among the engines' borrowers; one that nobody knows comes last."""
    known = {str(name): priority for name, priority in PRIORITIES.items()}
    return known.get(queue or "", max(known.values()) + 1)
