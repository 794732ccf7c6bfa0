"""The same edits through this engine and through a plain loop over diffusers' pipeline.

Both hold the same weights in memory, get the same pictures, prompts, seeds and steps, and take
turns within one run, so that a busy machine slows both. The only module that imports a diffusers
pipeline class.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from kontext_engine.api import (
    EditFailure,
    EditRequest,
    EngineOptions,
    ModelError,
    RequestError,
)
from kontext_engine.catalogue import resolve_model
from kontext_engine.engine import KontextEngine
from kontext_engine.geometry import Size
from kontext_engine.load import Components, load_components
from kontext_engine.spec import Condition, ModelSpec, NumericsProfile

_INSTRUCTIONS = (
    "put it on a beach",
    "make it snow",
    "make the background red",
    "change the background to a forest",
)


@dataclass(frozen=True, slots=True)
class Timing:
    """One side's work: edits done, seconds taken, in which precision and batch."""

    name: str
    dtype: str
    batch: int
    edits: int
    seconds: float

    @property
    def rate(self) -> float:
        """Edits a second."""
        return self.edits / self.seconds


@dataclass(frozen=True, slots=True)
class BenchReport:
    """What was measured, on what.

    ``difference`` is the mean absolute difference of the two sides' pictures in levels of 255:
    about 0 when both ran in float32, a measure of the precision's effect otherwise.
    """

    model: str
    device: str
    threads: int
    size: Size
    steps: int
    ours: Timing
    peer: Timing
    difference: float

    @property
    def ratio(self) -> float:
        """How many times the peer's rate this engine reaches."""
        return self.ours.rate / self.peer.rate

    def table(self) -> str:
        """The report as lines of text."""
        head = (
            f"{self.model}, {self.size}, {self.steps} steps, {self.ours.edits} edits, "
            f"{self.device} ({self.threads} threads)"
        )
        rows = [("", "dtype", "batch", "seconds", "edits/s")]
        rows += [
            (side.name, side.dtype, str(side.batch), f"{side.seconds:.1f}", f"{side.rate:.2f}")
            for side in (self.ours, self.peer)
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        tail = (
            f"ratio {self.ratio:.2f}x; pictures differ by {self.difference:.3f} levels of 255 "
            "on average"
        )
        return "\n".join([head, *lines, tail])


def run_bench(
    model: str,
    edits: int = 64,
    steps: int = 16,
    max_batch: int = 16,
    dtype: str = "float32",
    *,
    peer_dtype: str | None = None,
    device: str = "cpu",
    on_progress: Callable[[int, int], None] | None = None,
) -> BenchReport:
    """Time ``edits`` edits on both sides, in alternating chunks of ``max_batch``.

    Every edit has a picture, prompt and seed of its own, so no cache helps either side. One edit
    on each side goes before, unmeasured.

    Args:
        model: a name or folder, as ``resolve_model`` takes it.
        edits: edits on each side.
        steps: denoise steps an edit.
        max_batch: this engine's batch; the peer, a plain loop, makes one edit at a time.
        dtype: this engine's precision.
        peer_dtype: the peer's; the same as ``dtype`` unless given.
        device: ``cpu`` or ``cuda``.
        on_progress: called with (edits done on both sides, their total).

    Raises:
        ModelError: the model cannot be loaded, or is not a sequence-conditioned one.
        RequestError: fewer than one edit or step.
    """
    if min(edits, steps, max_batch) < 1:
        raise RequestError("bench: edits, steps and max_batch must each be at least 1")
    spec = resolve_model(model)
    if spec.condition is not Condition.SEQUENCE:
        raise ModelError(f"{spec.name}: the benchmark's peer is FluxKontextPipeline; not this kind")
    numerics = NumericsProfile(dtype=dtype, device=device)
    parts = load_components(spec, numerics)
    engine = KontextEngine(spec, EngineOptions(numerics, max_batch), parts)
    peer_numerics = replace(numerics, dtype=peer_dtype or dtype)
    same = peer_numerics == numerics
    peer = _Peer(spec, parts if same else load_components(spec, peer_numerics), device)
    work = _edits(spec, edits + 1, steps)
    return _measure(engine, peer, work, peer_numerics.dtype, on_progress)


def _edits(spec: ModelSpec, count: int, steps: int) -> list[EditRequest]:
    """Distinct edits at the model's own size."""
    return [
        EditRequest(
            id=f"edit-{number}",
            prompt=f"{_INSTRUCTIONS[number % len(_INSTRUCTIONS)]} {number}",
            seed=number,
            steps=steps,
            contexts=(_drawing(spec.default_size, number),),
            guidance=spec.default_guidance if spec.guidance_embedded else None,
        )
        for number in range(count)
    ]


def _drawing(size: Size, seed: int) -> Image.Image:
    """A smooth picture of random colours."""
    colours = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC)


class _Peer:
    """A plain loop over diffusers' pipeline, at the model's own size."""

    def __init__(self, spec: ModelSpec, parts: Components, device: str) -> None:
        from diffusers import FlowMatchEulerDiscreteScheduler, FluxKontextPipeline

        self._size, self._tokens = spec.default_size, spec.text_tokens
        self._pipeline: Any = FluxKontextPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(f"{spec.source}/scheduler"),
            vae=parts.vae,
            text_encoder=parts.text_encoder,
            tokenizer=parts.tokenizer,
            text_encoder_2=parts.text_encoder_2,
            tokenizer_2=parts.tokenizer_2,
            transformer=parts.transformer,
        ).to(device)
        self._pipeline.set_progress_bar_config(disable=True)
        self._guidance = spec.default_guidance

    def run(self, requests: Sequence[EditRequest]) -> list[Image.Image]:
        return [self._edit(request) for request in requests]

    def _edit(self, request: EditRequest) -> Image.Image:
        made = self._pipeline(
            image=request.contexts[0],
            prompt=request.prompt,
            num_inference_steps=request.steps,
            guidance_scale=self._guidance,
            height=self._size.height,
            width=self._size.width,
            max_area=self._size.area,
            _auto_resize=False,
            max_sequence_length=self._tokens,
            generator=torch.Generator("cpu").manual_seed(request.seed),
        )
        picture: Image.Image = made.images[0]
        return picture


def _ours(engine: KontextEngine, requests: Sequence[EditRequest]) -> list[Image.Image]:
    pictures: dict[str, Image.Image] = {}
    for answer in engine.run(requests):
        if isinstance(answer, EditFailure):
            raise ModelError(f"bench: {answer.id} failed: {answer.reason}")
        pictures[answer.id] = answer.image
    return [pictures[request.id] for request in requests]


def _measure(
    engine: KontextEngine,
    peer: _Peer,
    work: list[EditRequest],
    peer_dtype: str,
    on_progress: Callable[[int, int], None] | None,
) -> BenchReport:
    warm, work = work[:1], work[1:]
    chunk = engine.max_batch
    sides: list[Callable[[Sequence[EditRequest]], list[Image.Image]]] = [
        lambda requests: _ours(engine, requests),
        peer.run,
    ]
    for side in sides:
        side(warm)
    seconds = [0.0, 0.0]
    differences: list[float] = []
    for number, start in enumerate(range(0, len(work), chunk)):
        part = work[start : start + chunk]
        pictures: list[list[Image.Image]] = [[], []]
        # Who goes first alternates too: the first finds the caches as the other left them.
        for index in (0, 1) if number % 2 == 0 else (1, 0):
            began = time.perf_counter()
            pictures[index] = sides[index](part)
            seconds[index] += time.perf_counter() - began
        differences += [_difference(*pair) for pair in zip(*pictures, strict=True)]
        if on_progress is not None:
            on_progress(2 * (start + len(part)), 2 * len(work))
    numerics = engine.numerics
    return BenchReport(
        model=engine.spec.name,
        device=numerics.device,
        threads=torch.get_num_threads(),
        size=engine.spec.default_size,
        steps=work[0].steps,
        ours=Timing("this engine", numerics.dtype, chunk, len(work), seconds[0]),
        peer=Timing("diffusers loop", peer_dtype, 1, len(work), seconds[1]),
        difference=float(np.mean(differences)),
    )


def _difference(ours: Image.Image, peer: Image.Image) -> float:
    return float(np.abs(np.asarray(ours, np.int16) - np.asarray(peer, np.int16)).mean())
