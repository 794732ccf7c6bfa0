"""What a recipe asks for against what its model can do."""

from __future__ import annotations

from collections.abc import Mapping

from flows.recipe.errors import Problem
from flows.recipe.graph import StepNode, setting
from flows.recipe.recipe import Recipe, setting_loc
from kontext_engine.errors import GeometryError
from kontext_engine.geometry import Size, check_target
from kontext_engine.spec import ModelSpec


def check_limits(
    recipe: Recipe,
    nodes: Mapping[str, StepNode],
    model: ModelSpec,
    problems: list[Problem],
    warnings: list[str],
) -> None:
    """Sizes and numbers of pictures that the model cannot do, and settings that it ignores."""
    ignored: dict[str, None] = {}
    for node in nodes.values():
        size = setting(recipe, node.id, "size")
        if isinstance(size, Size):
            loc = setting_loc(recipe, node.id, "size")
            try:
                check_target(size, model.pixel_area, model.multiple)
            except GeometryError as error:
                problems.append(recipe.source.problem(loc, f"{error} (model '{model.name}')"))
        if len(node.sources) > model.max_contexts:
            text = (
                f"step '{node.id}' uses {len(node.sources)} images; expected at most "
                f"{model.max_contexts} for model '{model.name}'; remove some or name another model"
            )
            loc = ("steps", node.id, "image", model.max_contexts)
            problems.append(recipe.source.problem(loc, text))
        if setting(recipe, node.id, "guidance") is not None and not model.guidance_embedded:
            loc = setting_loc(recipe, node.id, "guidance")
            text = f"model '{model.name}' ignores 'guidance'"
            ignored[str(recipe.source.problem(loc, text, key=True))] = None
    warnings.extend(ignored)
