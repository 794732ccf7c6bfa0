"""The forms that Prefect's dashboard shows, as JSON schemas. No Prefect here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from flows.coordination.intake import ChunkForm, NightlyForm, RunForm


def run_schema(recipes: Sequence[str], stores: Sequence[str]) -> dict[str, Any]:
    """The form of ``run-recipe``: recipes and output prefixes to choose from, or to write."""
    recipe: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 1000}
    if recipes:
        named = {"title": "By name", "type": "string", "enum": list(recipes)}
        written = {
            "title": "By address",
            "type": "string",
            "pattern": r"^s3://[^/]+/.+\.ya?ml$",
            "description": "s3://bucket/path/recipe.yaml",
        }
        recipe = {"anyOf": [named, written]}
    return schema(RunForm, {"recipe": recipe, "store": stores_field(stores)})


def nightly_schema(stores: Sequence[str]) -> dict[str, Any]:
    """The form of ``nightly``."""
    return schema(NightlyForm, {"store": stores_field(stores)})


def chunk_schema() -> dict[str, Any]:
    """The form of ``make-chunk``, for whoever looks."""
    return schema(ChunkForm, {})


def stores_field(stores: Sequence[str]) -> dict[str, Any]:
    """A choice of output prefixes."""
    return {"type": "string", "enum": list(stores), "default": stores[0]}


def schema(form: type[BaseModel], fields: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A form's schema as Prefect wants it, some fields' types replaced."""
    found = form.model_json_schema()
    properties = found["properties"]
    for position, name in enumerate(properties):
        kept = {key: properties[name][key] for key in ("title", "description")}
        if name in fields:
            properties[name] = {**fields[name], **kept}
        properties[name]["position"] = position
    return {
        "title": "Parameters",
        "type": "object",
        "properties": properties,
        "required": found.get("required", []),
        "definitions": found.get("$defs", {}),
        "additionalProperties": False,
    }
