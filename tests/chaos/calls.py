"""The engines' call logs: what was computed, by whom, and whether each repetition had a reason."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Strike:
    """A kill. ``end`` is when what it hit was back; times are Unix time in seconds."""

    victim: str
    pid: int
    at: float
    end: float

    def excuses(self, worker: str, number: int, first: float, again: float) -> bool:
        """Whether a picture begun ``first`` by a worker may be begun ``again`` because of it."""
        own = {f"{kind}-{number}" for kind in ("engine", "host", "stop")} | {worker}
        # A parent's death repeats nothing: its chunks go on. Nor does a server's.
        return bool(own & set(self.victim.split("+"))) and self.at <= again and self.end >= first


@dataclass(frozen=True)
class Call:
    worker: str
    event: str
    id: str
    pid: int
    time: float

    @property
    def number(self) -> int:
        return int(self.worker.rpartition("-")[2])


@dataclass(frozen=True)
class CallBook:
    """All calls of all engines, in time."""

    calls: tuple[Call, ...]

    @classmethod
    def read(cls, files: Iterable[Path], ahead: Mapping[str, int] | None = None) -> CallBook:
        """``ahead``: the seconds that a worker's clock is ahead of the one that strikes."""
        found: list[Call] = []
        for file in files:
            worker = file.stem.removeprefix("calls-")
            for line in file.read_text().splitlines():
                call = Call(worker=worker, **json.loads(line))
                found.append(replace(call, time=call.time - (ahead or {}).get(worker, 0)))
        return cls(tuple(sorted(found, key=lambda call: call.time)))

    def of(self, event: str, keys: Collection[str] | None = None) -> list[Call]:
        return [c for c in self.calls if c.event == event and (keys is None or c.id in keys)]

    def computations(self, keys: Collection[str]) -> Counter[str]:
        """How often each key was begun."""
        return Counter(call.id for call in self.of("start", keys))

    def loads(self) -> Counter[tuple[int, str]]:
        """How often each engine process loaded each model's weights."""
        return Counter((call.pid, call.id) for call in self.of("load"))

    def unloaded(self) -> set[int]:
        """Engine processes that computed and loaded nothing: there are none."""
        return {call.pid for call in self.of("start")} - {call.pid for call in self.of("load")}

    def unexcused(self, keys: Collection[str], strikes: Iterable[Strike]) -> list[str]:
        """Repetitions that no kill accounts for; a kill accounts for one of each key."""
        strikes = list(strikes)
        begun: dict[str, list[Call]] = defaultdict(list)
        for call in self.of("start", keys):
            begun[call.id].append(call)
        wrong = []
        for key, calls in begun.items():
            free = list(strikes)
            for first, again in itertools.pairwise(calls):
                fitting = [
                    s for s in free if s.excuses(first.worker, first.number, first.time, again.time)
                ]
                if fitting:
                    free.remove(min(fitting, key=lambda strike: strike.end))
                else:
                    gap = again.time - first.time
                    wrong.append(f"{key[:12]}: {first.worker}, then {again.worker} {gap:.1f} s on")
        return wrong
