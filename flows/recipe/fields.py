"""The recipe's smallest pieces: names, texts, sizes, and how shorthands are read."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from kontext_engine.geometry import Size

IDENTIFIER_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]{0,39}$"
# No sign that labels, selectors or file systems use, and no space at either end.
_SIGNS = r",=\[\]{}/\\\"'<>|?*:\x00-\x1f"
NAME_PATTERN = rf"^[^\s{_SIGNS}](?:[^{_SIGNS}]{{0,58}}[^\s{_SIGNS}])?$"
_SIDES = r"([0-9]{1,9})\s*[xX×]\s*([0-9]{1,9})"  # × as on platforms' pages
_SIZE = re.compile(_SIDES)


def mistake(text: str, at: str = "") -> PydanticCustomError:
    """A finding in our own words: what; what was expected; what to do.

    ``at`` names the field when a whole mapping is checked.
    """
    return PydanticCustomError("recipe", "{text}", {"text": text, "at": at})


def key_of(model: type[BaseModel], name: str) -> str:
    """How a field is written in a recipe: 'from' is a word of Python's."""
    return model.model_fields[name].alias or name


def keys_of(model: type[BaseModel]) -> list[str]:
    """All keys that a mapping of this kind may have."""
    return [key_of(model, name) for name in model.model_fields]


def listed(value: Any) -> Any:
    """One entry as a list of one; whatever else as it is."""
    return [value] if isinstance(value, (str, dict)) else value


def is_template(value: Any) -> bool:
    """Whether a setting's value is filled in per variant, and typed only then."""
    return isinstance(value, str) and "{" in value


def _template_or(value: Any, typed: ValidatorFunctionWrapHandler) -> Any:
    return value if is_template(value) else typed(value)


def templated(kind: Any) -> WrapValidator:
    """A value of this kind, or a text with placeholders that becomes one."""
    return WrapValidator(_template_or, json_schema_input_type=kind | TemplateText)


def _read_size(value: Any) -> Size | Literal["match"]:
    if value == "match":
        return "match"
    return _sides(value, "'match', '128x128' or {width: 128, height: 128}")


def _sides(value: Any, expected: str) -> Size:
    if isinstance(value, str) and (found := _SIZE.fullmatch(value.strip())):
        return Size(int(found[1]), int(found[2]))
    if isinstance(value, dict) and set(value) == {"width", "height"}:
        sides = (value["width"], value["height"])
        if all(isinstance(side, int) and not isinstance(side, bool) for side in sides):
            return Size(*sides)
    shown = "{...}" if isinstance(value, dict) else value
    raise mistake(f"size '{shown}' cannot be read; expected {expected}; write one of these")


def _read_exact(value: Any) -> Size:
    expected = "'1080x1350' or {width: 1080, height: 1350}"
    if value == "match":
        raise mistake(f"size 'match' is no size of a file; expected {expected}; write one of these")
    size = _sides(value, expected)
    if not (min(size) > 0 and max(size) <= MAX_SIDE):
        raise mistake(f"size {size}: expected sides of 1 to {MAX_SIDE} pixels; choose another")
    return size


def _read_length(value: Any) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _PERCENT.fullmatch(value.strip()):
        return value.strip()
    raise mistake(
        f"a side of the box, '{value}', cannot be read; expected pixels or a share of the picture; "
        "write 120 or 10%"
    )


def _read_choice(value: Any) -> str | dict[str, str]:
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        return value
    raise mistake(
        "cannot be read as a value of this axis; expected its name, or a mapping that defines a "
        "new one; write {name: ..., ...}"
    )


MAX_SIDE = 16_383  # of a file, in pixels: WebP has no larger ones
_PERCENT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,4})?%")

TemplateText = Annotated[str, Field(pattern=r"\{")]

_SIZE_TEXT = {"type": "string", "pattern": rf"^\s*{_SIDES}\s*$"}
_SIZE_SIDES = {
    "type": "object",
    "properties": {"width": {"type": "integer"}, "height": {"type": "integer"}},
    "required": ["width", "height"],
    "additionalProperties": False,
}
_TEXT_JSON = {"type": ["string", "number", "boolean"]}

Identifier = Annotated[
    str,
    Field(
        pattern=IDENTIFIER_PATTERN, description="Letters, digits, - and _; begins with a letter."
    ),
]
ValueName = Annotated[str, Field(pattern=NAME_PATTERN)]
Text = Annotated[str, WithJsonSchema(_TEXT_JSON)]
SizeField = Annotated[
    Size | Literal["match"],
    PlainValidator(_read_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "match"},
                _SIZE_TEXT,
                {"type": "string", "pattern": r"\{"},  # a template
                _SIZE_SIDES,
            ]
        }
    ),
]
ExactSize = Annotated[
    Size,
    PlainValidator(_read_exact),
    WithJsonSchema({"anyOf": [_SIZE_TEXT, _SIZE_SIDES]}),
]
Length = Annotated[
    int | str,
    PlainValidator(_read_length),
    WithJsonSchema(
        {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": f"^{_PERCENT.pattern}$"}]}
    ),
]
ExcludeValue = Annotated[
    list[str], BeforeValidator(listed, json_schema_input_type=Text | list[Text])
]
Names = Annotated[  # one, or several, of what a recipe has names for
    list[str],
    Field(min_length=1),
    BeforeValidator(listed, json_schema_input_type=str | Annotated[list[str], Field(min_length=1)]),
]
IncludeValue = Annotated[
    str | dict[str, str],
    PlainValidator(_read_choice, json_schema_input_type=Text | dict[str, Text]),
]


class Part(BaseModel):
    """A mapping in a recipe: unknown keys are mistakes, values are frozen."""

    # Validators are built when first used: the recipe's as one, those of its parts mostly never.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)
