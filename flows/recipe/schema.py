"""The recipe format, version 1, as typed models; ``recipe.schema.json`` is generated from them.

Types are strict: a quoted ``"8"`` is no number and ``true`` is no 1. Shorthands (one entry for a
list, a text for a mapping) are widened before validation, so that every later reader sees one
shape. What needs more than one field to judge is checked in ``flows.recipe.graph`` and ``effects``.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from flows.recipe.entries import InputEntries, Matrix
from flows.recipe.fields import (
    NAME_PATTERN,
    Identifier,
    Part,
    Text,
)
from flows.recipe.handout import Output
from flows.recipe.parameters import Parameter
from flows.recipe.stepspec import Defaults, StepSpec

DEFAULT_MODEL = "kontext-mini"
SCHEMA_FILE = "recipe.schema.json"

# In these sections a plain scalar is the text that was written: 007, no, 1.50 and 2024-01-01 stay.
TEXT_SECTIONS = frozenset({"variables", "inputs", "matrix"})


ZipGroup = Annotated[list[Identifier], Field(min_length=2)]


def _zip_groups(value: Any) -> Any:
    flat = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return [value] if flat and value else value


class Head(BaseModel):
    """What a recipe may be given from outside; read before all else, which it stands in."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, defer_build=True)

    variables: dict[Identifier, Text | None] = Field(default_factory=dict)
    parameters: dict[Identifier, Parameter] = Field(default_factory=dict)


class RecipeFile(Part):
    """A recipe: pictures in, a matrix of variants, steps that generate and edit, pictures out."""

    version: Literal[1] = Field(description="The version of the recipe format: 1.")
    extends: str | None = Field(
        default=None,
        min_length=1,
        description="Another recipe that this one is laid over, mapping by mapping; a path from "
        "this file's folder.",
    )
    name: Annotated[str, Field(pattern=NAME_PATTERN)] | None = Field(
        default=None, description="What runs and reports call it; default: the file's own name."
    )
    description: str | None = Field(default=None, description="For people; it changes nothing.")
    model: str = Field(
        DEFAULT_MODEL,
        min_length=1,
        description="A model's name, or the path of its folder, from the recipe's folder.",
    )
    variables: dict[Identifier, Text | None] = Field(
        default_factory=dict,
        description="Texts for {name} in prompts and file names, with their defaults; "
        "'--set name=text' changes one. One without a default must be set.",
    )
    parameters: dict[Identifier, Parameter] = Field(
        default_factory=dict,
        description="Variables with a type, which '--set' and the dashboard's form hold to.",
    )
    inputs: dict[Identifier, InputEntries] = Field(
        default_factory=dict,
        description="Pictures to work on: a file, a glob, or a list of either. A list or a glob "
        "makes the input an axis: every file is a variant.",
    )
    matrix: Matrix = Field(
        default_factory=lambda: Matrix.model_validate({}),
        description="Axes whose values are combined into variants.",
    )
    zip: Annotated[
        list[ZipGroup],
        BeforeValidator(
            _zip_groups,
            json_schema_input_type=ZipGroup | Annotated[list[ZipGroup], Field(min_length=1)],
        ),
    ] = Field(
        default_factory=list,
        description="Axes that run side by side, first with first, second with second: "
        "[picture, mask], or a list of such groups.",
    )
    defaults: Defaults = Field(default_factory=Defaults, description="Settings for every step.")
    steps: dict[Identifier, StepSpec] = Field(
        min_length=1, description="The pictures to make, by name; each may use inputs and steps."
    )
    outputs: list[Output] = Field(
        default_factory=list,
        description="What is handed out. Default: every step that no other step uses.",
    )


def json_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) that editors read for completion and hover."""
    schema = _tidy(RecipeFile.model_json_schema(mode="validation"))
    # What a recipe lacks, another that it extends may have.
    needed = schema.pop("required")
    schema["anyOf"] = [{"required": ["extends"]}, {"required": needed}]
    schema["patternProperties"] = {"^x-": {"description": "Read by nobody: a home of anchors."}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Kontext recipe, version 1",
    }


def json_schema_text() -> str:
    """``recipe.schema.json`` as it is written to disk."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _tidy(schema: Any) -> Any:
    """Without what only repeats the key (titles) and without null: an empty key is a mistake."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {
        key: _tidy(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
        and not (key == "default" and value is None)
    }
    if "patternProperties" in tidy:  # names that match nothing are mistakes too
        tidy.pop("propertyNames", None)
        tidy["additionalProperties"] = False
    if "anyOf" in tidy:
        choices = [item for item in tidy["anyOf"] if item != {"type": "null"}]
        if len(choices) == 1:
            del tidy["anyOf"]
            tidy = {**choices[0], **tidy}
        else:
            tidy["anyOf"] = choices
    return tidy
