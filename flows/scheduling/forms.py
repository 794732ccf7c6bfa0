"""The parameters of the three flows, and the forms that Prefect's dashboard shows for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from flows.recipe.parameters import Parameter, as_text
from flows.scheduling.names import Queue

MAX_OVERRIDES = 200
CONCURRENCY = 4  # recipes of a night that are under way at once
MOST_HOURS = 24 * 14


class _Form(BaseModel):
    """Parameters of a flow run. Frozen; unknown names are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Store = Annotated[
    str,
    Field(min_length=1, title="Output prefix", description="Where pictures and runs are kept."),
]


class RunForm(_Form):
    """The form of ``run-recipe``."""

    recipe: str = Field(
        min_length=1,
        max_length=1000,
        title="Recipe",
        description="A recipe's name, or s3://bucket/path/recipe.yaml.",
    )
    overrides: Annotated[
        list[Annotated[str, Field(pattern=r"^[^=\s][^=]*=")]],
        Field(
            default_factory=list,
            max_length=MAX_OVERRIDES,
            title="Overrides",
            description="One change a line, name=value: a variable of the recipe (season=spring), "
            "a setting (defaults.steps=8) or a step's (steps.hero.prompt=make it snow).",
        ),
    ]
    only: Annotated[
        list[str],
        Field(
            default_factory=list,
            max_length=MAX_OVERRIDES,
            title="Only",
            description="Make only these, with what they need: STEP, STEP[axis=value] or "
            "axis=value. Empty: everything.",
        ),
    ]
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        title="Parameters",
        description="The recipe's own, by their names.",
    )
    store: Store
    queue: Queue = Field(
        default="urgent",
        title="Priority",
        description="urgent goes before everything else; nightly waits until nothing is urgent.",
    )
    deadline: AwareDatetime | None = Field(
        default=None,
        title="Deadline",
        description="What has not begun by then stays undone; running again makes it. Empty: none.",
    )

    @property
    def sets(self) -> tuple[str, ...]:
        """All changes to the recipe as ``--set`` has them."""
        named = (f"{name}={as_text(value)}" for name, value in self.parameters.items())
        return (*self.overrides, *named)


class NightlyForm(_Form):
    """The form of ``nightly``: many recipes, one ``run-recipe`` each."""

    recipes: str = Field(
        default="",
        max_length=1000,
        title="Recipes",
        description="A folder of the recipes, or s3://bucket/prefix. Empty: all.",
    )
    store: Store
    concurrency: int = Field(
        default=CONCURRENCY,
        ge=1,
        le=1000,
        title="Recipes at once",
        description="The next recipe is ordered when one has ended.",
    )
    deadline_hours: float | None = Field(
        default=None,
        gt=0,
        le=MOST_HOURS,
        title="Deadline (hours)",
        description="So long after the start, what has not begun stays undone. Empty: no deadline.",
    )


class ChunkForm(_Form):
    """The parameters of ``make-chunk``; nobody fills them in by hand."""

    store: str = Field(title="Store", description="Where the run is kept.")
    run: str = Field(title="Run", description="The flow run of its run-recipe.")
    chunk: str = Field(title="Chunk", description="The chunk's name in it.")
    order: int = Field(
        default=0, ge=0, title="Order", description="Counts how often it was ordered anew."
    )


def recipes(names: Sequence[str]) -> dict[str, Any]:
    """A choice of recipes by their names, or one to be written out."""
    recipe: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 1000}
    if not names:
        return recipe
    named = {"title": "By name", "type": "string", "enum": list(names)}
    written = {
        "title": "Written out",
        "type": "string",
        # A name, too: a night orders recipes that came after the last deploy.
        "pattern": r"^(s3://[^/]+/.+\.ya?ml|order:[0-9a-f]{64}|[^:]+)$",
        "description": "s3://bucket/path/recipe.yaml, or the name of a new recipe",
    }
    return {"anyOf": [named, written]}


def of_recipe(parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """A recipe's typed parameters as one field of a form."""
    required = [name for name, one in parameters.items() if one.default is None]
    return {
        "type": "object",
        "properties": {
            name: {**one.form(name), "position": at}
            for at, (name, one) in enumerate(parameters.items())
        },
        "required": required,
        "additionalProperties": False,
    } | ({} if required else {"default": {}})


def schema(
    form: type[BaseModel], without: Sequence[str] = (), **fields: Mapping[str, Any]
) -> dict[str, Any]:
    """A form's schema as Prefect wants it, some fields left out, some fields' types replaced."""
    found = form.model_json_schema()
    properties = {n: known for n, known in found["properties"].items() if n not in without}
    for position, (name, known) in enumerate(properties.items()):
        kept = {key: known[key] for key in ("title", "description")}
        properties[name] = {**fields.get(name, known), **kept, "position": position}
    return {
        "title": "Parameters",
        "type": "object",
        "properties": properties,
        "required": [name for name in found.get("required", []) if name in properties]
        + [name for name, field in fields.items() if field.get("required")],
        "definitions": found.get("$defs", {}),
        "additionalProperties": False,
    }
