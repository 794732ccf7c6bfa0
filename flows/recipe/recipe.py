"""A recipe as people wrote it, validated: ``load_recipe``. It reads no picture and no model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from flows.problems import Problem, did_you_mean, one_of
from flows.recipe.compose import compose
from flows.recipe.errors import RecipeError
from flows.recipe.expand import Join, expand, settled
from flows.recipe.fields import keys_of
from flows.recipe.node import Loc, Source
from flows.recipe.parameters import Parameter
from flows.recipe.rest import rest_around, rest_of
from flows.recipe.schema import Head, RecipeFile
from flows.recipe.source import parse_source, read_source
from flows.recipe.stepspec import Settings, StepSpec
from flows.recipe.validate import validate, validate_head
from flows.settings import Settings as Machine
from flows.settings.load import load_settings

_TOP_LEVEL = ("model", "name")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A valid recipe: the file with its places, its typed document, and the variables' values.

    ``written`` is the tree before tables and variables were filled in, ``source`` the one after;
    ``files`` are what was read beside the recipe; ``joins`` tell which values go together.
    ``sets`` are the ``name=value`` pairs of the command line that changed it, ``given`` the
    variables and settings that are not what they are without, by name.
    """

    path: Path
    name: str
    source: Source
    written: Source
    document: RecipeFile
    variables: Mapping[str, str]
    sets: tuple[str, ...] = ()
    joins: tuple[Join, ...] = ()
    files: tuple[Path, ...] = ()
    given: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """What relative paths in the recipe begin at."""
        return self.path.parent

    @property
    def named_steps(self) -> tuple[str, ...]:
        """All steps as written, those that were left out as well: what somebody may have meant."""
        node = self.written.node(("steps",))
        return tuple((node.fields if node is not None else None) or self.document.steps)


def load_recipe(path: Path, sets: Sequence[str] = (), settings: Machine | None = None) -> Recipe:
    """Read and validate a recipe; ``sets`` are ``name=value`` pairs of ``--set``.

    A bare name is one of the recipe's ``variables`` or ``parameters``, or ``model`` or ``name``; a
    dotted one is a setting: ``defaults.steps=8``, ``steps.hero.prompt=...``. ``settings`` limit
    where tables and what it extends may lie; default: those of this process.

    Raises:
        RecipeError: every mistake found, each with its line and column.
        SettingsError: there are no settings to read it with.
    """
    return _load(read_source(path), path, sets, settings)


def load_parameters(path: Path, settings: Machine) -> Mapping[str, Parameter]:
    """The typed parameters of a recipe, whatever else may be wrong with it.

    Raises:
        RecipeError: it cannot be read so far.
    """
    source, _ = compose(read_source(path), path, settings)
    return validate_head(source).parameters


def parse_recipe(
    text: str, path: Path, sets: Sequence[str] = (), settings: Machine | None = None
) -> Recipe:
    """``load_recipe`` for text that is already in memory; ``path`` is where it would lie."""
    return _load(parse_source(text, str(path)), path, sets, settings)


def without(recipe: Recipe, problems: Iterable[Problem]) -> Recipe | None:
    """The recipe without the steps and outputs that hold problems, and what may be made from them;
    ``None`` where nothing certain is left.
    """
    tree = rest_around(recipe.source, problems)
    return None if tree is None else replace(recipe, source=tree, document=validate(tree))


def setting_loc(recipe: Recipe, step: str, field: str) -> Loc:
    """Where a step's setting was made: in the step, or else in the defaults."""
    spec: Settings = recipe.document.steps[step]
    own = getattr(spec, field) is not None
    return ("steps", step, field) if own else ("defaults", field)


def _load(source: Source, path: Path, sets: Sequence[str], machine: Machine | None) -> Recipe:
    settings = machine or load_settings(path.parent)
    source, files = compose(source, path, settings)
    source, said = _apply_sets(source, sets)
    head = validate_head(source)
    variables, lists = _values(source, head, said)
    found = expand(source, path.parent, settings, variables, lists)
    given = _changed(source, head, variables, sets) if sets else {}

    def recipe(document: RecipeFile, tree: Source) -> Recipe:
        return Recipe(
            path,
            document.name or path.stem,
            tree,
            source,
            document,
            variables,
            tuple(sets),
            tuple(found.joins),
            (*files, *found.files),
            given,
        )

    try:
        document = validate(found.source)
    except RecipeError as error:
        problems = [*found.problems, *error.problems]
        tree = rest_of(found.source, error.wrong) if not found.problems else None
        rest = None if tree is None else recipe(validate(tree), tree)
        raise RecipeError(problems, rest=rest) from None
    if "{" in document.model:
        text = (
            f"'{document.model}' holds what is no variable; expected one model for the whole "
            "recipe; name it, or write a variable or a parameter"
        )
        found.problems.append(source.problem(("model",), text))
    if found.problems:
        raise RecipeError(found.problems)
    return recipe(document, found.source)


def _changed(
    source: Source, head: Head, variables: Mapping[str, str], sets: Sequence[str]
) -> dict[str, str]:
    """What was set to something else than it is without."""
    plain = {name: text for name, text in head.variables.items() if text is not None}
    for name, parameter in head.parameters.items():
        if parameter.default is not None:
            plain[name] = ", ".join(parameter.values(parameter.default))
    usual = settled(plain, source)
    found = {name: text for name, text in variables.items() if usual.get(name) != text}
    pairs = (pair.partition("=") for pair in sets)
    names = {"model", *(n for n, _, _ in pairs if "." in n and not n.startswith("variables."))}
    dotted = {name: value for name, _, value in (p.partition("=") for p in sets) if name in names}
    return found | dotted


def _values(
    source: Source, head: Head, given: Mapping[str, tuple[str, str]]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Every variable's and parameter's text, and the lists among them by their items.

    ``given`` has for each that was set its text and the option that set it.
    """
    problems: list[Problem] = []
    values: dict[str, str] = {}
    lists: dict[str, tuple[str, ...]] = {}
    for name, default in head.variables.items():
        text = given[name][0] if name in given else default
        if text is None:
            problems.append(_unset(source, "variables", name))
        else:
            values[name] = text
    for name, parameter in head.parameters.items():
        if name not in given and parameter.default is None:
            problems.append(_unset(source, "parameters", name))
            continue
        value = given[name][0] if name in given else parameter.default
        try:
            texts = parameter.values(value if value is not None else "")
        except ValueError as error:  # the defaults have been looked at
            problems.append(Problem(given[name][1], None, f"'{name}' {error}"))
            continue
        values[name] = ", ".join(texts)
        if parameter.type == "list":
            lists[name] = texts
    if problems:
        raise RecipeError(problems)
    return settled(values, source), lists


def _apply_sets(source: Source, sets: Sequence[str]) -> tuple[Source, dict[str, tuple[str, str]]]:
    """The source with the settings changed; the variables that were given, and by what option."""
    given: dict[str, tuple[str, str]] = {}
    problems: list[Problem] = []
    steps = source.node(("steps",))
    heads = [source.node((section,)) for section in ("variables", "parameters")]
    declared = [name for node in heads if node is not None for name in node.fields or {}]
    named = [f"steps.{step}" for step in (steps.fields if steps is not None else None) or {}]
    settable = [
        *_TOP_LEVEL,
        *(f"defaults.{field}" for field in keys_of(Settings)),
        *(f"{step}.{field}" for step in named for field in keys_of(StepSpec)),
    ]
    for pair in sets:
        origin = f"--set {pair}"
        name, equals, value = pair.partition("=")
        bare = name.removeprefix("variables.") if name.count(".") == 1 else name
        if not equals:
            text = "has no '='; expected name=value; write --set name=value"
            problems.append(Problem(origin, None, text))
        elif bare in declared:
            given[bare] = (value, origin)
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


def _unset(source: Source, section: str, name: str) -> Problem:
    what = section.removesuffix("s")
    text = f"{what} '{name}' has no value; expected a default or --set; add --set {name}=..."
    return source.problem((section, name), text, key=True)
