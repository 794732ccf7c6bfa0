"""Sizes of pictures, as far as they can be told before any is made, and what follows from them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from flows.plan.keys import Spelling, cutout_key, extended_key
from flows.plan.looking import Looking, wrong_model
from flows.plan.step import ContextRef, ParentStep, Region, SourceImage, StepParams
from flows.recipe.graph import StepNode
from flows.recipe.node import Loc
from flows.recipe.protect import box_in_pixels, region_of, wrong_box
from flows.recipe.region import RegionSpec
from flows.recipe.review import Review
from kontext_engine.cutout import cutout_method
from kontext_engine.errors import GeometryError, ModelError
from kontext_engine.geometry import GEOMETRY_VERSION, Fit, Size, plan_geometry
from kontext_engine.saliency import Saliency
from kontext_engine.spec import ModelSpec


class Sizing:
    """Keys steps with what they have besides their parameters; mistakes of theirs are noted."""

    def __init__(
        self,
        review: Review,
        model: ModelSpec,
        libraries: Mapping[str, str],
    ) -> None:
        self._review = review
        self._model = model
        self._libraries = libraries
        self._unseen: list[tuple[Loc, Region, Sequence[ContextRef], Size | None]] = []
        self._models: dict[Loc, tuple[Saliency, SourceImage]] = {}  # that cut, by who names them
        self._sizes: dict[str, Size] = {}  # of pictures, by the keys of their steps
        self._opaque: set[str] = set()  # steps whose pictures have no alpha

    def keyed(
        self,
        node: StepNode,
        params: StepParams,
        contexts: Sequence[ContextRef],
        spelling: Spelling,
    ) -> tuple[str, Mapping[str, Any]]:
        """A step's key, and the fields that its ``Step`` has besides; the last context is its mask,
        if it has one.
        """
        found = region_of(node.spec)
        if node.spec.op == "cutout":
            more: dict[str, Any] = {"method": self._method(node, contexts)}
            key, size = cutout_key(contexts, more["method"]), self._size(contexts[0])
        else:
            size, geometry = self._sized(params, contexts)
            region = None
            if found is not None:
                region, geometry = self._region(node, *found, contexts), 1
                size = self._size(contexts[0])
            more = {"geometry": geometry, "region": region}
            key = extended_key(spelling.key(params, contexts), geometry, region)
            if region is None or region.keeps:
                self._opaque.add(key)
        if size is not None:
            self._sizes[key] = size
        return key, more

    def know(self, key: str, size: Size) -> None:
        """The size of a picture that is not planned here."""
        self._sizes[key] = size

    def _size(self, ref: ContextRef) -> Size | None:
        return self._sizes.get(ref.key) if isinstance(ref, ParentStep) else ref.size

    def _sized(self, params: StepParams, contexts: Sequence[ContextRef]) -> tuple[Size | None, int]:
        sizes = tuple([self._size(ref) for ref in contexts])
        return _sized(sizes, params.size, params.fit, self._model)

    def _region(
        self, node: StepNode, kind: str, said: RegionSpec, contexts: Sequence[ContextRef]
    ) -> Region:
        source, masked = self._size(contexts[0]), said.mask is not None
        loc: Loc = ("steps", node.id, kind)
        at_hand = not masked or len(contexts) > len(node.images)  # else that was told
        box = None
        if said.box is not None:
            box = box_in_pixels(said.box, source)
            if source is not None and (wrong := wrong_box(box, source, kind, said.feather)):
                self._review.wrong((*loc, "box"), wrong)
        mask = self._size(contexts[-1]) if masked and at_hand else None
        if source and mask and source != mask and said.fit is None:
            text = (
                f"the mask is {mask} and the picture {source}; expected the same size; scale the "
                "mask, or say by 'fit' how it is brought there"
            )
            self._review.wrong((*loc, "mask"), text)
        fit = Fit(said.fit) if said.fit is not None else None
        region = Region(kind == "keep", masked, box, said.feather, fit)
        if at_hand and (fit is not None or mask in (None, source)):
            where, first = (*loc, "mask" if masked else "alpha"), contexts[0]
            own = not masked and region.box is None
            if own and isinstance(first, ParentStep) and first.key in self._opaque:
                text = "the picture of a step that paints has no transparency; expected some; "
                self._review.wrong(where, f"{text}give a mask")
            else:
                self._unseen.append((where, region, contexts, source))
        return region

    def look(self) -> None:
        """Open the masks, and the models that cut, of all that was keyed; note what cannot be
        used.
        """
        looking = Looking()
        for loc, (model, ref) in self._models.items():
            if (told := wrong_model(model, ref)) is not None:
                self._review.wrong(loc, told)
        for where, region, contexts, source in self._unseen:
            if (told := looking.wrong(region, contexts, source)) is not None:
                self._review.wrong(where, told)

    def _method(self, node: StepNode, contexts: Sequence[ContextRef]) -> str:
        said, ref = node.spec.cutout, contexts[-1]
        model = None
        at_hand = len(contexts) > len(node.images)  # else that was told
        if said is not None and at_hand and isinstance(ref, SourceImage):
            model = Saliency(ref.digest, (*said.mean,), (*said.std,))  # type: ignore[arg-type]
        try:
            method = cutout_method(self._libraries, model)
        except ModelError as error:
            self._review.wrong(("steps", node.id, "op"), str(error))
            return ""
        if model is not None and isinstance(ref, SourceImage):
            self._models["steps", node.id, "cutout", "model"] = model, ref
        return method


@functools.lru_cache(maxsize=4096)
def _sized(
    contexts: tuple[Size | None, ...], requested: Size | None, fit: Fit, model: ModelSpec
) -> tuple[Size | None, int]:
    """The size that a picture will have, if that is known and it can be made, and the version of
    its rules.
    """
    known = tuple(size for size in contexts if size is not None)
    if len(known) < len(contexts):
        return None, 1
    asked = partial(
        plan_geometry,
        known,
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
