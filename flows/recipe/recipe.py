"""A recipe as people wrote it, validated: ``load_recipe``. Nothing is looked up on disk but it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.recipe.errors import Problem, RecipeError, did_you_mean, one_of
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
    fields = source.root.fields or {}
    section = fields["variables"].node.fields if "variables" in fields else None
    declared = list(section or {})
    for pair in sets:
        origin = f"--set {pair}"
        name, equals, value = pair.partition("=")
        if not equals:
            text = "has no '='; expected name=value; write --set name=value"
            problems.append(Problem(origin, None, text))
            continue
        loc = tuple(name.split("."))
        if loc[0] == "variables" and len(loc) == 2:
            loc = loc[1:]
        if len(loc) == 1 and loc[0] in declared:
            given[loc[0]] = value
        elif _settable(source, loc):
            source = source.with_value(loc, value, origin)
        else:
            problems.append(Problem(origin, None, _unknown_set(source, name, declared)))
    if problems:
        raise RecipeError(problems)
    return source, given


def _settable(source: Source, loc: Loc) -> bool:
    match loc:
        case (name,):
            return name in _TOP_LEVEL
        case ("defaults", field):
            return field in Settings.model_fields
        case ("steps", step, field):
            return source.node(("steps", step)) is not None and field in StepSpec.model_fields
        case _:
            return False


def _unknown_set(source: Source, name: str, declared: Sequence[str]) -> str:
    steps = source.node(("steps",))
    known = [
        *declared,
        *_TOP_LEVEL,
        *(f"defaults.{field}" for field in Settings.model_fields),
        *(
            f"steps.{step}.{field}"
            for step in (steps.fields if steps is not None and steps.fields else ())
            for field in StepSpec.model_fields
        ),
    ]
    if hint := did_you_mean(name, known):
        return f"unknown variable or setting '{name}': {hint}"
    choices = one_of([*declared, *_TOP_LEVEL, "defaults.steps", "steps.NAME.prompt"])
    return (
        f"unknown variable or setting '{name}'; expected {choices}; declare it under 'variables:'"
    )


def _unset(source: Source, name: str) -> Problem:
    text = f"variable '{name}' has no value; expected a default or --set; add --set {name}=..."
    return source.problem(("variables", name), text, key=True)
