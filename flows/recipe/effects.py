"""The settings of steps: what one is, which contradict each other, and what a model can do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flows.recipe.fields import is_template
from flows.recipe.node import Loc, short
from flows.recipe.picked import stray
from flows.recipe.recipe import Recipe, setting_loc
from flows.recipe.region import KINDS
from flows.recipe.review import Review
from kontext_engine.errors import GeometryError
from kontext_engine.geometry import Size, check_target
from kontext_engine.spec import ModelSpec

if TYPE_CHECKING:
    from flows.recipe.graph import StepNode


def setting(recipe: Recipe, step: str, field: str) -> Any:
    """A setting's value: the step's own, else the defaults', else ``None``."""
    own = getattr(recipe.document.steps[step], field)
    return own if own is not None else getattr(recipe.document.defaults, field)


def check_limits(review: Review, nodes: Mapping[str, StepNode], model: ModelSpec) -> None:
    """Sizes and numbers of pictures that the model cannot do, and settings that it ignores."""
    recipe = review.recipe
    for node in nodes.values():
        size = setting(recipe, node.id, "size")
        if isinstance(size, Size):
            try:
                check_target(size, model.pixel_area, model.multiple)
            except GeometryError as error:
                loc = setting_loc(recipe, node.id, "size")
                review.wrong(loc, f"{error} (model '{model.name}')")
        if len(node.images) > model.max_contexts:
            text = (
                f"step '{node.id}' uses {len(node.images)} images; expected at most "
                f"{model.max_contexts} for model '{model.name}'; remove some or name another model"
            )
            review.wrong(("steps", node.id, "image", model.max_contexts), text)
        if setting(recipe, node.id, "guidance") is not None and not model.guidance_embedded:
            loc = setting_loc(recipe, node.id, "guidance")
            review.note(loc, f"model '{model.name}' ignores 'guidance'", key=True)


def _note_cut(review: Review, loc: Loc) -> None:
    """Tell of a plain text that ends at a ``#``: in YAML what follows is a comment."""
    node = review.recipe.written.node(loc)
    if node is None or node.origin is not None:
        return
    text = review.recipe.written.written(node)
    if text[node.span[0] :][:1] in ("'", '"', "|", ">"):
        return
    comment = re.match(r"[ \t]+#.*", text[node.span[1] :])
    if comment is not None:
        said = short(comment[0].strip())
        review.note(loc, f"'{said}' is a comment, no part of the text; quote the text to keep it")


def _check_cutout(review: Review, name: str) -> None:
    """A cut has no words and no steps: what is set for it alone is a mistake."""
    spec = review.recipe.document.steps[name]
    own = {"op", "image", "cutout", "among", "by"} | set(KINDS)
    for field in sorted(spec.model_fields_set - own):
        text = f"'{field}' has no effect on op 'cutout'; expected only 'image'; remove it"
        review.wrong(("steps", name, field), text, key=True)
    if len(spec.image or []) > 1:
        text = f"step '{name}' cuts out of several images; expected one; write a step for each"
        review.wrong(("steps", name, "image", 1), text)


def check_settings(review: Review, name: str) -> None:
    """What a step says that contradicts itself, or has no effect."""
    recipe, spec = review.recipe, review.recipe.document.steps[name]
    stray(review, name)
    if spec.op == "pick":
        return
    if spec.op == "cutout":
        _check_cutout(review, name)
        return
    if spec.cutout is not None:
        text = f"'cutout' has no effect on op '{spec.op}'; expected op 'cutout'; remove it"
        review.wrong(("steps", name, "cutout"), text, key=True)
    _note_cut(review, ("steps", name, "prompt"))
    _note_cut(review, setting_loc(recipe, name, "negative_prompt"))
    if not spec.prompt.strip():
        text = "'prompt' is empty; expected what to make or to change; write it"
        review.wrong(("steps", name, "prompt"), text)
    if spec.op == "generate" and spec.size == "match":
        text = (
            f"step '{name}' has no image to match; expected a size like 128x128; write one or "
            "remove 'size'"
        )
        review.wrong(("steps", name, "size"), text)
    if setting(recipe, name, "negative_prompt") is not None and spec.true_cfg is None:
        true_cfg = recipe.document.defaults.true_cfg
        if true_cfg is None or (not is_template(true_cfg) and true_cfg <= 1):
            text = "'negative_prompt' has no effect; expected 'true_cfg' above 1; add 'true_cfg: 2'"
            loc = setting_loc(recipe, name, "negative_prompt")
            review.wrong(loc, text, key=True)
