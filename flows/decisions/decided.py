"""What was decided for one recipe, as a plan asks for it; and what people should know of the rest.

A decision made from another file of the recipe's name is not applied, one whose slot nobody has any
more is an orphan: never applied, told with the nearest slot.
"""

from __future__ import annotations

import getpass
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from flows.decisions.decision import Decision, Kind, Slot, now
from flows.decisions.ledger import (
    EMPTY,
    Ledger,
    SlotState,
    other_recipes,
    read_ledger,
    replay,
)
from flows.problems import did_you_mean

if TYPE_CHECKING:
    from flows.settings import Settings
    from flows.store.keyed import KeyedStore
    from flows.store.record import Record


@dataclass(frozen=True, slots=True)
class Decided:
    """``file`` is the recipe's file name; ``record`` looks for a picture in the store."""

    project: str | None = None
    recipe: str = ""
    file: str = ""
    ledger: Ledger = EMPTY
    record: Callable[[str], Record | None] = lambda key: None  # noqa: ARG005 - there is no store
    moved: Mapping[str, str] = field(default_factory=dict)  # file -> the name it was decided under

    def slot(self, label: str, parameters: Mapping[str, str]) -> Slot:
        """The slot of a step's label."""
        return Slot(
            project=self.project,
            recipe=self.recipe,
            label=label,
            parameters=tuple(sorted(parameters.items())),
        )

    def state(self, slot: Slot) -> SlotState:
        """What holds of it, of what was decided from this recipe's file."""
        return self.ledger.state(slot, self.file)

    def judged(self, slot: Slot, judge: str, keys: Sequence[str]) -> Decision | None:
        """The newest judge's pick, if this judge saw these candidates."""
        row = self.ledger.of("judges", slot)
        last = row[-1] if row else None
        same = last is not None and last.judge == judge and set(last.scores) == set(keys)
        return last if same else None

    def numbers(self) -> dict[str, int]:
        """The newest number of each slot that hands have decided."""
        return {slot: n for (line, slot), n in self.ledger.newest.items() if line == "hands"}

    def foreign(self) -> list[Slot]:
        """Slots whose newest decision was made from another file of the recipe's name."""
        lines = self.ledger.lines["hands"]
        return [slot for digest, slot in self.ledger.slots().items()
                if lines[digest][-1].file != self.file]  # fmt: skip

    def orphans(self, labels: Collection[str]) -> list[Slot]:
        """Slots with something in force that none of a recipe's ``labels`` has.

        One with other parameters than now is no orphan: a run with these has it.
        """
        return [
            slot
            for slot in self.ledger.slots().values()
            if slot.label not in labels and self.state(slot) != SlotState()
        ]

    def notes(self, labels: Collection[str]) -> Iterator[str]:
        """What is not applied, and why, one line a cause."""
        yield from self.ledger.damaged
        if foreign := self.foreign():
            files = {one.file for slot in foreign for one in self.ledger.of("hands", slot)}
            named = ", ".join(sorted(files - {self.file}))
            yield (
                f"{len(foreign)} decisions under the name '{self.recipe}' are of another file "
                f"({named}) and are not applied; 'kontext decide {self.file} --adopt' takes them "
                "over, a project of its own in kontext.toml keeps them apart"
            )
        if orphans := self.orphans(labels):
            first = orphans[0]
            hint = did_you_mean(first.label, labels) or "no step has a name like it"
            yield (
                f"{len(orphans)} decisions are of slots that are no more, such as '{first.words}': "
                f"{hint}; 'kontext decide {self.file} --move OLD NEW' carries one over"
            )
        for file, name in self.moved.items():
            yield (
                f"decisions of {file} are kept under its former name '{name}'; 'kontext decide "
                f"{file} --move {name} {self.recipe}' carries them over"
            )

    def make(self, kind: Kind, slot: Slot, who: str, text: str, /, **more: Any) -> Decision:
        """A decision upon what is known; ``text`` is the recipe's."""
        made = Decision(
            slot=slot, kind=kind, number=1, who=who, made=now(), file=self.file,
            sha256=hashlib.sha256(text.encode()).hexdigest(), **more,
        )  # fmt: skip
        return made.model_copy(update={"number": self.ledger.next(made.line, slot)})

    def approvals(self, depends: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, Decision]:
        """Approvals in force by the keys that they speak of, of slots with these parameters, which
        are told by step.
        """
        found: dict[str, Decision] = {}
        for slot in self.ledger.slots().values():
            step = slot.label.partition("[")[0]
            if slot.parameters == tuple(tuple(pair) for pair in depends.get(step, ())):
                found.update(self.state(slot).approved)
        return found

    def plus(self, decision: Decision) -> Decided:
        """As if this had been read, too."""
        line, slot = decision.line, decision.slot.digest
        lines, row = self.ledger.lines, self.ledger.of(line, decision.slot)
        ledger = Ledger(
            {**lines, line: {**lines[line], slot: (*row, decision)}},
            {**self.ledger.newest, (line, slot): decision.number},
            self.ledger.damaged,
        )
        return replace(self, ledger=ledger)

    def force(self, slot: Slot) -> Iterator[Decision]:
        """The decisions of another file that hold of a slot, to be taken over."""
        row = self.ledger.of("hands", slot)
        file = row[-1].file if row else self.file
        yield from replay([one for one in row if one.file == file])


UNDECIDED = Decided()


def read_decided(store: KeyedStore, settings: Settings, recipe: str, file: str) -> Decided:
    """What the store has of a recipe by its name and its file's.

    Raises:
        StoreError: the store fails.
    """
    project, objects = settings.project, store.objects
    ledger = read_ledger(objects, project, recipe)
    moved: dict[str, str] = {}
    if not ledger.lines["hands"]:
        for one in other_recipes(objects, project, recipe):
            if one.file == file and one.slot.project == project:
                moved[file] = one.slot.recipe
    return Decided(project, recipe, file, ledger, store.peek, moved)


def author(settings: Settings) -> str:
    """Who decides, as far as this machine knows: a statement, no proof."""
    if settings.author:
        return settings.author
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user that has no name
        return "somebody"
