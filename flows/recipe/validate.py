"""A located tree into typed models; every finding of pydantic's told in one line at its place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from flows.problems import Mark, Problem, did_you_mean, one_line, unknown
from flows.recipe.entries import AxisEntry, InputEntry, Matrix
from flows.recipe.errors import RecipeError
from flows.recipe.fields import IDENTIFIER_PATTERN, keys_of
from flows.recipe.handout import FILE, SHEET, OutputSpec, SheetSpec
from flows.recipe.node import Loc, Node, Source, resolve_scalar, to_plain
from flows.recipe.parameters import Parameter
from flows.recipe.picking import ScoreSpec
from flows.recipe.region import CutoutSpec, RegionSpec
from flows.recipe.schema import TEXT_SECTIONS, Head, RecipeFile
from flows.recipe.stepspec import SETTING_TYPES, Defaults, StepSpec

_WORDS = re.compile(r"-?[0-9]+(\.[0-9]+)?\Z")
_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping of names to values",
    "model_type": "a mapping of names to values",
    "bool_type": "true or false",
}
_HINTS = {
    "list_type": "write each entry as '- ...'",
    "dict_type": "write 'name: value' under it",
    "model_type": "write 'name: value' under it",
    "int_type": "write one without quotes",
    "float_type": "write one without quotes",
}


_HEAD: tuple[Loc, ...] = ((), ("variables",), ("parameters",))

PartT = TypeVar("PartT", bound=BaseModel)

_SETTINGS = {
    name: TypeAdapter(kind, config=ConfigDict(strict=True, defer_build=True))
    for name, kind in SETTING_TYPES.items()
}

# Which model describes a mapping: by the section it is in and its depth.
_MODELS: dict[tuple[str, int], type[BaseModel]] = {
    ("", 0): RecipeFile,
    ("defaults", 1): Defaults,
    ("matrix", 1): Matrix,
    ("matrix", 3): AxisEntry,
    ("steps", 2): StepSpec,
    ("steps", 3): RegionSpec,
    ("outputs", 2): OutputSpec,
    ("inputs", 2): InputEntry,
    ("inputs", 3): InputEntry,
    ("parameters", 2): Parameter,
}


def validate(source: Source) -> RecipeFile:
    """The typed recipe.

    Raises:
        RecipeError: every mistake of type, range, name or key, each at its place.
    """
    empty = dict(_empty_values(source, source.root, ()))
    try:
        document = RecipeFile.model_validate(_plain(source))
    except ValidationError as error:
        items = [_untagged(item) for item in error.errors()]
        wrong = {item["loc"] for item in items}
        models = [SheetSpec if item["sheet"] else None for item in items]
        found = [
            _problem(source, item, model)
            for item, model in zip(items, models, strict=True)
            if item["loc"] not in empty
        ]
        # Whatever is inside a value of the wrong kind says nothing more.
        inside = [loc for loc in empty if any(loc[:n] in wrong for n in range(1, len(loc)))]
        found += [problem for loc, problem in empty.items() if loc not in inside]
        raise RecipeError(found) from None
    if empty:
        raise RecipeError(empty.values())
    return document


def validate_head(source: Source) -> Head:
    """The variables and parameters, before anything is filled in.

    Raises:
        RecipeError: as ``validate``, of these.
    """
    try:
        return Head.model_validate(_plain(source))
    except ValidationError:
        try:
            validate(source)
        except RecipeError as error:
            own = [one for one in error.problems if one.loc[:1] in _HEAD]
            raise RecipeError(own or error.problems) from None
        raise


def _plain(source: Source) -> Any:
    """The tree as values; what parameters may be is the text that was written."""
    plain = to_plain(source.root, TEXT_SECTIONS)
    node = source.node(("parameters",))
    if node is not None and node.fields is not None:
        texts = frozenset({"default", "choices"})
        plain["parameters"] = {
            name: to_plain(entry.node, texts) for name, entry in node.fields.items()
        }
    return plain


def validate_part(source: Source, loc: Loc, model: type[PartT], value: Any) -> PartT:
    """One part on its own: a value that ``include`` defines.

    Raises:
        RecipeError: as ``validate``.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = [{**item, "loc": (*loc, *item["loc"])} for item in error.errors()]
        raise RecipeError(_problem(source, item, model) for item in found) from None


def typed(field: str, text: str) -> Any:
    """A setting's value, from the text that its template became.

    Raises:
        ValueError: it is none; what; what was expected; what to do.
    """
    value = resolve_scalar(text.strip())
    try:
        return _SETTINGS[field].validate_python(value)
    except ValidationError as error:
        one: Any = error.errors()[0]
        node = Node(Mark(), value, text.strip())
        raise ValueError(
            _wrong(one["type"], one.get("ctx", {}), one["msg"], (field,), node)
        ) from None


def _empty_values(source: Source, node: Node, loc: Loc) -> Iterator[tuple[Loc, Problem]]:
    if node.fields is not None:
        for key, entry in node.fields.items():
            if loc == ("variables",) and entry.node.value is None and entry.node.kind == "empty":
                continue  # a variable that must be set
            yield from _empty_values(source, entry.node, (*loc, key))
    elif node.items is not None:
        for index, item in enumerate(node.items):
            yield from _empty_values(source, item, (*loc, index))
    elif node.value is None:
        text = f"{_subject(loc)} is empty; expected a value; give it one or remove it"
        if (comment := source.comment_at(loc)) is not None:
            what = f"'{one_line(comment)}' is read as a comment, so {_subject(loc)} is empty"
            text = f"{what}; expected a value; put it in quotes"
        yield loc, source.problem(loc, text)


def _untagged(error: Any) -> dict[str, Any]:
    """A finding at its place in the file: which kind of output it is of is no part of that."""
    loc = tuple(part for part in error["loc"] if part not in (FILE, SHEET))
    return {**error, "loc": loc, "sheet": SHEET in error["loc"]}


def _problem(source: Source, error: Any, model: type[BaseModel] | None = None) -> Problem:
    """One finding of pydantic's (``error`` as in ``ValidationError.errors()``)."""
    loc: Loc = tuple(error["loc"])
    kind, context = error["type"], error.get("ctx", {})
    if context.get("pattern") == IDENTIFIER_PATTERN:  # only keys have to match it
        loc = loc[: loc.index("[key]")] if "[key]" in loc else loc
        return source.problem(loc, _bad_name(str(loc[-1])), key=True)
    if at := context.get("at"):
        loc = (*loc, at)
    if kind == "extra_forbidden":
        known = _known_keys(loc[:-1], model)
        text = unknown("key", str(loc[-1]), _container(loc[:-1]), known)
        return source.problem(loc, text, key=True)
    if kind == "missing":
        loc = (*loc, context["field"]) if "field" in context else loc
        return replace(source.problem(loc[:-1], _missing(loc, model), key=True), loc=loc)
    while loc and source.node(loc) is None and source.node(loc[:-1]) is not None:
        loc = loc[:-1]  # a shorthand that was widened has no such part in the file
    return source.problem(loc, _wrong(kind, context, error["msg"], loc, source.node(loc)))


def _wrong(kind: str, context: Any, message: str, loc: Loc, node: Node | None) -> str:
    if kind == "recipe":
        return str(context["text"])
    if kind == "string_pattern_mismatch":
        return _bad_value_name(node.text if node is not None else str(loc[-1]))
    subject = f"{_subject(loc)} is {node.kind if node is not None else 'wrong'}"
    if kind == "literal_error":
        return f"{subject}; expected {context['expected']}; {_closest(node, context)}"
    if kind in ("greater_than_equal", "less_than_equal"):
        bound, word = ("ge", "least") if kind == "greater_than_equal" else ("le", "most")
        limit = f"{context[bound]:.15g}" if isinstance(context[bound], float) else context[bound]
        return f"{subject}; expected at {word} {limit}; choose a number in the range"
    if kind in ("string_too_short", "too_short"):
        least = context.get("min_length", 1)
        more = f"too short; expected at least {least}; add more"
        return (
            f"{_subject(loc)} is {'empty; expected at least one; add it' if least == 1 else more}"
        )
    expected = f"expected {_EXPECTED[kind]}" if kind in _EXPECTED else message.lower()
    return f"{subject}; {expected}; {_hint(kind, node)}"


def _hint(kind: str, node: Node | None) -> str:
    if kind == "string_type":
        mapping = node is not None and node.fields is not None
        return "put quotes around text with braces" if mapping else "put it in quotes"
    quoted = node is not None and isinstance(node.value, str) and _WORDS.match(node.value)
    if kind in ("int_type", "float_type"):
        return "remove the quotes" if quoted else "write a number"
    return _HINTS.get(kind, "write one")


def _closest(node: Node | None, context: Any) -> str:
    choices = re.findall(r"'([^']+)'", str(context["expected"]))
    hint = did_you_mean(node.text, choices) if node is not None and choices else ""
    return hint or ("write one of these" if choices else f"write {context['expected']}")


def _bad_name(name: str) -> str:
    return (
        f"'{name}' cannot be a name; expected letters, digits, '-' and '_', beginning with a "
        "letter, at most 40; rename it"
    )


def _bad_value_name(name: str) -> str:
    return (
        f"'{name}' cannot be a name; expected at most 60 characters, none of them "
        "one of , = [ ] { } / \\ : ; rename it"
    )


def _missing(loc: Loc, model: type[BaseModel] | None) -> str:
    if loc == ("version",):
        return "the recipe has no 'version'; expected 'version: 1'; add that line at the top"
    name = str(loc[-1])
    described = _model_at(loc[:-1], model)
    found = described.model_fields.items() if described is not None else ()
    field = next((one for key, one in found if (one.alias or key) == name), None)
    about = re.split(r"[.;] |\.$", field.description if field and field.description else "a value")[
        0
    ]
    return (
        f"{_container(loc[:-1])} has no '{name}'; expected {about[:1].lower()}{about[1:]}; "
        f"add '{name}: ...'"
    )


def _subject(loc: Loc) -> str:
    """What the value at ``loc`` is called."""
    if not loc:
        return "the recipe"
    last = loc[-1]
    if isinstance(last, int):
        parent = next((part for part in reversed(loc) if isinstance(part, str)), "the list")
        return f"entry {last + 1} of '{parent}'"
    return f"'{last}'"


def _container(loc: Loc) -> str:
    """What the mapping at ``loc`` is called."""
    match loc:
        case ():
            return "the recipe"
        case ("steps", name):
            return f"step '{name}'"
        case ("outputs", int(index)):
            return f"output {index + 1}"
        case _:
            return _subject(loc)


def _model_at(loc: Loc, model: type[BaseModel] | None) -> type[BaseModel] | None:
    """The model that describes the mapping at ``loc``."""
    own: dict[str, type[BaseModel]] = {"by": ScoreSpec, "cutout": CutoutSpec}
    if model is None and len(loc) == 3 and loc[0] == "steps" and loc[2] in own:
        return own[str(loc[2])]
    return model or _MODELS.get((str(loc[0]) if loc else "", len(loc)))


def _known_keys(loc: Loc, model: type[BaseModel] | None) -> list[str]:
    found = _model_at(loc, model)
    return keys_of(found) if found is not None else []
