"""The settings as they are here and now, and where each value came from.

``KONTEXT_S3__ATTEMPTS`` and friends win over ``kontext.toml``, which wins over the defaults. A
variable that is empty counts as not set. Whatever is wrong is told in one line with its place.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from flows.problems import Mark, Problem, did_you_mean, one_of
from flows.settings import DEFAULT_OUT, Settings, SettingsError
from flows.settings.secrecy import masked
from flows.settings.sections import CREDENTIALS, Section
from flows.settings.toml_file import CONFIG_VARIABLE, RECIPE, Names, TomlFile, find_toml

PREFIX = "KONTEXT_"  # of every variable
DELIMITER = "__"
DEFAULT = "default"

_CREDENTIAL = re.compile(
    r"access.?key|secret|token|passw|credential|private.?key|session|signature|^user", re.IGNORECASE
)
_EXPECTED = {
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_parsing", "float_type", "finite_number"), "a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "true or false"),
    "string_type": "text",
    "path_type": "a path",
    "tuple_type": "a list",
    "model_type": "a table of settings",
    "truth": "a number, a text or a list",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than_equal": ("at most", "le"),
}

SettingsT = TypeVar("SettingsT", bound=Settings)
# What messages call a value by its names, and where it stands if it is in a file.
Where = Callable[[Names], tuple[str, Mark | None]]


@dataclass(frozen=True, slots=True)
class Effective:
    """The settings, the file if there is one, and each value's origin by its names.

    An origin is ``default``, ``kontext.toml:3`` or ``KONTEXT_BATCH``.
    """

    settings: Settings
    file: TomlFile | None
    origins: Mapping[Names, str]


class _Reader(BaseSettings, Settings):
    """``Settings`` as pydantic-settings fills them: variables over what the file says."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        env_ignore_empty=True,
        enable_decoding=False,  # a list is names between commas, not JSON
        extra="forbid",
        frozen=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables first; the file's values come as arguments."""
        return env_settings, init_settings


def load_settings(near: Path | None = None) -> Settings:
    """The settings of this process: variables, ``kontext.toml``, defaults.

    ``near`` is a recipe's folder: the file there, or above it, comes before the current folder's.

    Raises:
        SettingsError: every mistake in them, each with its place.
    """
    return effective_settings(near).settings


def effective_settings(near: Path | None = None) -> Effective:
    """The same, and where each value came from."""
    file, variables = find_toml(near), _variables()

    def where(names: Names) -> tuple[str, Mark | None]:
        if file is None or variable(names) in variables:
            return variable(names), None
        return file.shown, file.place(names).value

    def unknown(names: Names) -> Problem:
        if file is None or _value(file.data, names) is None:
            return _unknown_variable(variable(names))
        return Problem(file.shown, file.place(names).name, _unknown_name(names))

    # pydantic-settings passes over a variable that it does not know.
    known = {CONFIG_VARIABLE, *(variable(names) for names, _ in leaves())}
    strangers = [_unknown_variable(name) for name in variables if name not in known]
    given = _from_here(file) if file else {}
    reader = validated(lambda: _Reader(**given), where, unknown, strangers)
    settings = Settings(**{name: getattr(reader, name) for name in Settings.model_fields})
    origins = {names: DEFAULT for names, _ in leaves()}
    for names in origins:
        if variable(names) in variables:
            origins[names] = variable(names)
        elif file is not None and _value(file.data, names) is not None:
            origins[names] = f"{file.shown}:{file.place(names).value.line}"
    return Effective(settings, file, origins)


def validated(
    make: Callable[[], SettingsT],
    where: Where,
    unknown: Callable[[Names], Problem] | None = None,
    problems: list[Problem] | tuple[()] = (),
) -> SettingsT:
    """What ``make`` makes.

    Raises:
        SettingsError: ``problems``, if there are any, and what is wrong with the values.
    """
    found = list(problems)
    try:
        made = make()
    except ValidationError as error:
        for item in error.errors():
            names = tuple(part for part in item["loc"] if isinstance(part, str))
            if item["type"] == "extra_forbidden" and unknown is not None:
                found.append(unknown(names))
            else:
                found.append(_problem(item, names, where))
    if found:
        raise SettingsError(found)
    return made


def leaves(model: type[BaseModel] = Settings) -> Iterator[tuple[Names, FieldInfo]]:
    """Every single setting: its names from the outside in, and what is known of it."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            for rest, inner in leaves(field.annotation):
                yield (name, *rest), inner
        else:
            yield (name,), field


def variable(names: Names) -> str:
    """``KONTEXT_S3__ATTEMPTS`` for ``s3.attempts``."""
    return PREFIX + DELIMITER.join(names).upper()


def as_variables(settings: Settings) -> dict[str, str]:
    """Variables that say the same as these settings, in any folder, where they are no defaults."""
    found = {}
    for names, field in leaves():
        value: Any = settings
        for name in names:
            value = getattr(value, name)
        if value is None or value == field.default:
            continue
        texts = [str(one) for one in (value if isinstance(value, tuple) else (value,))]
        if _mark_of(field, "begins_at_file"):
            texts = [one if "://" in one else str(Path(one).absolute()) for one in texts]
        found[variable(names)] = ",".join(texts)
    return {name: text for name, text in found.items() if text}


def flag(names: Names) -> str:
    """The option of the command line that says the same as a setting; empty: there is none."""
    return str(_mark_of(dict(leaves()).get(names), "flag") or "")


def _mark_of(field: FieldInfo | None, mark: str) -> Any:
    extra = field.json_schema_extra if field is not None else None
    return extra.get(mark) if isinstance(extra, dict) else None


def _variables() -> set[str]:
    """The names of those that are set, in capitals."""
    found = {name.upper() for name, value in os.environ.items() if value}
    return {name for name in found if name.startswith(PREFIX)}


def _value(data: Mapping[str, Any], names: Names) -> Any:
    found: Any = data
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _from_here(file: TomlFile) -> dict[str, Any]:
    """What the file says, its paths as seen from the current folder; the default store is beside
    it, so that the recipes there have one store wherever they are run.
    """
    data = copy.deepcopy(dict(file.data))
    data.pop(RECIPE, None)  # recipes read it
    folder = Path(os.path.abspath(file.path.parent))  # noqa: PTH100 - a link stays the link it is
    if CONFIG_VARIABLE not in os.environ and folder != Path.cwd():
        data.setdefault("store", DEFAULT_OUT)

    def moved(value: Any) -> Any:
        if isinstance(value, list):
            return [moved(item) for item in value]
        if not isinstance(value, str) or "://" in value or value[:1] == "~":
            return value
        return str(folder / value)

    for names, field in leaves():
        if _mark_of(field, "begins_at_file") and folder != Path.cwd():
            table = _value(data, names[:-1])
            if isinstance(table, dict) and names[-1] in table:
                table[names[-1]] = moved(table[names[-1]])
    return data


def _unknown_variable(name: str) -> Problem:
    known = [variable(names) for names, _ in leaves()]
    return Problem(name, None, _unknown(name, "variable", known))


def _unknown_name(names: Names) -> str:
    around, depth = names[:-1], len(names) - 1
    here = [known[depth] for known, _ in leaves() if known[:depth] == around]
    what = f"setting in [{'.'.join(around)}]" if around else "setting"
    return _unknown(names[-1], what, list(dict.fromkeys(here)))


def _unknown(name: str, what: str, known: list[str]) -> str:
    if _CREDENTIAL.search(name):
        return f"'{name}' looks like a credential, which no setting holds; {CREDENTIALS}"
    if hint := did_you_mean(name, known):
        return f"unknown {what} '{name}': {hint}"
    return f"unknown {what} '{name}'; expected {one_of(known, 20)}; remove or rename it"


def _problem(item: Any, names: Names, where: Where) -> Problem:
    """One finding of pydantic's, at the option, the variable or the line that holds the value."""
    kind, context, value = item["type"], item.get("ctx", {}), item["input"]
    names = (*names, context["at"]) if context.get("at") else names
    path, mark = where(names)
    subject = f"'{'.'.join(names)}' " if mark else ""
    if kind == "kontext":
        return Problem(path, mark, f"{subject}{context['text']}")
    expected, remedy = _wanted(kind, context, item["msg"], value)
    return Problem(path, mark, f"{subject}is {_called(value)}; expected {expected}; {remedy}")


def _wanted(kind: str, context: Any, message: str, value: Any) -> tuple[str, str]:
    if kind in _BOUNDS:
        word, bound = _BOUNDS[kind]
        return f"{word} {context[bound]:g}", "choose a number in the range"
    if kind in {"literal_error", "enum"}:
        choices = re.findall(r"'([^']+)'", str(context["expected"]))
        return str(context["expected"]), did_you_mean(str(value), choices) or "write one of these"
    if kind == "string_too_short":
        return "a text that is not empty", "give it one or remove it"
    return _EXPECTED.get(kind, message[:1].lower() + message[1:]), "write one"


def _called(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text '{masked(value)[:60]}'" if value else "empty"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return "a list" if isinstance(value, (list, tuple)) else "a table"
