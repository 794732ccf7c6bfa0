"""The recipe format, version 1, as typed models; ``recipe.schema.json`` is generated from them.

Types are strict: a quoted ``"8"`` is no number and ``true`` is no 1. Shorthands (one entry for a
list, a text for a mapping) are widened before validation, so that every later reader sees one
shape. What needs more than one field to judge is checked in ``flows.recipe.graph`` and ``limits``.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from flows.recipe.fields import (
    NAME_PATTERN,
    ExcludeValue,
    Identifier,
    IncludeValue,
    Names,
    Part,
    SizeField,
    Text,
    ValueName,
    key_of,
    listed,
    templated,
)
from flows.recipe.handout import Output
from flows.recipe.parameters import Parameter
from flows.recipe.picking import ByField
from flows.recipe.region import CutoutField, RegionField

DEFAULT_MODEL = "kontext-mini"
SCHEMA_FILE = "recipe.schema.json"

# In these sections a plain scalar is the text that was written: 007, no, 1.50 and 2024-01-01 stay.
TEXT_SECTIONS = frozenset({"variables", "inputs", "matrix"})

MAX_STEPS = 200
MAX_GUIDANCE = 30.0
MAX_TRUE_CFG = 20.0
MAX_SEED = 2**63 - 1
MAX_TAKES = 64


class InputEntry(Part):
    """A picture file, or a glob, with a name and any variables of its own."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    __pydantic_extra__: dict[Identifier, Text]

    file: str = Field(
        min_length=1,
        description="A picture file or a glob (*, **, ?), from the recipe's folder; it must lie in "
        "that folder or the current one, or below either. Or s3://bucket/key, also with a glob in "
        "the key; the bucket must be the store's or one that the settings allow.",
    )
    name: ValueName | None = Field(
        default=None,
        description="What labels and file names call it; default: the file's own name.",
    )


class AxisEntry(Part):
    """One value of an axis: its name, what ``{axis}`` stands for, any variables of its own."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    __pydantic_extra__: dict[Identifier, Text]

    name: ValueName | None = Field(
        default=None, description="What labels and file names call it; default: made from 'value'."
    )
    value: Text | None = Field(
        default=None, description="What {axis} stands for; default: the name."
    )


class _Table(Part):
    """Rows of a file in the place of a list: each row a value, its columns the variables."""

    table: str = Field(
        min_length=1,
        description="A table, from the recipe's folder: CSV, TSV, YAML, JSON or JSON Lines. Every "
        "row is a value, every column one of its variables.",
    )
    name: str | None = Field(
        default=None,
        min_length=1,
        description="The column that labels and file names call a row by, or a text with "
        "{columns}. Default: the column 'name'.",
    )
    where: str | None = Field(
        default=None,
        min_length=1,
        description="Which rows: comparisons of columns with quoted texts and numbers, 'and', "
        "'or', 'not' and 'in': \"status != 'sold out' and tier <= 2\".",
    )
    join: dict[str, str] = Field(
        default_factory=dict,
        description="Columns that must agree with a variable of another axis: "
        "{category: product.category}.",
    )


class InputTable(_Table):
    """Pictures from a table."""

    file: str | None = Field(
        default=None,
        min_length=1,
        description="The column with the pictures' paths, or a text with {columns}: "
        "photos/{sku}.png. Default: the column 'file'.",
    )


class AxisTable(_Table):
    """Values of an axis from a table."""

    value: str | None = Field(
        default=None,
        min_length=1,
        description="The column that {axis} stands for, or a text with {columns}. Default: the "
        "column 'value', else the name.",
    )


def _input_entries(value: Any) -> Any:
    if isinstance(value, dict) and "table" in value:
        return [{"file": value["table"]}]  # it could not be read, which has been told
    entries = listed(value)
    if isinstance(entries, list):
        return [{"file": item} if isinstance(item, str) else item for item in entries]
    return entries


def _axis_entries(value: Any) -> Any:
    if isinstance(value, dict) and "table" in value:
        return [{"value": value["table"]}]  # likewise
    if isinstance(value, list):
        return [{"value": item} if isinstance(item, str) else item for item in value]
    return value


InputEntries = Annotated[
    list[InputEntry],
    Field(min_length=1),
    BeforeValidator(
        _input_entries,
        json_schema_input_type=str
        | InputTable
        | InputEntry
        | Annotated[list[str | InputEntry], Field(min_length=1)],
    ),
]
AxisEntries = Annotated[
    list[AxisEntry],
    Field(min_length=1),
    BeforeValidator(
        _axis_entries,
        json_schema_input_type=AxisTable
        | Annotated[str, Field(pattern=r"^\{[^{}]+\}$", description="A list parameter.")]
        | Annotated[list[Text | AxisEntry], Field(min_length=1)],
    ),
]


class Matrix(Part):
    """The axes whose values are combined, each with each and with every input of several files."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    __pydantic_extra__: dict[Identifier, AxisEntries]

    exclude: list[Annotated[dict[str, ExcludeValue], Field(min_length=1)]] = Field(
        default_factory=list,
        description="Combinations to leave out. A combination is left out when it agrees with "
        "every axis that an entry names; a list of names means any of them.",
    )
    include: list[Annotated[dict[str, IncludeValue], Field(min_length=1)]] = Field(
        default_factory=list,
        description="Combinations to add after 'exclude'. An axis that an entry does not name "
        "runs over all its values; a mapping defines a value that exists only here.",
    )


Steps = Annotated[int, Field(ge=1, le=MAX_STEPS)]
Guidance = Annotated[float, Field(ge=0, le=MAX_GUIDANCE, allow_inf_nan=False)]
TrueCfg = Annotated[float, Field(ge=1, le=MAX_TRUE_CFG, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
FitName = Literal["crop", "pad", "stretch", "whole"]
# What a setting must be once its template is filled in.
SETTING_TYPES: dict[str, Any] = {
    "steps": Steps,
    "guidance": Guidance,
    "true_cfg": TrueCfg,
    "seed": Seed,
    "size": SizeField,
    "fit": FitName,
}


class Settings(Part):
    """What ``defaults`` and a step have in common.

    Each of ``SETTING_TYPES`` may be a text with placeholders until it is filled in for a variant.
    """

    steps: Annotated[Steps, templated(Steps)] | None = Field(
        default=None, description="Denoise steps; default: the model's."
    )
    guidance: Annotated[Guidance, templated(Guidance)] | None = Field(
        default=None, description="Strength of the distilled guidance; default: the model's."
    )
    true_cfg: Annotated[TrueCfg, templated(TrueCfg)] | None = Field(
        default=None,
        description="Above 1: classifier-free guidance with 'negative_prompt', at twice the time.",
    )
    negative_prompt: str | None = Field(
        default=None, min_length=1, description="What to steer away from; needs 'true_cfg' above 1."
    )
    seed: Annotated[Seed, templated(Seed)] | None = Field(
        default=None,
        description="The same seed for every variant, or {shot.seed}. Default: one of its own for "
        "each, made from the step's and the values' names.",
    )
    size: Annotated[SizeField, templated(SizeField)] | None = Field(
        default=None,
        description="'match' (an edit keeps its first picture's aspect at the model's area), "
        "'128x128' or {width: 128, height: 128}.",
    )
    fit: Annotated[FitName, templated(FitName)] | None = Field(
        default=None,
        description="How a picture of another aspect meets the size: 'crop' cuts the overflow "
        "(default), 'pad' lets the model paint the margins, 'stretch' distorts, 'whole' shows the "
        "model all of it and lets it recompose.",
    )


class Defaults(Settings):
    """Settings for every step that does not say otherwise."""


class StepSpec(Settings):
    """One picture to make in every variant."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                {
                    "if": {
                        "properties": {"op": {"enum": ["generate", "pick"]}},
                        "required": ["op"],
                    },
                    "then": {"properties": {"image": False}},
                    "else": {"required": ["image"]},
                },
                {
                    "if": {"properties": {"op": {"enum": ["cutout", "pick"]}}, "required": ["op"]},
                    "then": {"properties": {"prompt": False}},
                    "else": {"required": ["prompt"]},
                },
                {
                    "if": {"properties": {"op": {"const": "pick"}}, "required": ["op"]},
                    "then": {"required": ["from", "by"]},
                    "else": {"properties": {"from": False, "by": False}},
                },
            ]
        }
    )

    op: Literal["generate", "edit", "cutout", "pick"] = Field(
        description="'generate' (a picture from the prompt alone), 'edit' (a picture changed), "
        "'cutout' (a picture's subject, on nothing) or 'pick' (one of several pictures)."
    )
    image: Names | None = Field(
        default=None,
        description="The picture to edit: an input or another step; a list for several, the one "
        "to edit first.",
    )
    takes: int | None = Field(
        default=None,
        ge=1,
        le=MAX_TAKES,
        description="So many pictures in every variant, each with a seed of its own; default: 1. "
        "{take} in output names is its number.",
    )
    prompt: str = Field(
        default="",
        min_length=1,
        description="What to make or to change. {scene}, {product.noun} and {variable} are filled "
        "in; {{ and }} stand for braces.",
    )
    among: Names | None = Field(
        default=None,
        alias="from",
        description="Of a pick: the step whose takes it chooses from, or a list of steps.",
    )
    by: ByField | None = Field(
        default=None,
        description="Of a pick: who chooses: 'hand' (a person, with 'kontext decide') or "
        "{score: NAME} (a judge: sharpness, preserved, identity, text).",
    )
    keep: RegionField | None = Field(
        default=None,
        description="Of an edit: what must stay as it is in the first picture, pixel for pixel.",
    )
    region: RegionField | None = Field(
        default=None, description="Of an edit: what alone may change of the first picture."
    )

    cutout: CutoutField | None = Field(
        default=None,
        description="Of a cutout: the ONNX model that finds the subject; default: OpenCV's "
        "GrabCut, for plain grounds.",
    )

    @model_validator(mode="after")
    def _has_prompt(self) -> Self:
        needed = {"pick": ("among", "by"), "cutout": ()}.get(self.op, ("prompt",))
        for name in needed:
            if name not in self.model_fields_set:
                raise PydanticCustomError("missing", "", {"field": key_of(StepSpec, name)})
        return self


ZipGroup = Annotated[list[Identifier], Field(min_length=2)]


def _zip_groups(value: Any) -> Any:
    flat = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return [value] if flat and value else value


class Head(BaseModel):
    """What a recipe may be given from outside; read before all else, which it stands in."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

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
