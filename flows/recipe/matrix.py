"""The axes with their values, and from them the variants: the combinations kept.

Variants are the product of the axes in the recipe's order, of which some may run side by side or
be joined (``flows.recipe.pairing``), less what ``exclude`` matches, plus what ``include`` adds. A
single file is an axis of one value that ids do not mention.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flows.problems import unknown
from flows.recipe.axes import Axis, Value
from flows.recipe.entries import AxisEntry, InputEntry
from flows.recipe.errors import RecipeError
from flows.recipe.inputs import resolve_entry, resolve_input
from flows.recipe.naming import name_texts, slug
from flows.recipe.node import Loc
from flows.recipe.pairing import MAX_COMBINATIONS, Combo, Slots, TooManyError
from flows.recipe.review import Review
from flows.recipe.validate import validate_part

MAX_VARIANTS = 10_000
ONLY_VARIANT = "default"


@dataclass(frozen=True, slots=True)
class Variant:
    """One combination: a value for every axis. ``id`` joins the shown values' names by commas."""

    id: str
    values: Mapping[str, Value]


def build_axes(review: Review) -> dict[str, Axis]:
    """All axes by name, inputs first; what is wrong with them is noted."""
    document = review.recipe.document
    axes: dict[str, Axis] = {}
    for name, files in document.inputs.items():
        axes[name] = Axis(name, *resolve_input(review, name, files))
    for name, entries in (document.matrix.__pydantic_extra__ or {}).items():
        seen: dict[str, int] = {}
        given = {entry.name for entry in entries if entry.name}
        own = iter(name_texts([e.value for e in entries if e.value and not e.name], given))
        values = [
            _value(review, ("matrix", name, i), entry, entry.name or (entry.value and next(own)))
            for i, entry in enumerate(entries)
        ]
        for index, value in enumerate(values):
            if value.name and seen.setdefault(value.name, index) != index:
                text = (
                    f"two values of '{name}' are named '{value.name}' (entries "
                    f"{seen[value.name] + 1} and {index + 1}); expected different names; rename one"
                )
                review.wrong(("matrix", name, index), text)
        axes[name] = Axis(name, tuple(values), shown=True)
    return axes


def build_variants(review: Review, axes: Mapping[str, Axis]) -> tuple[Variant, ...]:
    """The combinations, in the axes' order; mistakes and entries without effect are noted."""
    if not all(axis.values for axis in axes.values()):
        return ()  # has been told
    before = len(review.problems)
    slots = Slots(review, axes)
    if len(review.problems) > before:
        return ()
    slots.check_matches()
    choices = _Choices(review, axes, slots)
    try:
        kept = choices.exclude(list(slots.combos()))
        kept += choices.include(kept)
    except TooManyError:
        _too_many(review, axes, f"more than {MAX_COMBINATIONS} combinations", "combinations")
        return ()
    if len(review.problems) > before:
        return ()
    if len(kept) > MAX_VARIANTS:
        _too_many(review, axes, f"{len(kept)} variants", "variants")
        return ()
    if not kept:
        text = "every combination is excluded; expected at least one variant; remove an entry"
        review.wrong(("matrix", "exclude"), text, key=True)
    return tuple(_variant(axes, combo) for combo in kept)


def _too_many(review: Review, axes: Mapping[str, Axis], count: str, what: str) -> None:
    sizes = " x ".join(f"{len(axis.values)} {axis.name}" for axis in axes.values())
    most = MAX_COMBINATIONS if what == "combinations" else MAX_VARIANTS
    before = ""
    if review.recipe.document.matrix.exclude:
        before = ", before 'exclude'" if what == "combinations" else ", after 'exclude'"
    text = (
        f"the matrix has {count}{before} ({sizes}); expected at most {most}; "
        "split the recipe or remove values"
    )
    where = ("matrix",) if review.recipe.source.node(("matrix",)) else ("inputs",)
    review.wrong(where, text, key=True)


def _value(review: Review, loc: Loc, entry: AxisEntry, name: str | None) -> Value:
    """One entry of a matrix axis, and its name."""
    if not name:
        text = "this value has no 'name' and no 'value'; expected one of them; add 'name: ...'"
        review.wrong(loc, text)
    name = name or ""
    attributes = {"name": name, **(entry.__pydantic_extra__ or {})}
    return Value(name, entry.value or name, attributes, loc=loc)


def _variant(axes: Mapping[str, Axis], combo: Combo) -> Variant:
    values = dict(zip(axes, combo, strict=True))
    shown = [value.name for name, value in values.items() if axes[name].shown]
    return Variant(",".join(shown) or ONLY_VARIANT, values)


def _names(combo: Combo) -> tuple[str, ...]:
    return tuple(value.name for value in combo)


class _Choices:
    """Carries out ``exclude`` and ``include``."""

    def __init__(self, review: Review, axes: Mapping[str, Axis], slots: Slots) -> None:
        self.review = review
        self.slots = slots
        self.matrix = review.recipe.document.matrix
        self.axes = axes
        self.known = {name: {v.name: v for v in axis.values} for name, axis in axes.items()}

    def exclude(self, kept: Sequence[Combo]) -> list[Combo]:
        order = list(self.axes)
        for i, entry in enumerate(self.matrix.exclude):
            loc: Loc = ("matrix", "exclude", i)
            found = [
                self.find((*loc, axis, j), axis, name)
                for axis, names in entry.items()
                for j, name in enumerate(names)
            ]
            if None in found:
                continue
            tests = [(order.index(axis), set(names)) for axis, names in entry.items()]
            left = [c for c in kept if not all(c[at].name in names for at, names in tests)]
            if len(left) == len(kept):
                self.review.note(loc, "this entry excludes nothing")
            kept = left
        return list(kept)

    def include(self, kept: Sequence[Combo]) -> list[Combo]:
        seen = set(map(_names, kept))
        added: list[Combo] = []
        for i, entry in enumerate(self.matrix.include):
            loc: Loc = ("matrix", "include", i)
            chosen = {axis: self.choose((*loc, axis), axis, name) for axis, name in entry.items()}
            known = {axis: value for axis, value in chosen.items() if value is not None}
            if len(known) < len(chosen):
                continue
            fresh = [combo for combo in self.slots.combos(known) if _names(combo) not in seen]
            if not fresh:
                self.review.note(loc, "this entry includes nothing new")
            seen.update(map(_names, fresh))
            added += fresh
        return added

    def choose(self, loc: Loc, axis: str, choice: str | dict[str, str]) -> Value | None:
        """The value that an ``include`` entry means: one that exists, or a new one it defines."""
        if isinstance(choice, str) or axis not in self.axes:
            return self.find(loc, axis, choice if isinstance(choice, str) else "")
        value = self.define(loc, axis, choice)
        if value is not None and self.known[axis].setdefault(value.name, value) is not value:
            text = (
                f"'{value.name}' is a value of '{axis}' already; expected a new one; "
                "write its name only"
            )
            self.review.wrong(loc, text)
            return None
        return value

    def define(self, loc: Loc, axis: str, choice: dict[str, str]) -> Value | None:
        source, before = self.review.recipe.source, len(self.review.problems)
        made: list[Value] = []
        try:
            if axis in self.review.recipe.document.inputs:
                entry = validate_part(source, loc, InputEntry, choice)
                made = resolve_entry(self.review, loc, entry)
            else:
                one = validate_part(source, loc, AxisEntry, choice)
                made = [_value(self.review, loc, one, one.name or (one.value and slug(one.value)))]
        except RecipeError as error:
            self.review.problems.extend(error.problems)
        if len(made) > 1:
            self.review.wrong(loc, f"matches {len(made)} files; expected one; name the file")
        return made[0] if len(self.review.problems) == before else None

    def find(self, loc: Loc, axis: str, name: str) -> Value | None:
        section = str(loc[1])
        if axis not in self.axes:
            self.review.wrong(loc[:4], unknown("axis", axis, section, self.axes), key=True)
            return None
        if name not in self.known[axis]:
            remedy = "write one of these"
            if section == "include":
                remedy = "write one of these or define a new one: {name: ..., ...}"
            where = f"{section} for '{axis}'"
            self.review.wrong(loc, unknown("value", name, where, self.known[axis], remedy))
        return self.known[axis].get(name)
