"""The decisions of one recipe, as the store has them; and how another is added.

Names are numbered and create-only, so that of two people who decide one slot at once one is
applied and the other is told: whoever writes says by the number what was known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flows.decisions.decision import (
    FOLDER,
    Decision,
    DecisionError,
    Line,
    Slot,
    decode,
    encode,
    family,
    folder,
)
from flows.store.base import StoreError

if TYPE_CHECKING:
    from flows.store.objects import Objects

LINES: tuple[Line, ...] = ("hands", "said", "judges")
TRIES = 100  # numbers that are tried for what is never refused


class Refused(Exception):  # noqa: N818 - what the store said, not a fault
    """Somebody decided the slot meanwhile; the message says what, and what to do."""


@dataclass(frozen=True, slots=True)
class SlotState:
    """What holds of a slot. ``seeds`` by take; the others by the key that they speak of."""

    pick: Decision | None = None
    seeds: Mapping[int, Decision] = field(default_factory=dict)
    approved: Mapping[str, Decision] = field(default_factory=dict)
    rejected: Mapping[str, Decision] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Decision]:
        """Every decision that holds."""
        if self.pick is not None:
            yield self.pick
        for some in (self.seeds, self.approved, self.rejected):
            yield from some.values()


@dataclass(frozen=True, slots=True)
class Ledger:
    """``lines`` has the sound decisions of each line by the digests of their slots, in order.

    ``newest`` is the last number of each that is taken, by a damaged record, too; ``damaged``
    tells of these.
    """

    lines: Mapping[Line, Mapping[str, Sequence[Decision]]] = field(
        default_factory=lambda: {line: {} for line in LINES}
    )
    newest: Mapping[tuple[Line, str], int] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()

    def next(self, line: Line, slot: Slot) -> int:
        """The number that is made upon what is known."""
        return self.newest.get((line, slot.digest), 0) + 1

    def of(self, line: Line, slot: Slot) -> Sequence[Decision]:
        """The decisions of a slot, in order."""
        return self.lines[line].get(slot.digest, ())

    def slots(self) -> dict[str, Slot]:
        """The slots of which hands have decided something, by their digests."""
        return {digest: row[0].slot for digest, row in self.lines["hands"].items()}

    def state(self, slot: Slot, file: str) -> SlotState:
        """What holds of a slot, of what was decided from the recipe of this file name."""
        return replay([one for one in self.of("hands", slot) if one.file == file])


EMPTY = Ledger()


def replay(decisions: Sequence[Decision]) -> SlotState:
    """What holds after these, in order, of one slot: what was undone never was."""
    undone: set[object] = set()
    for one in reversed(decisions):
        if one.kind == "undo" and one.number not in undone:
            undone.add(one.value)
    pick: Decision | None = None
    seeds: dict[int, Decision] = {}
    approved: dict[str, Decision] = {}
    rejected: dict[str, Decision] = {}
    for one in decisions:
        if one.number in undone:
            continue
        if one.kind == "pick":
            pick = one
        elif one.kind == "seed":
            seeds[one.take] = one
        elif one.key is not None and one.kind in ("approve", "reject"):
            mine, other = (approved, rejected) if one.kind == "approve" else (rejected, approved)
            mine[one.key] = one
            other.pop(one.key, None)
    return SlotState(pick, seeds, approved, rejected)


def read_ledger(objects: Objects, project: str | None, recipe: str) -> Ledger:
    """Every decision of a recipe of a project; three listings, and what they name.

    Raises:
        StoreError: the home fails.
    """
    from flows.store.lanes import LANES, in_lanes  # a check asks no store

    of = family(project, recipe)
    lines: dict[Line, dict[str, list[Decision]]] = {line: {} for line in LINES}
    newest: dict[tuple[Line, str], int] = {}
    damaged: list[str] = []
    for line in LINES:
        names = sorted(entry.name for entry in objects.list(folder(line, of)))
        for name, held in in_lanes(objects.get, names, LANES):
            slot, _, number = name.removeprefix(folder(line, of)).partition("/")
            count = number.removesuffix(".json")
            if not count.isdecimal() or held is None:
                continue
            newest[line, slot] = max(int(count), newest.get((line, slot), 0))
            try:
                lines[line].setdefault(slot, []).append(decode(held.data, name))
            except DecisionError as why:
                damaged.append(f"{objects.where}/{name}: {why}; it is passed over")
    kept = {
        line: {slot: row for slot, row in found.items() if row} for line, found in lines.items()
    }
    return Ledger(kept, newest, tuple(damaged))


def other_recipes(objects: Objects, project: str | None, recipe: str) -> Iterator[Decision]:
    """A decision of each other recipe that anybody's hand has decided about.

    Raises:
        StoreError: the home fails.
    """
    own = family(project, recipe)
    for of in sorted(objects.folders(f"{FOLDER}hands/")):
        if of == own:
            continue
        for entry in sorted(objects.list(folder("hands", of)), key=lambda one: one.name):
            held = objects.get(entry.name)
            try:
                if held is not None:
                    yield decode(held.data, entry.name)
                    break
            except DecisionError:
                continue


def add(objects: Objects, decision: Decision) -> Decision:
    """Write it, upon the number before its own; what is said, not decided, takes the next free one.

    Raises:
        Refused: somebody has taken its number.
        StoreError: the home fails.
    """
    for _ in range(TRIES):
        data = encode(decision)
        # An answer that was lost leaves our own words there.
        if objects.create(decision.name, data):
            return decision
        held = objects.get(decision.name)
        if held is not None and held.data == data:
            return decision
        if decision.line != "said":
            raise Refused(_refusal(decision, held.data if held is not None else b""))
        decision = decision.model_copy(update={"number": decision.number + 1})
    raise StoreError(f"{objects.where}: no free number for {decision.slot.label}; try again")


def _refusal(mine: Decision, data: bytes) -> str:
    try:
        told = decode(data, mine.name).words
    except DecisionError as why:
        told = f"a record that {why}"
    return (
        f"{mine.slot.words}: it was decided meanwhile: {told}; expected a decision upon the newest "
        "one; look, and decide again"
    )
