"""A recipe as people wrote it, validated: ``load_recipe``. It reads no picture and no model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flows.problems import Problem
from flows.recipe.compose import compose
from flows.recipe.errors import RecipeError
from flows.recipe.expand import Join, expand
from flows.recipe.given import apply_sets, changed, unset, values
from flows.recipe.node import Loc, Source
from flows.recipe.parameters import Parameter
from flows.recipe.reach import Fetch
from flows.recipe.rest import rest_of
from flows.recipe.schema import RecipeFile
from flows.recipe.source import parse_source, read_source
from flows.recipe.stepspec import Settings
from flows.recipe.validate import validate, validate_head
from flows.settings import Settings as Machine
from flows.settings.load import load_settings


@dataclass(frozen=True, slots=True)
class Recipe:
    """A valid recipe: the file with its places, its typed document, and the variables' values.

    ``written`` is the tree before tables and variables were filled in, ``source`` the one after;
    ``files`` are what was read beside the recipe; ``joins`` tell which values go together.
    ``sets`` are the ``name=value`` pairs of the command line that changed it, ``given`` the
    variables and settings that are not what they are without, by name. ``rest`` is ``written``
    without what was left out, and ``read`` reads such a tree.
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
    rest: Source = field(kw_only=True, repr=False)
    read: Callable[[Source], Recipe] = field(kw_only=True, repr=False, compare=False)

    @property
    def folder(self) -> Path:
        """What relative paths in the recipe begin at."""
        return self.path.parent

    @property
    def named_steps(self) -> tuple[str, ...]:
        """All steps as written, those that were left out as well: what somebody may have meant."""
        node = self.written.node(("steps",))
        return tuple((node.fields if node is not None else None) or self.document.steps)


def load_recipe(
    path: Path,
    sets: Sequence[str] = (),
    settings: Machine | None = None,
    fetch: Fetch | None = None,
) -> Recipe:
    """Read and validate a recipe; ``sets`` are ``name=value`` pairs of ``--set``.

    A bare name is one of the recipe's ``variables`` or ``parameters``, or ``model`` or ``name``; a
    dotted one is a setting: ``defaults.steps=8``, ``steps.hero.prompt=...``. ``settings`` limit
    where tables and what it extends may lie; default: those of this process. ``fetch`` brings these
    from where the recipe is from, if that is not here.

    Raises:
        RecipeError: every mistake found, each with its line and column.
        SettingsError: there are no settings to read it with.
    """
    return _load(read_source(path), path, sets, settings, fetch)


def load_parameters(
    path: Path, settings: Machine, fetch: Fetch | None = None
) -> Mapping[str, Parameter]:
    """The typed parameters of a recipe, whatever else may be wrong with it.

    Raises:
        RecipeError: it cannot be read so far.
    """
    source, _ = compose(read_source(path), path, settings, fetch)
    return validate_head(source).parameters


def parse_recipe(
    text: str, path: Path, sets: Sequence[str] = (), settings: Machine | None = None
) -> Recipe:
    """``load_recipe`` for text that is already in memory; ``path`` is where it would lie."""
    return _load(parse_source(text, str(path)), path, sets, settings)


def without(recipe: Recipe, problems: Iterable[Problem], told: list[Problem]) -> Recipe | None:
    """The recipe without what holds these problems and what may hang on it, read again; ``None``
    where nothing certain is left. Mistakes of form that this shows are added to ``told``.
    """
    return _read_rest(recipe.read, rest_of(recipe.rest, [one.loc for one in problems]), told)


def setting_loc(recipe: Recipe, step: str, field: str) -> Loc:
    """Where a step's setting was made: in the step, or else in the defaults."""
    spec: Settings = recipe.document.steps[step]
    own = getattr(spec, field) is not None
    return ("steps", step, field) if own else ("defaults", field)


def _load(
    source: Source,
    path: Path,
    sets: Sequence[str],
    machine: Machine | None,
    fetch: Fetch | None = None,
) -> Recipe:
    settings = machine or load_settings(path.parent)
    source, files = compose(source, path, settings, fetch)
    source, said, told = apply_sets(source, sets)

    def read(tree: Source) -> Recipe:
        head = validate_head(tree)
        variables, lists = values(tree, head, said)
        found = expand(tree, path.parent, settings, variables, lists, fetch)
        if found.problems:
            raise RecipeError(found.problems)
        document = validate(found.source)
        if "{" in document.model:
            text = (
                f"'{document.model}' holds what is no variable; expected one model for the whole "
                "recipe; name it, or write a variable or a parameter"
            )
            raise RecipeError([tree.problem(("model",), text)])
        return Recipe(
            path,
            document.name or path.stem,
            found.source,
            source,
            document,
            variables,
            tuple(sets),
            tuple(found.joins),
            (*files, *found.files),
            changed(tree, head, variables, sets) if sets else {},
            rest=tree,
            read=read,
        )

    unsure = unset(source, said) if told else ()  # what those options may have been meant for
    rest = _read_rest(read, rest_of(source, unsure) if unsure else source, told)
    if told or rest is None:
        raise RecipeError(told, rest=rest)
    return rest


def _read_rest(
    read: Callable[[Source], Recipe], tree: Source | None, told: list[Problem]
) -> Recipe | None:
    """A tree read, or what can be read of it without what is wrong, which is added to ``told``."""
    while tree is not None:
        try:
            return read(tree)
        except RecipeError as error:
            told += error.problems
            tree = rest_of(tree, [one.loc for one in error.problems])
    return None
