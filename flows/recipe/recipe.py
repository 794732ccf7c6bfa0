"""A recipe as people wrote it, validated: ``load_recipe``. Nothing is looked up on disk but it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.problems import Problem, did_you_mean, one_of
from flows.recipe.errors import RecipeError
from flows.recipe.node import Loc, Source
from flows.recipe.schema import RecipeFile, Settings, StepSpec
from flows.recipe.source import parse_source, read_source
from flows.recipe.validate import validate

_TOP_LEVEL = ("model", "name")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A valid recipe: the file with its places, its typed document, and the variables' values.

    ``sets`` are the ``name=value`` pairs of the command line that changed it.
    """

    path: Path
    name: str
    source: Source
    document: RecipeFile
    variables: Mapping[str, str]
    sets: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """What relative paths in the recipe begin at."""
        return self.path.parent


def load_recipe(path: Path, sets: Sequence[str] = ()) -> Recipe:
    """Read and validate a recipe; ``sets`` are ``name=value`` pairs of ``--set``.

    A bare name is one of the recipe's ``variables``, or ``model`` or ``name``; a dotted one is a
    setting: ``defaults.steps=8``, ``steps.hero.prompt=...``.

    Raises:
        RecipeError: every mistake found, each with its line and column.
    """
    return _load(read_source(path), path, sets)


def parse_recipe(text: str, path: Path, sets: Sequence[str] = ()) -> Recipe:
    """``load_recipe`` for text that is already in memory; ``path`` is where it would lie."""
    return _load(parse_source(text, str(path)), path, sets)


def setting_loc(recipe: Recipe, step: str, field: str) -> Loc:
    """Where a step's setting was made: in the step, or else in the defaults."""
    spec: Settings = recipe.document.steps[step]
    own = getattr(spec, field) is not None
    return ("steps", step, field) if own else ("defaults", field)


def _load(source: Source, path: Path, sets: Sequence[str]) -> Recipe:
    source, given = _apply_sets(source, sets)
    document = validate(source)
    variables = {**document.variables, **given}
    unset = [name for name, value in variables.items() if value is None]
    if unset:
        raise RecipeError(_unset(source, name) for name in unset)
    values = {name: value for name, value in variables.items() if value is not None}
    return Recipe(path, document.name or path.stem, source, document, values, tuple(sets))


def _apply_sets(source: Source, sets: Sequence[str]) -> tuple[Source, dict[str, str]]:
    """The source with the settings changed, and the variables that were given."""
    given: dict[str, str] = {}
    problems: list[Problem] = []
    variables, steps = source.node(("variables",)), source.node(("steps",))
    declared = list((variables.fields if variables is not None else None) or {})
    named = [f"steps.{step}" for step in (steps.fields if steps is not None else None) or {}]
    settable = [
        *_TOP_LEVEL,
        *(f"defaults.{field}" for field in Settings.model_fields),
        *(f"{step}.{field}" for step in named for field in StepSpec.model_fields),
    ]
    for pair in sets:
        origin = f"--set {pair}"
        name, equals, value = pair.partition("=")
        bare = name.removeprefix("variables.") if name.count(".") == 1 else name
        if not equals:
            text = "has no '='; expected name=value; write --set name=value"
            problems.append(Problem(origin, None, text))
        elif bare in declared:
            given[bare] = value
        elif bare in settable:
            source = source.with_value(tuple(bare.split(".")), value, origin)
        else:
            text = _unknown_set(name, declared, settable)
            problems.append(Problem(origin, None, text))
    if problems:
        raise RecipeError(problems)
    return source, given


def _unknown_set(name: str, declared: Sequence[str], settable: Sequence[str]) -> str:
    what = f"unknown variable or setting '{name}'"
    if hint := did_you_mean(name, [*declared, *settable]):
        return f"{what}: {hint}"
    choices = one_of([*declared, *_TOP_LEVEL, "defaults.steps", "steps.NAME.prompt"])
    return f"{what}; expected {choices}; declare it under 'variables:'"


def _unset(source: Source, name: str) -> Problem:
    text = f"variable '{name}' has no value; expected a default or --set; add --set {name}=..."
    return source.problem(("variables", name), text, key=True)
