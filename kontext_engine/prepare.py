"""Requests checked, sized and grouped, before anything is computed. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from kontext_engine.api import EditRequest, RequestError
from kontext_engine.geometry import Fit, GeometryRecord, Placement, Size, plan_geometry
from kontext_engine.spec import Condition, ModelSpec

MAX_STEPS = 1000  # a schedule finer than the model's own training times is a typing error
_NOTED_LOSS = 0.05  # share of a picture's area whose loss is worth a note
_NOTED_GROWTH = 4.0  # times a side grows: beyond, a picture is mostly made up by the scaling


@dataclass(frozen=True, slots=True)
class Shape:
    """What requests must share to be computed together."""

    target: Size
    contexts: tuple[Size, ...]
    steps: int
    cfg: bool
    masked: bool


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that can be carried out: its sizes, its guidance, what to tell the caller."""

    request: EditRequest
    geometry: GeometryRecord
    guidance: float
    cfg: bool
    notes: tuple[str, ...]

    @property
    def shape(self) -> Shape:
        """The group this request belongs to."""
        return Shape(
            target=self.geometry.target,
            contexts=tuple(placement.size for placement in self.geometry.contexts),
            steps=self.request.steps,
            cfg=self.cfg,
            masked=self.request.mask is not None,
        )


def prepare(request: EditRequest, spec: ModelSpec) -> Prepared:
    """Check a request against a model and decide its sizes.

    Raises:
        RequestError: the model cannot carry it out; the message says what it could.
    """
    _check_numbers(request)
    _check_contexts(request, spec)
    geometry = plan_geometry(
        [Size(*context.size) for context in request.contexts],
        request.size,
        request.fit,
        area=spec.pixel_area,
        multiple=spec.multiple,
        default=spec.default_size,
    )
    return Prepared(
        request=request,
        geometry=geometry,
        guidance=spec.default_guidance if request.guidance is None else float(request.guidance),
        cfg=request.true_cfg > 1.0,
        notes=tuple(_notes(request, spec, geometry)),
    )


def _check_numbers(request: EditRequest) -> None:
    if not 1 <= request.steps <= MAX_STEPS:
        raise RequestError(f"steps: {request.steps} is not between 1 and {MAX_STEPS}")
    if not 0 <= request.seed < 2**63:
        raise RequestError(f"seed: {request.seed} is not between 0 and 2^63 - 1")
    for name, value in (("guidance", request.guidance), ("true_cfg", request.true_cfg)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise RequestError(f"{name}: {value} is not a finite number of at least 0")
    if request.batch is not None and not 0 <= request.batch.place < request.batch.size:
        raise RequestError(f"batch: {tuple(request.batch)} is no place in a batch of that size")


def _check_contexts(request: EditRequest, spec: ModelSpec) -> None:
    count = len(request.contexts)
    if spec.condition is Condition.CHANNEL and count != 1:
        raise RequestError(f"{spec.name} takes exactly 1 context picture, not {count}")
    if spec.condition is Condition.CHANNEL and request.fit is Fit.WHOLE:
        raise RequestError(f"fit: 'whole' is not for {spec.name}: its context lies on the target")
    if count > spec.max_contexts:
        raise RequestError(
            f"{count} context pictures: {spec.name} takes at most {spec.max_contexts}"
        )
    if request.mask is not None:
        if not count or request.fit is Fit.WHOLE:
            raise RequestError("mask: there is no context picture that lies on the target")
        if request.mask.size != request.contexts[0].size:
            raise RequestError(
                f"mask: its size {Size(*request.mask.size)} is not the context picture's, "
                f"{Size(*request.contexts[0].size)}"
            )


def _notes(request: EditRequest, spec: ModelSpec, geometry: GeometryRecord) -> Iterator[str]:
    if request.guidance is not None and not spec.guidance_embedded:
        yield f"guidance {request.guidance:g} was ignored: {spec.name} has no guidance input"
    if request.negative_prompt and request.true_cfg <= 1.0:
        yield "the negative prompt was ignored: it acts only with true_cfg above 1"
    for number, placement in enumerate(geometry.contexts, start=1):
        if placement.lost > _NOTED_LOSS:
            remedy = "; fit: whole would keep it all" if number == 1 and request.size else ""
            yield (
                f"context picture {number}: {placement.lost:.0%} of its area was cut off to bring "
                f"{placement.source} to {placement.size} (fit: {placement.fit}{remedy})"
            )
        growth = max(
            placement.scaled.width / placement.source.width,
            placement.scaled.height / placement.source.height,
        )
        if growth > _NOTED_GROWTH:
            yield (
                f"context picture {number} is only {placement.source}: it was enlarged "
                f"{growth:.0f} times; a larger original would show more"
            )
        if placement.fit is Fit.STRETCH and _aspect_change(placement) > 1.0 + _NOTED_LOSS:
            yield (
                f"context picture {number} was stretched from {placement.source} "
                f"to {placement.size} (fit: stretch)"
            )


def _aspect_change(placement: Placement) -> float:
    before = placement.source.width / placement.source.height
    after = placement.size.width / placement.size.height
    return max(before / after, after / before)


def grouped(prepared: Iterable[Prepared], max_batch: int) -> list[list[Prepared]]:
    """Batches of one shape each, at most ``max_batch`` long, in order of first appearance.

    One that asks for its place in a batch is one by itself, of copies: of these it is told by
    ``answered`` which one is meant.
    """
    groups: dict[Shape, list[Prepared]] = {}
    again: list[list[Prepared]] = []
    for item in prepared:
        if item.request.batch is None:
            groups.setdefault(item.shape, []).append(item)
        else:
            again.append([item] * item.request.batch.size)
    fresh = [
        group[start : start + max_batch]
        for group in groups.values()
        for start in range(0, len(group), max_batch)
    ]
    return fresh + again


def answered(batch: Sequence[Prepared]) -> Sequence[int]:
    """The places of a batch whose pictures are wanted: all, or the one that was asked for."""
    asked = batch[0].request.batch
    return range(len(batch)) if asked is None else (asked.place,)


def ids_of(batch: Sequence[Prepared]) -> tuple[str, ...]:
    """The requests that a batch answers."""
    return tuple(batch[place].request.id for place in answered(batch))


def alone(item: Prepared) -> Prepared:
    """The same, computed by itself."""
    return replace(item, request=replace(item.request, batch=None))
