"""What a plan stands on: the axes with all their values, the steps, the combinations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flows.plan.outputs import plan_outputs
from flows.plan.sheets import plan_sheets
from flows.recipe.axes import Axis
from flows.recipe.effects import check_limits
from flows.recipe.graph import StepNode, build_graph
from flows.recipe.matrix import Variant, build_axes, build_variants
from flows.recipe.review import Review
from kontext_engine.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Ground:
    """The axes and the steps by name, each step after those it reads; the variants in order."""

    axes: Mapping[str, Axis]
    nodes: Mapping[str, StepNode]
    variants: tuple[Variant, ...]


def lay_ground(review: Review, model: ModelSpec | None) -> Ground:
    """Axes, graph and variants; without a model its limits are not looked at.

    Raises:
        RecipeError: every mistake that these can tell, and the outputs without pictures.
    """
    axes = build_axes(review)
    variants = build_variants(review, axes)
    axes = _with_included(axes, variants)
    ground = Ground(axes, build_graph(review, axes), variants)
    if model is not None:
        check_limits(review, ground.nodes, model)
    stop_if_wrong(review, ground)
    return ground


def stop_if_wrong(review: Review, ground: Ground) -> None:
    """End here, if there was a mistake; with those that outputs can tell without pictures.

    Raises:
        RecipeError: with all of them.
    """
    if review.problems:
        plan_outputs(review, ground.axes, ground.nodes, ())
        plan_sheets(review, ground.axes, ground.nodes, (), ())
    review.stop_if_wrong()


def _with_included(axes: Mapping[str, Axis], variants: Sequence[Variant]) -> dict[str, Axis]:
    """The axes with the values that ``include`` defined."""
    found: dict[str, Axis] = {}
    for name, axis in axes.items():
        values = {value.name: value for value in axis.values}
        for variant in variants:
            values.setdefault(variant.values[name].name, variant.values[name])
        found[name] = replace(axis, values=tuple(values.values()))
    return found
