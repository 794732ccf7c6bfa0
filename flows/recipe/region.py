"""Parts of pictures in a recipe: what a step keeps, what alone may change, what cuts them out."""

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


THREE = Annotated[list[Annotated[float, Field(ge=0, le=255)]], Field(min_length=3, max_length=3)]
SPREAD = Annotated[
    list[Annotated[float, Field(ge=0.001, le=255)]], Field(min_length=3, max_length=3)
]


def _three(value: Any) -> Any:
    return value if isinstance(value, list) else [value] * 3


class CutoutSpec(Part):
    """The model that cuts a subject out, and how it wants its input."""

    model: str = Field(
        min_length=1,
        description="An ONNX file of saliency or matting, a path from the recipe's folder.",
    )
    mean: Annotated[THREE, BeforeValidator(_three, json_schema_input_type=float | THREE)] = Field(
        default=[0.5] * 3,
        description="What is taken from the values of red, green and blue, each 0 to 1.",
    )
    std: Annotated[SPREAD, BeforeValidator(_three, json_schema_input_type=float | SPREAD)] = Field(
        default=[1.0] * 3, description="What they are then divided by."
    )


def _cutout(value: Any) -> Any:
    return {"model": value} if isinstance(value, str) else value


CutoutField = Annotated[
    CutoutSpec, BeforeValidator(_cutout, json_schema_input_type=str | CutoutSpec)
]


def _region(value: Any) -> Any:
    return {"mask": value} if isinstance(value, str) else value


RegionField = Annotated[
    RegionSpec, BeforeValidator(_region, json_schema_input_type=str | RegionSpec)
]
