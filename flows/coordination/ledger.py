"""What is under way, as objects of the store: whoever dies, the next one reads on from here.

``active/<run>/`` holds one run: ``order.json`` (who wants what), ``plan``, ``chunks.json`` (what is
to be made, cut once), ``cancel`` (somebody asked to stop), and for every attempt at a chunk
``attempts/<chunk>-<attempt>.ticket|lease|result``. A ticket is the coordinator's: this attempt is
the chunk's newest, older ones are fenced off. Lease and result are the worker's: a lease is written
again on real progress of the engine only; a result ends the attempt. ``order.json`` is written
last and removed last, so a run is either whole or garbage.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from flows.execution.outcome import State, StepOutcome
from flows.recipe.planfile import PlanFileError, decode_plan, encode_plan
from flows.recipe.step import Plan
from flows.store.base import StoreError
from flows.store.claims import ORDER, UNDER_WAY
from flows.store.objects import Entry, Objects, checked

FOLDER = UNDER_WAY

KEPT = 8  # plans and chunk lists that a process remembers
_KEPT: OrderedDict[tuple[str, str, str], Any] = OrderedDict()
_KEPT_LOCK = threading.Lock()

T = TypeVar("T")

Queue = Literal["urgent", "nightly"]


class _Sheet(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def data(self) -> bytes:
        """Its bytes in the store."""
        return self.model_dump_json(indent=1).encode()

    @classmethod
    def parse(cls, name: str, data: bytes) -> Self:
        """Read it back.

        Raises:
            LedgerError: it is none.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise LedgerError(f"{name}: {error.errors()[0]['msg']}") from None


class LedgerError(StoreError):
    """What the store tells of a run under way cannot be read."""


class Order(_Sheet):
    """A run that somebody wants: ``run`` names its folder, ``flow_run`` its parent in Prefect."""

    run: str
    recipe: str
    plan: str  # the plan's digest
    queue: Queue = "nightly"
    batch: int = 8
    flow_run: str | None = None
    created: str
    deadline: float | None = None  # seconds since 1970; what has not begun then stays undone


class ChunkSheet(_Sheet):
    """A chunk: the steps that one worker makes in one go, after other chunks."""

    name: str
    keys: tuple[str, ...]
    after: tuple[str, ...] = ()


class ChunkList(_Sheet):
    """All chunks of a run; ``cached`` are keys that were there when it was cut."""

    chunks: tuple[ChunkSheet, ...]
    cached: tuple[str, ...] = ()


class StepSheet(_Sheet):
    """How a step ended in an attempt."""

    state: State
    reason: str = ""
    blocked_by: str | None = None
    attempts: int = 0

    @classmethod
    def of(cls, outcome: StepOutcome) -> StepSheet:
        """From what the execution says."""
        return cls(
            state=outcome.state, reason=outcome.reason, blocked_by=outcome.blocked_by,
            attempts=outcome.attempts,
        )  # fmt: skip


class Lease(_Sheet):
    """Somebody works on an attempt. ``progress`` grows with the engine's work."""

    holder: str
    progress: int = 0
    done: int = 0


class Result(_Sheet):
    """An attempt's end: how each step ended; ``why`` it ended early, if it did.

    ``handed_back``: the worker stopped on purpose (drain); nobody is to blame.
    """

    holder: str
    steps: Mapping[str, StepSheet]
    seconds: float
    engine_seconds: float = 0.0
    handed_back: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True, order=True)
class AttemptName:
    """One attempt at one chunk of a run; ``number`` from 1."""

    run: str
    chunk: str
    number: int

    def at(self, kind: Literal["ticket", "lease", "result"]) -> str:
        """The name of one of its objects."""
        return checked(f"{FOLDER}{self.run}/attempts/{self.chunk}-{self.number:03d}.{kind}")

    def __str__(self) -> str:
        return f"{self.run}/{self.chunk}/{self.number}"


@dataclass(frozen=True, slots=True)
class Sight:
    """What a listing shows of an attempt: the lease's version, and whether a result is there."""

    lease: str | None = None
    result: str | None = None


class Ledger:
    """Reads and writes ``active/``."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    def open(self, order: Order, plan: Plan) -> bool:
        """Enter a run, its plan first; ``False`` when it is under way already."""
        self.objects.replace(f"{FOLDER}{order.run}/plan", encode_plan(plan))
        return self.objects.create(f"{FOLDER}{order.run}/{ORDER}", order.data())

    def order(self, run: str) -> Order | None:
        """A run's order, or ``None`` when it is not under way.

        Raises:
            LedgerError: it cannot be read.
        """
        name = f"{FOLDER}{run}/{ORDER}"
        held = self.objects.get(name)
        return None if held is None else Order.parse(name, held.data)

    def plan(self, run: str) -> Plan | None:
        """A run's plan, or ``None`` when it is not under way.

        Raises:
            LedgerError: it cannot be read.
        """

        def decode(name: str, data: bytes) -> Plan:
            try:
                return decode_plan(data, self.objects)
            except PlanFileError as error:
                raise LedgerError(f"{name}: {error}") from None

        return self._kept(f"{FOLDER}{run}/plan", decode)

    def chunks(self, run: str) -> ChunkList | None:
        """How a run was cut, or ``None`` when it was not yet.

        Raises:
            LedgerError: it cannot be read.
        """
        return self._kept(f"{FOLDER}{run}/chunks.json", ChunkList.parse)

    def cut(self, run: str, chunks: ChunkList) -> None:
        """Write how a run is cut, unless it was."""
        self.objects.create(f"{FOLDER}{run}/chunks.json", chunks.data())

    def cancel(self, run: str) -> None:
        """Somebody wants this run to stop."""
        self.objects.create(f"{FOLDER}{run}/cancel", b"")

    def is_cancelled(self, run: str) -> bool:
        """Whether somebody wants it to stop."""
        return self.objects.stat(f"{FOLDER}{run}/cancel") is not None

    def issue(self, attempt: AttemptName) -> bool:
        """Make this the chunk's newest attempt, unless it was made already."""
        return self.objects.create(attempt.at("ticket"), b"")

    def is_fenced(self, attempt: AttemptName) -> bool:
        """Whether a newer attempt was issued, or its run is not under way any more."""
        newer = AttemptName(attempt.run, attempt.chunk, attempt.number + 1)
        if self.objects.stat(newer.at("ticket")) is not None:
            return True
        return self.objects.stat(attempt.at("ticket")) is None

    def take(self, attempt: AttemptName, lease: Lease) -> bool:
        """Begin an attempt; ``False`` when somebody has."""
        return self.objects.create(attempt.at("lease"), lease.data())

    def renew(self, attempt: AttemptName, lease: Lease) -> None:
        """Tell of progress."""
        self.objects.replace(attempt.at("lease"), lease.data())

    def settle(self, attempt: AttemptName, result: Result) -> None:
        """End an attempt."""
        self.objects.create(attempt.at("result"), result.data())

    def result(self, attempt: AttemptName) -> Result | None:
        """How an attempt ended; ``None`` when it has not.

        Raises:
            LedgerError: it cannot be read.
        """
        name = attempt.at("result")
        held = self.objects.get(name)
        return None if held is None else Result.parse(name, held.data)

    def look(self) -> Mapping[str, Mapping[str, Entry]]:
        """Everything under way, by run and by name within the run; one listing."""
        found: dict[str, dict[str, Entry]] = {}
        for entry in self.objects.list(FOLDER):
            run, _, rest = entry.name.removeprefix(FOLDER).partition("/")
            if rest:
                found.setdefault(run, {})[rest] = entry
        return found

    def close(self, run: str) -> None:
        """Forget a run: everything of it, its order last."""
        last = f"{FOLDER}{run}/{ORDER}"
        for entry in self.objects.list(f"{FOLDER}{run}/"):
            if entry.name != last:
                self.objects.remove(entry.name)
        self.objects.remove(last)

    def _kept(self, name: str, decode: Callable[[str, bytes], T]) -> T | None:
        """An object decoded, once per version and process: a plan of 10^5 steps takes seconds."""
        entry = self.objects.stat(name)
        if entry is None:
            return None
        key = (self.objects.where, name, entry.version)
        with _KEPT_LOCK:
            if key in _KEPT:
                _KEPT.move_to_end(key)
                kept: T = _KEPT[key]
                return kept
        held = self.objects.get(name)
        if held is None:
            return None
        value = decode(name, held.data)
        with _KEPT_LOCK:
            _KEPT[key] = value
            while len(_KEPT) > KEPT:
                _KEPT.popitem(last=False)
        return value


def attempts_in(run: str, entries: Mapping[str, Entry]) -> Mapping[str, Mapping[int, Sight]]:
    """The attempts that a listing of a run shows, by chunk and number."""
    found: dict[str, dict[int, Sight]] = {}
    for attempt, kind, entry in _attempt_objects(run, entries):
        row = found.setdefault(attempt.chunk, {})
        seen = row.get(attempt.number, Sight())
        if kind == "lease":
            seen = Sight(entry.version, seen.result)
        elif kind == "result":
            seen = Sight(seen.lease, entry.version)
        row[attempt.number] = seen
    return found


def _attempt_objects(
    run: str, entries: Mapping[str, Entry]
) -> Iterator[tuple[AttemptName, str, Entry]]:
    for name, entry in entries.items():
        folder, _, last = name.rpartition("/")
        stem, _, kind = last.rpartition(".")
        chunk, _, number = stem.rpartition("-")
        if folder == "attempts" and number.isdigit():
            yield AttemptName(run, chunk, int(number)), kind, entry
