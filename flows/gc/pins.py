"""Pins: a run that has one does not expire."""

from __future__ import annotations

from flows.pull.listing import PINS, RunNotFound
from flows.run.manifest import FILE_NAME
from flows.store.base import StoreError
from flows.store.lock import POLL, HomeClock, Say, silent, wait_for_collector
from flows.store.objects import Objects
from flows.store.runfolder import RUNS


def pin(objects: Objects, run: str, *, say: Say = silent, poll: float = POLL) -> None:
    """Pin a finished run. Like a run's claim: written first, then a clean-up is waited for.

    Raises:
        RunNotFound: the clean-up had taken it by then.
        StoreError: the store cannot be written.
    """
    name = f"{PINS}{run}"
    objects.replace(name, b"")
    clock = HomeClock.of(objects, name)
    if clock is None:
        raise StoreError(f"{objects.where}: what was just written is not there; try again")
    wait_for_collector(objects, clock, say, poll=poll)
    if objects.stat(f"{RUNS}/{run}/{FILE_NAME}") is None:
        objects.remove(name)
        raise RunNotFound(f"{objects.where}: run '{run}' has no {FILE_NAME}, so it is not pinned")


def unpin(objects: Objects, run: str) -> bool:
    """Take a run's pin away; whether it had one.

    Raises:
        StoreError: the store cannot be written.
    """
    return objects.remove(f"{PINS}{run}")
