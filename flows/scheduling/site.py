"""What bodies find where they are carried out: stores, engines, models, and what is in hand.

There is one in a process. A parent's worker has no engines.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from prefect.client.schemas.objects import StateType

from flows.engines.pool import EnginePool
from flows.scheduling.attempt import Attempt
from flows.scheduling.progress import Progress
from flows.scheduling.setbacks import Setbacks
from flows.scheduling.workers.metrics import Counts
from flows.settings import Settings
from flows.store.address import open_cells, open_store
from flows.store.cells import Cells
from flows.store.keyed import KeyedStore
from flows.store.leases import Judge, Lease
from kontext_engine.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Tempo:
    """Seconds. What experiments found good; trials on one machine may go quicker."""

    renew: float = 10.0  # between two renewals of a lease
    quiet: float = 45.0  # a lease that was not renewed for so long is nobody's
    overdue: float = 15.0  # after which proof of its holder's death is asked for
    brief: float = 10.0  # a Running run without a lease is set back after this
    back_off: float = 20.0  # until a run whose name is held is tried again
    look: float = 3.0  # between two looks of a parent at its children
    sweep: float = 10.0  # between two looks at all leases

    def patience(self, state: StateType | None) -> float:
        """How long a run of this state may stay unchanged without a lease.

        Who is Running has taken it before; Pending has not yet.
        """
        living = state in {StateType.RUNNING, StateType.CANCELLING}
        return self.brief if living else self.quiet


class _Tried(KeyedStore):
    """A store that was tried when its first lease was taken: an outage is waited out from then on.

    Trying it anew at each chunk would give up within seconds, as is right before a person.
    """

    def prepare(self) -> None:
        """Do nothing."""


@dataclass(eq=False)
class Site:
    """``worker`` is what Prefect calls this process; ``models`` are those served, by digest."""

    worker: str
    settings: Settings
    pool: EnginePool | None = None
    models: Mapping[str, ModelSpec] = field(default_factory=dict)
    recipes: str = "recipes"  # where parents find them by name: a folder or s3://bucket/prefix
    lacking: set[str] = field(default_factory=set)  # weights that were asked for and are not here
    tempo: Tempo = field(default_factory=Tempo)
    counts: Counts = field(default_factory=Counts)
    setbacks: Setbacks = field(default_factory=Setbacks)
    progress: Progress = field(default_factory=Progress)
    draining: threading.Event = field(default_factory=threading.Event)
    attempts: dict[UUID, Attempt] = field(default_factory=dict)
    _stores: dict[str, KeyedStore] = field(default_factory=dict)
    _cells: dict[str, Cells] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def store(self, address: str) -> KeyedStore:
        """The store at an address; one for all bodies.

        Raises:
            StoreError: it is none.
        """
        with self._lock:
            if address not in self._stores:
                found = open_store(address, self.settings)
                self._stores[address] = _Tried(found.objects, lanes=found.lanes)
            return self._stores[address]

    def cells(self, address: str) -> Cells:
        """Where the leases of a store are, tried out once: it must know conditional writes.

        Raises:
            StoreError: it does not, or cannot be asked now.
        """
        with self._lock:
            found = self._cells.get(address)
        if found is None:
            found = open_cells(address, self.settings)
            found.prepare()
            with self._lock:
                found = self._cells.setdefault(address, found)
        return found

    @property
    def addresses(self) -> list[str]:
        """The stores whose leases are known."""
        with self._lock:
            return list(self._cells)

    def lease(self, address: str, name: str) -> Lease:
        """A lease of this worker's in a store, not taken yet."""
        return Lease(self.cells(address), name, self.worker, renew=self.tempo.renew)

    def judge(self, address: str) -> Judge:
        """Who judges the leases of a store; one for each thread."""
        cells, tempo = self.cells(address), self.tempo
        return Judge(cells, quiet=tempo.quiet, overdue=tempo.overdue)
