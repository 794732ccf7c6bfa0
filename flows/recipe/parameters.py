"""Typed parameters: what may be set from outside, of which kind, and within which bounds.

Each is a variable of the recipe beside that: ``{strength}`` stands for its text. ``--set`` and the
dashboard's form both come here, so that a bad value is refused before anything is ordered.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flows.problems import did_you_mean, one_of
from flows.recipe.fields import Text, mistake

_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?\Z")
_BOOLEANS = {"true": "true", "false": "false"}
_FIELDS = {
    "text": {"default", "description"},
    "number": {"default", "description", "min", "max"},
    "choice": {"default", "description", "choices"},
    "boolean": {"default", "description"},
    "file": {"default", "description"},
    "list": {"default", "description", "choices"},
}


class Parameter(BaseModel):
    """A value to be set: text, number (min, max), choice, boolean, file or list."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    type: Literal["text", "number", "choice", "boolean", "file", "list"] = Field(
        description="'text', 'number' (with 'min' and 'max'), 'choice' (of 'choices'), 'boolean' "
        "(true or false), 'file' (a path from the recipe's folder) or 'list' (of texts)."
    )
    default: Text | Annotated[list[Text], Field(min_length=1)] | None = Field(
        default=None, description="What it is when nobody sets it; without one it must be set."
    )
    min: float | None = Field(
        default=None, allow_inf_nan=False, description="For a number: the least."
    )
    max: float | None = Field(
        default=None, allow_inf_nan=False, description="For a number: the most."
    )
    choices: Annotated[list[Text], Field(min_length=1)] | None = Field(
        default=None, description="For a choice, or for what a list may hold."
    )
    description: str | None = Field(default=None, description="What forms say of it.")

    @model_validator(mode="after")
    def _fits(self) -> Parameter:
        given = {name for name in Parameter.model_fields if getattr(self, name) is not None}
        odd = sorted(given - _FIELDS[self.type] - {"type"})
        if odd:
            raise mistake(
                f"'{odd[0]}' has no meaning for a {self.type}; expected "
                f"{one_of(sorted(_FIELDS[self.type]))}; remove it",
                at=odd[0],
            )
        if self.type == "choice" and not self.choices:
            raise mistake(
                "a choice has no 'choices'; expected a list of them; add 'choices: [...]'"
            )
        if self.min is not None and self.max is not None and self.min > self.max:
            raise mistake(
                f"'min' {self.min:g} is above 'max' {self.max:g}; expected less; mend one"
            )
        if self.default is not None:
            try:
                self.values(self.default)
            except ValueError as error:
                raise mistake(f"'default' {error}", at="default") from None
        return self

    def values(self, given: str | Sequence[str]) -> tuple[str, ...]:
        """The texts that a value means: one, or a list's several.

        Raises:
            ValueError: it is none of this parameter's; what; what was expected; what to do.
        """
        if self.type == "list":
            return tuple(self._chosen(item) for item in self._listed(given))
        if not isinstance(given, str):
            raise ValueError(f"is a list; expected one {self.type}; write a single value")
        match self.type:
            case "number":
                return (self._number(given),)
            case "boolean":
                if given.lower() not in _BOOLEANS:
                    raise ValueError(f"is '{given}'; expected true or false; write one of these")
                return (_BOOLEANS[given.lower()],)
            case "choice":
                return (self._chosen(given),)
            case "file" if not given:
                raise ValueError("is empty; expected a file; name one")
            case _:
                return (given,)

    def _listed(self, given: str | Sequence[str]) -> list[str]:
        """A list as it was written: of the file, between commas, or as JSON."""
        if not isinstance(given, str):
            items = list(given)
        elif given.startswith("["):
            try:
                items = json.loads(given)
            except ValueError:
                raise ValueError(f"is '{given}'; expected a list; write it as a,b,c") from None
        else:
            items = [part.strip() for part in given.split(",") if part.strip()]
        if not items or not all(isinstance(item, str) and item for item in items):
            raise ValueError("is empty; expected at least one text; write them as a,b,c")
        return items

    def _chosen(self, text: str) -> str:
        if self.choices is None or text in self.choices:
            return text
        hint = did_you_mean(text, self.choices) or "write one of these"
        raise ValueError(f"is '{text}'; expected {one_of(self.choices)}; {hint}")

    def _number(self, text: str) -> str:
        if _NUMBER.match(text) is None or not math.isfinite(number := float(text)):
            raise ValueError(f"is '{text}'; expected a number; write one")
        low, high = self.min, self.max
        if (low is not None and number < low) or (high is not None and number > high):
            bounds = [f"at least {low:g}"] if low is not None else []
            bounds += [f"at most {high:g}"] if high is not None else []
            raise ValueError(f"is {text}; expected {' and '.join(bounds)}; choose one in the range")
        return text

    def form(self, name: str) -> dict[str, Any]:
        """The field of a form, as JSON schema."""
        field: dict[str, Any] = {"title": name}
        if self.description:
            field["description"] = self.description
        match self.type:
            case "number":
                field["type"] = "number"
                field |= {"minimum": self.min} if self.min is not None else {}
                field |= {"maximum": self.max} if self.max is not None else {}
            case "boolean":
                field["type"] = "boolean"
            case "choice":
                field |= {"type": "string", "enum": list(self.choices or ())}
            case "list":
                items: dict[str, Any] = {"type": "string", "minLength": 1}
                items |= {"enum": list(self.choices)} if self.choices else {}
                field |= {"type": "array", "items": items, "minItems": 1}
            case "file":
                field |= {"type": "string", "minLength": 1}
            case _:
                field["type"] = "string"
        if self.default is not None:
            field["default"] = self._typed_default()
        return field

    def _typed_default(self) -> Any:
        found = self.values(self.default or "")
        match self.type:
            case "list":
                return list(found)
            case "boolean":
                return found[0] == "true"
            case "number":
                number = float(found[0])
                return int(number) if number.is_integer() else number
            case _:
                return found[0]


def as_text(value: object) -> str:
    """A form's value as ``--set`` would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return json.dumps(list(value), ensure_ascii=False)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
