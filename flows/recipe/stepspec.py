"""A step as it is written, and the settings that it shares with the defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from flows.recipe.fields import Names, Part, SizeField, key_of, templated
from flows.recipe.picking import ByField
from flows.recipe.region import CutoutField, RegionField

MAX_STEPS = 200
MAX_GUIDANCE = 30.0
MAX_TRUE_CFG = 20.0
MAX_SEED = 2**63 - 1
MAX_TAKES = 64

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
