"""What an axis is written as: pictures, values, rows of a table, and the matrix of them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from flows.recipe.fields import (
    ExcludeValue,
    Identifier,
    IncludeValue,
    Part,
    Text,
    ValueName,
    listed,
)


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
    entries = listed(value)
    if isinstance(entries, list):
        return [{"file": item} if isinstance(item, str) else item for item in entries]
    return entries


def _axis_entries(value: Any) -> Any:
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
