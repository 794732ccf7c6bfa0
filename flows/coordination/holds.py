"""Claims on what the runs under way need, held as long as they are under way."""

from __future__ import annotations

import contextlib
import logging
import threading

from flows.coordination.ledger import FOLDER, Ledger, LedgerError
from flows.coordination.sources import sources_of
from flows.recipe.step import Plan
from flows.store.base import StoreError
from flows.store.claims import claim, is_under_way
from flows.store.objects import Objects

log = logging.getLogger(__name__)


class Holds:
    """One claim for each run; safe for several threads.

    A run's claim is held before anything of it is looked up, and let go when the run is closed. A
    process that ends without ``release_all`` leaves its claims, so that what its runs need stays
    until the next process holds its own.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._lock = threading.Lock()
        self._held: dict[str, contextlib.ExitStack] = {}
        self._entered: set[str] = set()

    def hold(self, run: str, plan: Plan) -> None:
        """Claim what a run needs; waits while a clean-up is under way. Again is nothing.

        Raises:
            StoreError: the store fails.
        """
        with self._lock:
            if run in self._held:
                return
            stack = contextlib.ExitStack()
            self._held[run] = stack
        say = log.info
        try:
            # Its source pictures, too: no record names these, and workers read them to the end.
            keys = (*plan.steps, *(ref.digest for ref in sources_of(plan)))
            stack.enter_context(claim(self._objects, run=run, plan=plan.digest, keys=keys, say=say))
        except BaseException:
            self.drop(run)
            raise

    def entered(self, run: str) -> None:
        """The run is under way from now on: once it is not any more, ``release_ended`` lets go."""
        with self._lock:
            self._entered.add(run)

    def drop(self, run: str) -> None:
        """Let go of a run that was not entered after all."""
        with self._lock:
            stack = self._held.pop(run, None)
            self._entered.discard(run)
        if stack is not None:
            with contextlib.suppress(StoreError):  # it expires
                stack.close()

    def adopt(self, ledger: Ledger) -> None:
        """Hold for every run that is under way, as after a restart; end what was half closed.

        Raises:
            StoreError: the store fails.
        """
        for run in runs_under_way(self._objects):
            try:
                if ledger.order(run) is None:
                    continue
                plan = ledger.plan(run)
            except LedgerError as error:
                log.warning("%s: %s", run, error)
                continue
            if plan is None:
                # Its plan was written before its order: somebody died while closing it.
                ledger.close(run)
            else:
                self.hold(run, plan)
                self.entered(run)

    def release_ended(self) -> frozenset[str]:
        """Let go of the runs that were entered and are not under way any more; those that are.

        Raises:
            StoreError: the store fails.
        """
        with self._lock:
            entered = set(self._entered)
        ended = {run for run in entered if not is_under_way(self._objects, run)}
        for run in ended:
            self.drop(run)
        return frozenset(entered - ended)

    def release_all(self) -> None:
        """Let go of everything."""
        with self._lock:
            runs = list(self._held)
        for run in runs:
            self.drop(run)


def runs_under_way(objects: Objects) -> list[str]:
    """The names that may be of runs under way; in a folder, those of ended ones may stay."""
    return [name.rstrip("/").rpartition("/")[2] for name in objects.folders(FOLDER)]
