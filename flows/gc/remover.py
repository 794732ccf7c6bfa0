"""Removing one kind of objects after another under the lock, each looked at again before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from flows.gc.kinds import Kind, Policy
from flows.gc.slices import Slices
from flows.store.lanes import LANES, in_lanes
from flows.store.objects import Entry, Objects

Tell = Callable[[str, int, int], None]  # what is done, how many, of how many


@dataclass
class Swept:
    """What went, by kind, and what was a candidate but stayed when looked at again."""

    counts: Counter[Kind] = field(default_factory=Counter)
    bytes: Counter[Kind] = field(default_factory=Counter)
    kept: Counter[Kind] = field(default_factory=Counter)


class Remover:
    """``swept`` counts; ``went`` are the names of the records that are gone."""

    def __init__(self, objects: Objects, policy: Policy, slices: Slices) -> None:
        self.swept = Swept()
        self.went: set[str] = set()
        self._objects = objects
        self._policy = policy
        self._slices = slices

    def remove(self, kind: Kind, entries: Sequence[Entry], age: float | None = None) -> bool:
        """Remove those that are still what they were, and old; whether all of them went.

        ``age`` in seconds stands for the policy's grace period.

        Raises:
            StoreError: the lock could not be renewed, or the home fails.
        """
        oldest = self._slices.now() - (self._policy.grace if age is None else age)

        def remove(entry: Entry) -> bool:
            seen = self._objects.stat(entry.name)
            if seen is None or seen.version != entry.version or seen.modified >= oldest:
                return False
            self._slices.check()
            return self._objects.remove(entry.name, seen.version)

        before = self.swept.counts[kind]
        for entry, gone in in_lanes(remove, entries, LANES):
            if gone:
                self.swept.counts[kind] += 1
                if kind in {Kind.RECORDS, Kind.OUTPUTS}:
                    self.went.add(entry.name)
                self.swept.bytes[kind] += entry.size
            else:
                self.swept.kept[kind] += 1
        return self.swept.counts[kind] - before == len(entries)
