"""The files that steps name by themselves: masks, and models that cut out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from flows.plan.step import SourceImage
from flows.recipe.axes import Value
from flows.recipe.graph import StepNode
from flows.recipe.inputs import resolve_file
from flows.recipe.matrix import Variant
from flows.recipe.node import Loc
from flows.recipe.placeholders import filler
from flows.recipe.protect import region_of
from flows.recipe.recipe import Recipe
from flows.recipe.review import Review
from flows.sources.place import look_at


def mask_file(review: Review, node: StepNode, values: Mapping[str, Value]) -> list[SourceImage]:
    """The file of a step's mask in one variant, if it has one; that it is not there is noted."""
    found = region_of(node.spec)
    if found is None or node.mask_file is None:
        return []
    text = filler(review.recipe, node.mask_file)(values)
    return _seen(review, ("steps", node.id, found[0], "mask"), text, f"mask of {node.id}")


def model_file(review: Review, node: StepNode) -> list[SourceImage]:
    """The file of the model that a step cuts with, if it names one; likewise."""
    spec = node.spec
    if spec.op != "cutout" or spec.cutout is None:
        return []
    loc = ("steps", node.id, "cutout", "model")
    return _seen(review, loc, spec.cutout.model, f"model of {node.id}", "a model")


def named_beside(recipe: Recipe) -> Iterator[tuple[Loc, str]]:
    """How a recipe writes the names of such files, and where; some name a step or an input."""
    for name, spec in recipe.document.steps.items():
        if (found := region_of(spec)) and found[1].mask:
            yield ("steps", name, found[0], "mask"), found[1].mask
        if spec.cutout is not None:
            yield ("steps", name, "cutout", "model"), spec.cutout.model


def files_beside(
    review: Review, nodes: Iterable[StepNode], variants: Sequence[Variant]
) -> set[Path]:
    """All such files of a recipe; what is not there is noted."""
    found: set[Path] = set()
    for node in nodes:
        masks = [ref for one in variants for ref in mask_file(review, node, one.values)]
        found |= {
            ref.path for ref in (*masks, *model_file(review, node)) if isinstance(ref.path, Path)
        }
    return found


def _seen(
    review: Review, loc: Loc, text: str, name: str, what: str = "a picture"
) -> list[SourceImage]:
    path = resolve_file(review, loc, text, what)
    if path is None:
        return []
    seen = look_at(path)
    return [SourceImage(name, path, seen.digest, seen.reading, seen.size)]
