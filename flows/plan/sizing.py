"""Sizes of pictures, as far as they can be told before any is made, and what follows from them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from flows.plan.keys import cutout_key, extended_key, step_key
from flows.plan.step import ContextRef, Operation, ParentStep, Region, SourceImage, StepParams
from flows.recipe.axes import Value
from flows.recipe.graph import StepNode, look_up
from flows.recipe.inputs import resolve_file
from flows.recipe.node import Loc
from flows.recipe.protect import box_in_pixels, region_of, wrong_box
from flows.recipe.region import RegionSpec
from flows.recipe.review import Review
from flows.sources.place import look_at
from kontext_engine.cutout import cutout_method
from kontext_engine.errors import GeometryError, ModelError
from kontext_engine.geometry import GEOMETRY_VERSION, Fit, Size, plan_geometry
from kontext_engine.spec import ModelSpec, NumericsProfile


class Sizing:
    """Keys steps with what they have besides their parameters; mistakes of theirs are noted."""

    def __init__(self, review: Review, model: ModelSpec, numerics: NumericsProfile) -> None:
        self._review = review
        self._model = model
        self._numerics = numerics
        self._sizes: dict[str, Size] = {}  # of pictures, by the keys of their steps

    def keyed(
        self, node: StepNode, params: StepParams, contexts: Sequence[ContextRef]
    ) -> tuple[str, Mapping[str, Any]]:
        """A step's key, and the fields that its ``Step`` has besides; the last context is its mask,
        if it has one.
        """
        found = region_of(node.spec)
        if node.spec.op == "cutout":
            more: dict[str, Any] = {"method": self._method(node)}
            key, size = cutout_key(contexts, more["method"]), self._size(contexts[0])
        else:
            size, geometry = self._sized(params, contexts)
            region = None
            if found is not None:
                region, geometry = self._region(node.id, *found, contexts), 1
                size = self._size(contexts[0])
            more = {"geometry": geometry, "region": region}
            operation = cast("Operation", node.spec.op)  # a pick makes no picture
            plain = step_key(operation, params, contexts, self._model, self._numerics)
            key = extended_key(plain, geometry, region)
        if size is not None:
            self._sizes[key] = size
        return key, more

    def know(self, key: str, size: Size) -> None:
        """The size of a picture that is not planned here."""
        self._sizes[key] = size

    def _size(self, ref: ContextRef) -> Size | None:
        return self._sizes.get(ref.key) if isinstance(ref, ParentStep) else ref.size

    def _sized(self, params: StepParams, contexts: Sequence[ContextRef]) -> tuple[Size | None, int]:
        sizes = tuple(size for ref in contexts if (size := self._size(ref)) is not None)
        if len(sizes) < len(contexts):
            return None, 1
        return _sized(sizes, params.size, params.fit, self._model)

    def _region(
        self, step: str, kind: str, said: RegionSpec, contexts: Sequence[ContextRef]
    ) -> Region:
        source, masked = self._size(contexts[0]), said.mask is not None
        loc: Loc = ("steps", step, kind)
        box = None
        if said.box is not None:
            box = box_in_pixels(said.box, source)
            if source is not None and (wrong := wrong_box(box, source, kind, said.feather)):
                self._review.wrong((*loc, "box"), wrong)
        mask = self._size(contexts[-1]) if masked else None
        if source and mask and source != mask and said.fit is None:
            text = (
                f"the mask is {mask} and the picture {source}; expected the same size; scale the "
                "mask, or say by 'fit' how it is brought there"
            )
            self._review.wrong((*loc, "mask"), text)
        fit = Fit(said.fit) if said.fit is not None else None
        return Region(kind == "keep", masked, box, said.feather, fit)

    def _method(self, node: StepNode) -> str:
        try:
            return cutout_method()
        except ModelError as error:
            self._review.wrong(("steps", node.id, "op"), str(error))
            return ""


def mask_file(review: Review, node: StepNode, values: Mapping[str, Value]) -> list[SourceImage]:
    """The file of a step's mask in one variant, if it has one; that it is not there is noted."""
    found = region_of(node.spec)
    if found is None or node.mask_file is None:
        return []
    text = node.mask_file.render(lambda item: look_up(review.recipe, item, values))
    path = resolve_file(review, ("steps", node.id, found[0], "mask"), text)
    if path is None:
        return []
    seen = look_at(path)
    return [SourceImage(f"mask of {node.id}", path, seen.digest, seen.reading, seen.size)]


@functools.lru_cache(maxsize=4096)
def _sized(
    contexts: tuple[Size, ...], requested: Size | None, fit: Fit, model: ModelSpec
) -> tuple[Size | None, int]:
    """The size that a picture will have, if it can be made, and the version of its rules."""
    asked = partial(
        plan_geometry,
        contexts,
        requested,
        fit,
        area=model.pixel_area,
        multiple=model.multiple,
        default=model.default_size,
    )
    try:
        now = asked()
        return now.output, 1 if now == asked(version=1) else GEOMETRY_VERSION
    except GeometryError:  # the step will fail, and tell it
        return None, 1
