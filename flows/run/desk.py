"""Deciding about the pictures of a recipe: what people say, checked and written.

A selector may name several pictures; each is decided about by itself, in their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flows.decisions.decided import Decided
from flows.decisions.decision import SAID, Decision, Kind, Slot
from flows.decisions.ledger import add
from flows.plan.select import make_label, parse_label, select_exact
from flows.plan.slots import slot_of, split_take
from flows.plan.step import Pick, Plan
from flows.problems import Problem, did_you_mean, one_of
from flows.recipe.errors import RecipeError
from flows.recipe.recipe import Recipe
from flows.store.keyed import KeyedStore

RATINGS = (1, 2, 3, 4, 5)
OPTION = "decide"


@dataclass
class Desk:
    """A recipe planned with what was decided; ``decided`` grows with each decision."""

    recipe: Recipe
    plan: Plan
    decided: Decided
    store: KeyedStore
    who: str

    def decide(self, kind: str, selector: str, value: str | None) -> list[Decision]:
        """Decide about all that a selector names; what was written.

        ``kind`` is one of decisions', or ``release``: undo the pick in force.

        Raises:
            RecipeError: there is nothing of that name, or it cannot be decided so.
            Refused: somebody has decided about one meanwhile; those before it are written.
            StoreError: the store fails.
        """
        labels = select_exact(self.plan, selector, OPTION)
        if kind in ("undo", "release"):
            made = [self._undone(kind, label, value) for label in self._slots(labels)]
        elif kind == "pick":
            made = [self._picked(label, value) for label in self._picks(selector, labels)]
        else:
            made = [self._said(kind, label, value) for label in labels]
        return [self.write(decision) for decision in made]

    def write(self, decision: Decision) -> Decision:
        """Add it to the store, and to what is known here.

        Raises:
            Refused, StoreError: as ``ledger.add``.
        """
        # Of several about one slot each is made upon the one before.
        number = self.decided.ledger.next(decision.line, decision.slot)
        written = add(self.store.objects, decision.model_copy(update={"number": number}))
        self.decided = self.decided.plus(written)
        return written

    def make(self, kind: Kind, slot: Slot, **more: Any) -> Decision:
        """A decision of ours."""
        return self.decided.make(kind, slot, self.who, self.plan.recipe_text, **more)

    # --- kinds

    def _picks(self, selector: str, labels: Sequence[str]) -> list[str]:
        picks = [label for label in labels if label in self.plan.picks]
        if picks:
            return picks
        waiting = [label for label in labels if label in self.plan.waiting]
        if waiting:
            above = one_of(list(self.plan.waiting[waiting[0]].picks))
            raise _wrong(selector, f"waits for {above}; expected that to be decided first; do so")
        known = sorted(self.plan.picks)
        hint = f"expected {one_of(known)}" if known else "this recipe has none ('op: pick')"
        raise _wrong(selector, f"is no pick; {hint}; name one")

    def _picked(self, label: str, value: str | None) -> Decision:
        pick = self.plan.picks[label]
        found = self._candidate(pick, value)
        self._there(found.label, found.key)
        return self.make("pick", pick.slot, key=found.key, label=found.label)

    def _candidate(self, pick: Pick, value: str | None) -> Any:
        among = pick.candidates
        known = [f"{number} ({one.label})" for number, one in enumerate(among, 1)]
        if value is None:
            raise _wrong(pick.label, f"which one? expected {one_of(known)}; say its number")
        if value.isdecimal():
            if 1 <= int(value) <= len(among):
                return among[int(value) - 1]
            raise _wrong(pick.label, f"there is no take {value}; expected {one_of(known)}")
        named = [one for one in among if value in (one.label, one.key, parse_label(one.label)[0])]
        if len(named) == 1:
            return named[0]
        hint = did_you_mean(value, [one.label for one in among]) or f"expected {one_of(known)}"
        raise _wrong(pick.label, f"there is no '{value}' to pick: {hint}")

    def _said(self, kind: str, label: str, value: str | None) -> Decision:
        key = self.plan.labels.get(label)
        if key is None:
            above = one_of(list(self.plan.waiting[label].picks))
            raise _wrong(label, f"has no picture before {above} is decided; decide that first")
        slot, (_, take) = slot_of(self.plan, label), split_take(self.plan, label)
        self._there(label, key)
        about: dict[str, Any] = {"key": key, "label": label, "take": take}
        if kind in ("approve", "reject"):
            return self.make(kind, slot, **about)  # type: ignore[arg-type]
        if kind == "rate":
            if value is None or value not in map(str, RATINGS):
                raise _wrong(label, f"a rating is {one_of(list(map(str, RATINGS)))}; say one")
            return self.make("rate", slot, **about, value=int(value))
        if kind == "vote":
            if value is None or value not in ("+1", "-1", "1"):
                raise _wrong(label, "a vote is +1 or -1; say one")
            return self.make("vote", slot, **about, value=int(value))
        if not value or not value.strip():
            raise _wrong(label, "a comment has words; expected some; write them")
        return self.make("comment", slot, **about, value=value.strip()[:4000])

    def _slots(self, labels: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(split_take(self.plan, label)[0] for label in labels))

    def _undone(self, kind: str, label: str, value: str | None) -> Decision:
        slot = slot_of(self.plan, label)
        row = [one for one in self.decided.ledger.of("hands", slot) if one.file == self.plan_file]
        state = self.decided.state(slot)
        if kind == "release":
            number = state.pick.number if state.pick is not None else None
        elif value is not None:
            number = int(value) if value.isdecimal() else None
        else:
            gone = {one.value for one in row if one.kind == "undo"}
            left = [one.number for one in row if one.kind != "undo" and one.number not in gone]
            number = left[-1] if left else None
        if number is None or number not in [one.number for one in row]:
            known = [str(one.number) for one in row]
            hint = f"expected number {one_of(known)}" if known else "nothing was decided about it"
            raise _wrong(label, f"there is nothing to {kind}; {hint}")
        return self.make("undo", slot, label=slot.label, value=number)

    @property
    def plan_file(self) -> str:
        """The recipe's file name, which its decisions are of."""
        return self.decided.file

    def _there(self, label: str, key: str) -> None:
        if self.store.peek(key) is None:
            raise _wrong(
                label,
                f"its picture ({key[:12]}) is not in {self.store.objects.where}: it was never "
                "made, or is gone; run the recipe first",
            )

    # --- all of them

    def listing(self) -> Iterator[tuple[str, str, str, str]]:
        """What holds and what waits: slot, kind, what, who and when."""
        for label, pick in self.plan.picks.items():
            if pick.chosen is None:
                who = f"by {pick.judge}" if pick.judge else "by hand"
                among = ", ".join(f"{n} {one.label}" for n, one in enumerate(pick.candidates, 1))
                yield label, "open", among, who
        for decision in self.in_force():
            what = decision.label if decision.kind != "seed" else f"{decision.value}"
            yield decision.slot.words, decision.kind, what, f"{decision.who}, {decision.made}"
        for row in self.decided.ledger.lines["said"].values():
            for one in row:
                if one.file == self.plan_file:
                    told = f"{one.label}: {one.value}"
                    yield one.slot.words, one.kind, told, f"{one.who}, {one.made}"

    def in_force(self) -> Iterator[Decision]:
        """What hands have decided and not undone, and what judges have."""
        for slot in self.decided.ledger.slots().values():
            yield from self.decided.state(slot)
        for pick in self.plan.picks.values():
            said = self.decided.judged(pick.slot, pick.judge, pick.judged) if pick.judged else None
            if said is not None:
                yield said

    def adopt(self) -> list[Decision]:
        """Take over what was decided from another file of this recipe's name.

        Raises:
            Refused, StoreError: as ``write``.
        """
        taken = []
        for slot in self.decided.foreign():
            for old in list(self.decided.force(slot)):
                taken.append(self.write(self.again(old, slot)))
        return taken

    def again(self, old: Decision, slot: Slot) -> Decision:
        """What an old decision says, of another slot, or of this file; who said it stays."""
        return self.decided.make(
            old.kind, slot, old.who, self.plan.recipe_text,
            key=old.key, label=old.label, take=old.take, value=old.value,
        )  # fmt: skip

    def move(self, old: str, new: str, former: Decided | None) -> list[Decision]:
        """Carry decisions over: from an orphan to a slot that there is, or, ``former``, from the
        recipe's former name.

        ``old`` and ``new`` are labels, or the names of steps for all of theirs. What is left behind
        is undone, so that it is told no more.

        Raises:
            RecipeError: there is no such orphan, or no such slot.
            Refused, StoreError: as ``write``.
        """
        moved: list[Decision] = []
        source = former or self.decided
        known = {slot_of(self.plan, label).label: slot_of(self.plan, label)
                 for label in (*self.plan.labels, *self.plan.waiting)}  # fmt: skip
        for slot in list(source.ledger.slots().values()):
            label = slot.label if former else _renamed(slot.label, old, new)
            held = list(source.force(slot))
            if label is None or not held:
                continue
            target = known.get(label)
            if target is None:
                hint = did_you_mean(label, known) or "name a step that there is"
                raise _wrong(f"--move {old} {new}", f"no step '{label}' in the recipe: {hint}")
            for one in held:
                goes = target.model_copy(update={"parameters": slot.parameters})
                told = self.again(one, goes)
                moved.append(self.write(told))
                if former is None:
                    self.write(self.make("undo", slot, label=slot.label, value=one.number))
        if not moved:
            orphans = [slot.label for slot in source.orphans(known)]
            hint = f"expected {one_of(sorted(orphans))}" if orphans else "there is none"
            raise _wrong(f"--move {old} {new}", f"nothing was decided about '{old}'; {hint}")
        return moved


def _renamed(label: str, old: str, new: str) -> str | None:
    """A label as it is called now, if it is one of those."""
    if label == old:
        return new
    step, values = parse_label(label)
    return make_label(new, values) if step == old and "[" not in old + new else None


def _wrong(where: str, text: str) -> RecipeError:
    return RecipeError([Problem(f"{OPTION} {where}" if " " not in where else where, None, text)])


def kinds() -> tuple[str, ...]:
    """What may be said, as the command line calls it."""
    return ("pick", "approve", "reject", "seed", "release", "undo", *sorted(SAID))
