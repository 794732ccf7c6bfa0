"""docs/language.md, from the schema of recipes: ``python -m tests.language`` writes it anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flows.recipe.schema import json_schema

PAGE = Path(__file__).parents[1] / "docs" / "language.md"
ENDLESS = 1e9  # no bound that anybody meets
# The sections in the order in which a recipe has them: the schema's names, and a reader's.
SECTIONS = {
    "": "A recipe",
    "Parameter": "A parameter",
    "InputEntry": "An input",
    "InputTable": "A table of inputs",
    "AxisEntry": "A value of an axis",
    "AxisTable": "A table of values",
    "Matrix": "The matrix",
    "Defaults": "Defaults",
    "StepSpec": "A step",
    "RegionSpec": "What is kept, or changed alone",
    "CutoutSpec": "A model that cuts out",
    "ScoreSpec": "A judge",
    "OutputSpec": "An output",
    "SheetSpec": "A contact sheet",
}
HEAD = """\
# The language of recipes

Every key, its values and what it does, written from the schema that editors read
(`recipes/recipe.schema.json`; `python -m tests.language` writes this page). How they work together,
with examples, is in [recipes.md](recipes.md). A *template* is a text in which `{scene}` or
`{product.noun}` is filled in. Keys that begin with `x-` are homes of anchors and mean nothing by
themselves.
"""


def page() -> str:
    """The page's text."""
    schema = json_schema()
    unnamed = schema["$defs"].keys() - SECTIONS.keys()
    if unnamed:
        raise ValueError(f"no section for {', '.join(sorted(unnamed))}")
    return HEAD + "".join(
        f"\n## {title}\n\n" + "\n".join(_rows(schema["$defs"][name] if name else schema)) + "\n"
        for name, title in SECTIONS.items()
    )


def _rows(spec: dict[str, Any]) -> Iterator[str]:
    if text := spec.get("description"):
        yield f"{text}\n"
    yield "| key | value | what it is |"
    yield "|---|---|---|"
    needed = spec.get("required", ())
    for name, item in spec["properties"].items():
        what = item.get("description", "")
        must = " Needed." if name in needed else ""
        yield f"| `{name}` | {_cell(_value(item))} | {_cell(what)}{must} |"


def _value(item: dict[str, Any]) -> str:
    """What may stand there, in words."""
    kind = item.get("type")
    if isinstance(kind, list):
        return _either([{**item, "type": one} for one in kind])
    if several := item.get("anyOf") or item.get("oneOf"):
        return _either(several)
    if "$ref" in item:
        title = SECTIONS[item["$ref"].rpartition("/")[2]]
        place = title.lower().replace(" ", "-").replace(",", "")
        return f"[{title[0].lower()}{title[1:]}](#{place})"
    if "const" in item or "enum" in item:
        return ", ".join(
            f"`{str(one).lower() if one is True else one}`"
            for one in item.get("enum", [item.get("const")])
        )
    return _KINDS[str(kind)](item) if kind is not None else ""


def _either(several: list[dict[str, Any]]) -> str:
    told = [_value(one) for one in several]
    return " or ".join(dict.fromkeys(one for one in told if one))


def _number(item: dict[str, Any]) -> str:
    kind = "a whole number" if item["type"] == "integer" else "a number"
    least, most = item.get("minimum"), item.get("maximum")
    if least is None:
        return kind
    return (
        f"{kind}, {least:g} to {most:g}"
        if (most or ENDLESS) < ENDLESS
        else f"{kind} from {least:g}"
    )


def _mapping(item: dict[str, Any]) -> str:
    told = {_value(one) for one in item.get("patternProperties", {}).values()} - {""}
    if told:
        return f"names, each with: {' or '.join(sorted(told))}"
    keys = ", ".join(f"`{name}`" for name in item.get("properties", {}))
    return f"a mapping with {keys}" if keys else "a mapping"


_KINDS: Mapping[str, Callable[[dict[str, Any]], str]] = {
    "integer": _number,
    "number": _number,
    "object": _mapping,
    "array": lambda item: f"a list of: {_value(item['items'])}" if item.get("items") else "a list",
    "string": lambda item: "a template" if item.get("pattern") == "\\{" else "a text",
    "boolean": lambda _: "`true` or `false`",
    "null": lambda _: "nothing",
}


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
