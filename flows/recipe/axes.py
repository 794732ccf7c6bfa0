"""The axes: every input, and every entry of ``matrix``, with their values in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flows.recipe.errors import Problem
from flows.recipe.inputs import resolve_input
from flows.recipe.naming import slug
from flows.recipe.node import Loc
from flows.recipe.recipe import Recipe
from flows.recipe.schema import AxisEntry
from flows.recipe.value import Value
from flows.settings import Settings


@dataclass(frozen=True, slots=True)
class Axis:
    """A name and its values in order. ``shown``: labels and variant ids mention it."""

    name: str
    values: tuple[Value, ...]
    shown: bool


def build_axes(recipe: Recipe, settings: Settings, problems: list[Problem]) -> dict[str, Axis]:
    """All axes by name, inputs first; what is wrong with them goes to ``problems``.

    ``settings`` limit where inputs may come from.
    """
    axes: dict[str, Axis] = {}
    for name, entries in recipe.document.inputs.items():
        values, shown = resolve_input(recipe, name, entries, settings, problems)
        axes[name] = Axis(name, values, shown)
    for name, listed in (recipe.document.matrix.__pydantic_extra__ or {}).items():
        loc: Loc = ("matrix", name)
        made = [axis_value(recipe, (*loc, i), entry, problems) for i, entry in enumerate(listed)]
        _check_distinct(recipe, loc, made, problems)
        axes[name] = Axis(name, tuple(made), shown=True)
    return axes


def axis_value(recipe: Recipe, loc: Loc, entry: AxisEntry, problems: list[Problem]) -> Value:
    """One entry of a matrix axis; a plain text is named by its own slug."""
    name = entry.name or (slug(entry.value) if entry.value else "")
    if not name:
        text = "this value has no 'name' and no 'value'; expected one of them; add 'name: ...'"
        problems.append(recipe.source.problem(loc, text))
    return Value(name, entry.value or name, {"name": name, **(entry.__pydantic_extra__ or {})})


def _check_distinct(
    recipe: Recipe, loc: Loc, values: Sequence[Value], problems: list[Problem]
) -> None:
    seen: dict[str, int] = {}
    for index, value in enumerate(values):
        if value.name and value.name in seen:
            text = (
                f"two values of '{loc[-1]}' are named '{value.name}' (entries "
                f"{seen[value.name] + 1} and {index + 1}); expected different names; rename one"
            )
            problems.append(recipe.source.problem((*loc, index), text))
        seen.setdefault(value.name, index)
