"""The settings as they are here and now, and where each value came from.

``KONTEXT_S3__ATTEMPTS`` and friends win over ``kontext.toml``, which wins over the defaults. A
variable that is empty counts as not set. Whatever is wrong is told in one line with its place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from flows.recipe.errors import Problem, did_you_mean, one_of
from flows.secrecy import masked
from flows.settings import (
    BEGINS_AT_FILE,
    CREDENTIALS,
    PREFIX,
    Section,
    Settings,
    SettingsError,
)
from flows.toml_file import CONFIG_VARIABLE, Names, TomlFile, find_toml

DELIMITER = "__"
DEFAULT = "default"

_CREDENTIAL = re.compile(
    r"access.?key|secret|token|passw|credential|private.?key|session|signature|^user", re.IGNORECASE
)
_EXPECTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a number",
    "string_type": "text",
    "path_type": "a path",
    "tuple_type": "a list",
    "model_type": "a table of settings",
}


@dataclass(frozen=True, slots=True)
class Configured:
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


def configured() -> Configured:
    """Read the settings.

    Raises:
        SettingsError: every mistake in variables and file.
    """
    file = find_toml()
    problems = [*_unknown_variables(), *(_unknown_names(file) if file else ())]
    try:
        reader = _Reader(**(_known(file) if file else {}))
    except ValidationError as error:
        # Unknown names have been told already, without their values.
        found = [item for item in error.errors() if item["type"] != "extra_forbidden"]
        problems += [_problem(item, file) for item in found]
    if problems:
        raise SettingsError(tuple(dict.fromkeys(problems)))
    values = {name: getattr(reader, name) for name in Settings.model_fields}
    return Configured(Settings(**values), file, dict(_origins(file)))


def checked(settings: Settings, given: Mapping[str, Any]) -> Settings:
    """``settings`` with what an option of the command line says, by name.

    Raises:
        SettingsError: a value is wrong; it is called by its option.
    """
    values = {name: getattr(settings, name) for name in Settings.model_fields}
    try:
        return Settings(**{**values, **given})
    except ValidationError as error:
        problems = [_said(item, f"--{item['loc'][0]}", None) for item in error.errors()]
        raise SettingsError(tuple(problems)) from None


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


def _variables() -> dict[str, str]:
    """The variables that are set, by their names in capitals."""
    found = {name.upper(): value for name, value in os.environ.items() if value}
    return {name: value for name, value in found.items() if name.startswith(PREFIX)}


def _origins(file: TomlFile | None) -> Iterator[tuple[Names, str]]:
    set_here = _variables()
    for names, _ in leaves():
        if variable(names) in set_here:
            yield names, variable(names)
        elif file is not None and _value(file.data, names) is not None:
            yield names, f"{file.shown}:{file.place(names).value.line}"
        else:
            yield names, DEFAULT


def _value(data: Mapping[str, Any], names: Names) -> Any:
    found: Any = data
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _unknown_variables() -> Iterator[Problem]:
    known = [variable(names) for names, _ in leaves()]
    for name in _variables():
        if name not in known and name != CONFIG_VARIABLE:
            yield Problem(name, None, _unknown(name, "variable", known))


def _unknown_names(file: TomlFile) -> Iterator[Problem]:
    known = [names for names, _ in leaves()]
    yield from _strangers(file, file.data, (), known)


def _strangers(
    file: TomlFile, data: Mapping[str, Any], around: Names, known: list[Names]
) -> Iterator[Problem]:
    for name, value in data.items():
        names = (*around, name)
        section = any(item[: len(names)] == names and item != names for item in known)
        if section and isinstance(value, Mapping):
            yield from _strangers(file, value, names, known)
        elif names not in known and not section:
            here = list(dict.fromkeys(i[len(around)] for i in known if i[: len(around)] == around))
            text = _unknown(name, f"setting in [{'.'.join(around)}]" if around else "setting", here)
            yield Problem(file.shown, file.place(names).name, text)


def _unknown(name: str, what: str, known: list[str]) -> str:
    if _CREDENTIAL.search(name):
        return f"'{name}' looks like a credential, which no setting holds; {CREDENTIALS}"
    hint = did_you_mean(name, known) or f"expected {one_of(known, 20)}; remove or rename it"
    return f"unknown {what} '{name}'{':' if hint.startswith('did') else ';'} {hint}"


def _known(file: TomlFile) -> dict[str, Any]:
    """What the file says of settings that there are, its paths as seen from the current folder."""
    found: dict[str, Any] = {}
    for names, field in leaves():
        for count in range(1, len(names) + 1):
            value = _value(file.data, names[:count])
            if value is None:
                break
            if count == len(names) or not isinstance(value, Mapping):
                inner = found
                for name in names[: count - 1]:
                    inner = inner.setdefault(name, {})
                begins = field.json_schema_extra is BEGINS_AT_FILE and count == len(names)
                inner[names[count - 1]] = _from_file(file, value) if begins else value
                break
    return found


def _from_file(file: TomlFile, value: Any) -> Any:
    folder = Path(os.path.abspath(file.path.parent))  # noqa: PTH100 - a link stays the link it is
    if isinstance(value, list):
        return [_from_file(file, item) for item in value]
    if not isinstance(value, str) or "://" in value or value[:1] == "~" or folder == Path.cwd():
        return value
    return str(folder / value)


def _problem(item: Any, file: TomlFile | None) -> Problem:
    """One finding of pydantic's, at the variable or the line that holds the value."""
    context = item.get("ctx", {})
    names = tuple(str(part) for part in item["loc"] if isinstance(part, str))
    if context.get("at"):
        names = (*names, context["at"])
    if variable(names) in _variables():
        return _said(item, variable(names), None)
    place = file.place(names) if file is not None else None
    problem = _said(item, file.shown if file is not None else variable(names), names)
    return Problem(problem.path, place.value if place else None, problem.text)


def _said(item: Any, where: str, names: Names | None) -> Problem:
    kind, context, value = item["type"], item.get("ctx", {}), item["input"]
    subject = f"'{'.'.join(names)}' " if names else ""
    if kind == "kontext":
        return Problem(where, None, f"{subject}{context['text']}")
    expected, remedy = _wanted(kind, context, item["msg"], value)
    return Problem(where, None, f"{subject}is {_called(value)}; expected {expected}; {remedy}")


def _wanted(kind: str, context: Any, message: str, value: Any) -> tuple[str, str]:
    bounds = {
        "greater_than": ("more than", "gt"),
        "greater_than_equal": ("at least", "ge"),
        "less_than_equal": ("at most", "le"),
    }
    if kind in bounds:
        word, bound = bounds[kind]
        return f"{word} {context[bound]:g}", "choose a number in the range"
    if kind in {"literal_error", "enum"}:
        choices = re.findall(r"'([^']+)'", str(context["expected"]))
        return str(context["expected"]), did_you_mean(str(value), choices) or "write one of these"
    if kind == "string_too_short":
        return "a text that is not empty", "give it one or remove it"
    if kind == "truth":
        return "a number, a text or a list", "write one"
    return _EXPECTED.get(kind, message[:1].lower() + message[1:]), "write one"


def _called(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text '{masked(value)[:60]}'" if value else "empty"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return "a list" if isinstance(value, (list, tuple)) else "a table"
