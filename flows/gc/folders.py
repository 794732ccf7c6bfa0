"""Taking folders of runs whole, one at a time, while nobody claims the run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from flows.gc.kinds import Kind, Policy
from flows.gc.remover import Remover, Tell
from flows.gc.slices import Slices, cut
from flows.gc.survey import Survey, may_be_dropped, may_expire
from flows.manifest import FILE_NAME
from flows.store.folder import LocalObjects
from flows.store.objects import Entry, Objects
from flows.store.runfolder import RUNS


def take_folders(
    kind: Kind,
    first: Survey,
    objects: Objects,
    policy: Policy,
    slices: Slices,
    remover: Remover,
    tell: Tell,
) -> None:
    """Take those of ``first`` that may still go: the manifest, then the rest.

    Raises:
        StoreError: the lock could not be renewed, or the home fails.
    """
    names = first.expired if kind is Kind.RUNS else first.unfinished
    by_run: dict[str, list[Entry]] = {name: [] for name in names}
    for entry in first.entries(kind):
        by_run[entry.name.split("/")[1]].append(entry)
    for done, (run, entries) in enumerate(by_run.items(), 1):
        if _take(kind, run, entries, policy, slices, remover):
            _remove_empty_folders(objects, run)
        tell(f"removing {kind}", done, len(by_run))
    if remover.swept.counts[kind]:
        slices.end()  # what only these runs named is free in the next slice


def _take(
    kind: Kind,
    run: str,
    entries: Sequence[Entry],
    policy: Policy,
    slices: Slices,
    remover: Remover,
) -> bool:
    manifest = f"{RUNS}/{run}/{FILE_NAME}"
    head = [entry for entry in entries if entry.name == manifest]
    rest = [entry for entry in entries if entry.name != manifest]
    began = slices.needs()
    if began.blind or not may_be_dropped(run, began):
        return False
    if kind is Kind.RUNS:
        older = policy.runs_older or 0.0
        if not may_expire(run, began, slices.now() - older):
            return False
        if not remover.remove(kind, head, age=older):
            return False
    elif run not in began.bare:
        return False
    for batch in cut(rest):
        needs = slices.needs()
        back = needs is not began and run in needs.runs
        if back or not may_be_dropped(run, needs):
            return False
        remover.remove(kind, batch, age=0.0 if kind is Kind.RUNS else None)
    return True


def _remove_empty_folders(objects: Objects, run: str) -> None:
    """What is left of a run in a home that has folders as such."""
    if not isinstance(objects, LocalObjects):
        return
    top = objects.root / RUNS / run
    for folder, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):  # not empty
            Path(folder).rmdir()
