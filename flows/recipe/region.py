"""The part of a picture that a step keeps, or that alone may change: what a recipe says of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from flows.recipe.fields import Length, Part, mistake

KINDS = ("keep", "region")
MAX_FEATHER = 256  # pixels


FOUR = Annotated[list[Length], Field(min_length=4, max_length=4)]


def _four(value: Any) -> Any:
    if isinstance(value, list) and len(value) != 4:
        raise mistake(
            f"the box has {len(value)} sides; expected left, top, right and bottom; write all four"
        )
    return value


Box = Annotated[list[Length], BeforeValidator(_four, json_schema_input_type=FOUR)]


class RegionSpec(Part):
    """A part of the first picture: by a mask, a box, or its own alpha."""

    mask: str | None = Field(
        default=None,
        min_length=1,
        description="A step of op cutout, an input, or a picture file, from the recipe's folder, "
        "in which {product} and the like are filled in; white is what is meant.",
    )
    box: Box | None = Field(
        default=None,
        description="[left, top, right, bottom], each in pixels or, as 10%, of the picture.",
    )
    alpha: Literal[True] | None = Field(
        default=None, description="true: what is opaque in the picture itself."
    )
    feather: int = Field(
        default=0, ge=0, le=MAX_FEATHER, description="Pixels of a soft edge, on the changed side."
    )
    fit: Literal["crop", "pad", "stretch"] | None = Field(
        default=None,
        description="How a mask of another size is brought to the picture's; default: not at all.",
    )


def _region(value: Any) -> Any:
    return {"mask": value} if isinstance(value, str) else value


RegionField = Annotated[
    RegionSpec, BeforeValidator(_region, json_schema_input_type=str | RegionSpec)
]
