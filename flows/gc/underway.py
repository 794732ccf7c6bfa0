"""Runs under way on several workers, by what they wrote: stages, leases and verdicts.

``stages/<flow run>/<round>-…`` is what a round of a run was planned with; while
``verdicts/parents/<flow run>.<round>`` is not there, the round has not ended, whether anybody has
it in hand or not: its workers may be away, or people have suspended it. ``LONGEST`` after its last
stage was written nobody is expected to go on with it, unless its lease is renewed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import ValidationError

from flows.gc.reading import Reader
from flows.run import stages
from flows.run.stages import STAGES
from flows.run.verdicts import VERDICTS
from flows.store.base import StoreError
from flows.store.lanes import LANES, in_lanes
from flows.store.objects import Entry, Objects
from flows.store.words import EMPTY, LEASES

LONGEST = 30 * 24 * 3600.0  # seconds
PARENTS = "parents/"

_STAGE = re.compile(re.escape(STAGES) + r"([^/]+)/(\d+)-[^/]+")
_CUT = re.compile(re.escape(STAGES) + r"[^/]+/\d+-\d+\.json")  # tells what is needed
_VERDICT = re.compile(re.escape(VERDICTS) + r"(?:parents/([^/]+)\.\d+|chunks/([^/]+)/[^/]+)")

Keys = tuple[frozenset[str], frozenset[str]]  # of steps, and of blobs that no record names


@dataclass(frozen=True, slots=True)
class UnderWay:
    """``rounds`` are flow run and round of what has not ended, ``runs`` flow runs with a round
    that has not or with a lease that is renewed; ``keys`` and ``blobs`` are what their stages name.

    ``blind`` says, for people, which stages cannot be read.
    """

    rounds: frozenset[tuple[str, str]] = frozenset()
    runs: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    blobs: frozenset[str] = frozenset()
    blind: tuple[str, ...] = ()

    def is_over(self, name: str) -> bool:
        """Whether a stage or a verdict of this name is a run's, and the run needs it no more."""
        stage, told = _STAGE.fullmatch(name), _VERDICT.fullmatch(name)
        if stage is not None:
            return (stage[1], stage[2]) not in self.rounds
        return told is not None and (told[1] or told[2]) not in self.runs


class UnderWayReader:
    """Reads ``UnderWay`` again and again; a stage is read once."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._stages = Reader(objects, lambda data, _: stages.needs(data))

    def read(self, now: float, grace: float) -> UnderWay:
        """What has not ended at this moment; ``now`` by the home's clock.

        Verdicts are listed after stages: a round that ends meanwhile has written its manifest
        before its verdict.

        Raises:
            StoreError: the home cannot be listed.
        """
        found: dict[tuple[str, str], list[Entry]] = {}
        for entry in self._objects.list(STAGES):
            named = _STAGE.fullmatch(entry.name)
            if named is not None:
                found.setdefault((named[1], named[2]), []).append(entry)
        living = self._living(now - grace)
        ended = {entry.name for entry in self._objects.list(VERDICTS + PARENTS)}
        rounds = {
            (run, number): entries
            for (run, number), entries in found.items()
            if f"{VERDICTS}{PARENTS}{run}.{number}" not in ended
            and (run in living or max(one.modified for one in entries) >= now - LONGEST)
        }
        cuts = [one for some in rounds.values() for one in some if _CUT.fullmatch(one.name)]
        told = [named for _, named in in_lanes(self._named, cuts, LANES)]
        keys = [named for named in told if not isinstance(named, str)]
        return UnderWay(
            rounds=frozenset(rounds),
            runs=frozenset(run for run, _ in rounds) | living,
            keys=frozenset().union(*(steps for steps, _ in keys)),
            blobs=frozenset().union(*(blobs for _, blobs in keys)),
            blind=tuple(named for named in told if isinstance(named, str)),
        )

    def _living(self, oldest: float) -> frozenset[str]:
        """Flow runs whose lease is renewed: somebody has them in hand, however long already."""
        prefix = LEASES + PARENTS
        return frozenset(
            entry.name.removeprefix(prefix)
            for entry in self._objects.list(prefix)
            if entry.size > EMPTY and entry.modified >= oldest
        )

    def _named(self, entry: Entry) -> Keys | str:
        """What a stage names, or why that is not known."""
        try:
            return self._stages.read(entry) or (frozenset(), frozenset())
        except (StoreError, ValueError) as error:
            why = unreadable(error)
            return f"{entry.name}: the plan of a run under way that cannot be read ({why})"


def unreadable(error: Exception) -> str:
    """Why something cannot be read, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        return f"{where}: {first['msg']}"
    return str(error)
