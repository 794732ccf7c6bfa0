"""From axes to variants: the combinations kept.

Variants are the cartesian product of the axes in the recipe's order, less what ``exclude``
matches, plus what ``include`` adds. A single file is an axis of one value that ids do not mention.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flows.recipe.axes import Axis, axis_value
from flows.recipe.errors import Problem, RecipeError, unknown
from flows.recipe.inputs import resolve_entry
from flows.recipe.node import Loc
from flows.recipe.recipe import Recipe
from flows.recipe.schema import AxisEntry, InputEntry
from flows.recipe.validate import validate_part
from flows.recipe.value import Value
from flows.settings import Settings

MAX_VARIANTS = 10_000
ONLY_VARIANT = "default"

Combo = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """One combination: a value for every axis. ``id`` joins the shown values' names by commas."""

    id: str
    values: Mapping[str, Value]


def build_variants(
    recipe: Recipe, axes: Mapping[str, Axis], settings: Settings, warnings: list[str]
) -> tuple[Variant, ...]:
    """The combinations, in the axes' order; an entry without effect goes to ``warnings``.

    ``settings`` limit where inputs that ``include`` defines may come from.

    Raises:
        RecipeError: too many, none, or an ``exclude`` or ``include`` that names what is not there.
    """
    count = math.prod(len(axis.values) for axis in axes.values())
    if count > MAX_VARIANTS:
        sizes = " x ".join(f"{len(axis.values)} {axis.name}" for axis in axes.values())
        text = (
            f"the matrix has {count} variants ({sizes}); expected at most {MAX_VARIANTS}; "
            "split the recipe or remove values"
        )
        where = ("matrix",) if recipe.source.node(("matrix",)) else ("inputs",)
        raise RecipeError([recipe.source.problem(where, text, key=True)])
    choices = _Choices(recipe, axes, settings, warnings)
    kept = choices.exclude(list(itertools.product(*(axis.values for axis in axes.values()))))
    kept += choices.include(kept)
    if choices.problems:
        raise RecipeError(choices.problems)
    if not kept:
        text = "every combination is excluded; expected at least one variant; remove an entry"
        raise RecipeError([recipe.source.problem(("matrix", "exclude"), text, key=True)])
    return tuple(_variant(axes, combo) for combo in kept)


def _variant(axes: Mapping[str, Axis], combo: Combo) -> Variant:
    values = dict(zip(axes, combo, strict=True))
    shown = [value.name for name, value in values.items() if axes[name].shown]
    return Variant(",".join(shown) or ONLY_VARIANT, values)


class _Choices:
    """Carries out ``exclude`` and ``include``, collecting what is wrong with them."""

    def __init__(
        self, recipe: Recipe, axes: Mapping[str, Axis], settings: Settings, warnings: list[str]
    ) -> None:
        self.recipe = recipe
        self.axes = axes
        self.settings = settings
        self.warnings = warnings
        self.problems: list[Problem] = []
        self.known = {name: {v.name: v for v in axis.values} for name, axis in axes.items()}

    def exclude(self, combos: Sequence[Combo]) -> list[Combo]:
        kept = list(combos)
        for i, entry in enumerate(self.recipe.document.matrix.exclude):
            loc: Loc = ("matrix", "exclude", i)
            found = [
                self.find((*loc, axis, j), axis, name)
                for axis, names in entry.items()
                for j, name in enumerate(names)
            ]
            if None in found:
                continue
            tests = [(list(self.axes).index(axis), set(names)) for axis, names in entry.items()]
            left = [c for c in kept if not all(c[at].name in names for at, names in tests)]
            if len(left) == len(kept):
                self.warn(loc, "this entry excludes nothing")
            kept = left
        return kept

    def include(self, kept: Sequence[Combo]) -> list[Combo]:
        seen = {tuple(value.name for value in combo) for combo in kept}
        added: list[Combo] = []
        for i, entry in enumerate(self.recipe.document.matrix.include):
            loc: Loc = ("matrix", "include", i)
            chosen = {axis: self.choose((*loc, axis), axis, name) for axis, name in entry.items()}
            if None in chosen.values():
                continue
            ranges = [
                axis.values if chosen.get(name) is None else (chosen[name],)
                for name, axis in self.axes.items()
            ]
            combos: list[Combo] = [
                tuple(value for value in combo if value is not None)
                for combo in itertools.product(*ranges)
            ]
            fresh = [c for c in combos if tuple(v.name for v in c) not in seen]
            if not fresh:
                self.warn(loc, "this entry includes nothing new")
            seen.update(tuple(v.name for v in c) for c in fresh)
            added += fresh
        return added

    def choose(self, loc: Loc, axis: str, choice: str | dict[str, str]) -> Value | None:
        """The value that an ``include`` entry means: one that exists, or a new one it defines."""
        if isinstance(choice, str) or axis not in self.axes:
            return self.find(loc, axis, choice if isinstance(choice, str) else "")
        value = self.define(loc, axis, choice)
        if value is not None and value.name in self.known[axis]:
            self.fail(
                loc,
                f"'{value.name}' is a value of '{axis}' already; expected a new one; "
                "write its name only",
            )
            return None
        if value is not None:
            self.known[axis][value.name] = value
        return value

    def define(self, loc: Loc, axis: str, choice: dict[str, str]) -> Value | None:
        before = len(self.problems)
        try:
            if axis in self.recipe.document.inputs:
                entry = validate_part(self.recipe.source, loc, InputEntry, choice)
                made = resolve_entry(self.recipe, loc, entry, self.settings, self.problems)
            else:
                axis_entry = validate_part(self.recipe.source, loc, AxisEntry, choice)
                made = [axis_value(self.recipe, loc, axis_entry, self.problems)]
        except RecipeError as error:
            self.problems.extend(error.problems)
            return None
        if len(made) > 1:
            self.fail(loc, f"matches {len(made)} files; expected one; name the file")
        return made[0] if len(self.problems) == before else None

    def find(self, loc: Loc, axis: str, name: str) -> Value | None:
        section = str(loc[1])
        if axis not in self.axes:
            text = unknown("axis", axis, section, self.axes)
            self.problems.append(self.recipe.source.problem(loc[:4], text, key=True))
            return None
        if name not in self.known[axis]:
            remedy = "write one of these"
            if section == "include":
                remedy = "write one of these or define a new one: {name: ..., ...}"
            where = f"{section} for '{axis}'"
            self.fail(loc, unknown("value", name, where, self.known[axis], remedy))
        return self.known[axis].get(name)

    def fail(self, loc: Loc, text: str) -> None:
        self.problems.append(self.recipe.source.problem(loc, text))

    def warn(self, loc: Loc, text: str) -> None:
        self.warnings.append(str(self.recipe.source.problem(loc, text)))
