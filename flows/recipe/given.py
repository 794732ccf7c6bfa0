"""What a recipe is given from outside: ``--set``, and the values of variables and parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flows.problems import Problem, did_you_mean, one_of
from flows.recipe.errors import RecipeError
from flows.recipe.expand import settled
from flows.recipe.fields import keys_of
from flows.recipe.node import Field, Loc, Node, Source
from flows.recipe.schema import Head
from flows.recipe.stepspec import Settings, StepSpec

_TOP_LEVEL = ("model", "name")


def changed(
    source: Source, head: Head, variables: Mapping[str, str], sets: Sequence[str]
) -> dict[str, str]:
    """What was set to something else than it is without."""
    plain = {name: text for name, text in head.variables.items() if text is not None}
    for name, parameter in head.parameters.items():
        if parameter.default is not None:
            plain[name] = ", ".join(parameter.values(parameter.default))
    usual = settled(plain, source)
    found = {name: text for name, text in variables.items() if usual.get(name) != text}
    for name, _, value in (pair.partition("=") for pair in sets):
        if name == "model" or ("." in name and not name.startswith("variables.")):
            found[name] = value
    return found


def values(
    source: Source, head: Head, given: Mapping[str, tuple[str, str]]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Every variable's and parameter's text, and the lists among them by their items.

    ``given`` has for each that was set its text and the option that set it.

    Raises:
        RecipeError: values that are missing or wrong, variables that hold each other.
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
            loc = ("parameters", name)
            problems.append(Problem(given[name][1], None, f"'{name}' {error}", loc))
            continue
        values[name] = ", ".join(texts)
        if parameter.type == "list":
            lists[name] = texts
    if problems:
        raise RecipeError(problems)
    return settled(values, source), lists


def apply_sets(
    source: Source, sets: Sequence[str]
) -> tuple[Source, dict[str, tuple[str, str]], list[Problem]]:
    """The source with the settings changed; the variables that were given, and by what option; what
    is wrong with the options.
    """
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
    return source, given, problems


def unset(source: Source, given: Mapping[str, object]) -> list[Loc]:
    """Variables and parameters that have no value, which an option with a mistake may have had."""
    found: list[Loc] = []
    for section in ("variables", "parameters"):
        node = source.node((section,))
        for name, entry in ((node.fields if node is not None else None) or {}).items():
            value = entry.node
            if section == "parameters":
                value = (
                    (value.fields or {}).get("default", Field(value.mark, Node(value.mark))).node
                )
            if name not in given and value.kind == "empty":
                found.append((section, name))
    return found


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
