"""An engine without a model, for tests of the pipeline around it. Torch-free.

It answers by the same rules as the real one (sizes, batches, refusals, progress, call log) with a
picture that is a pure function of the request: change anything that a key covers and it changes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from kontext_engine.api import (
    EditFailure,
    EditRequest,
    EditResult,
    EngineOptions,
    InBatch,
    Phase,
    RequestError,
    StepCallback,
    StepProgress,
)
from kontext_engine.calllog import CallLog
from kontext_engine.cutout import answer_cutout
from kontext_engine.geometry import Size
from kontext_engine.judges import answer_judge
from kontext_engine.picture import picture_digest
from kontext_engine.prepare import Prepared, answered, grouped, ids_of, prepare
from kontext_engine.spec import ModelSpec, NumericsProfile

FAKE_SPEC = ModelSpec(
    name="fake",
    source="fake",
    digest=hashlib.sha256(b"kontext fake engine 1").hexdigest(),
    pixel_area=64 * 64,
    default_size=Size(64, 64),
    sizes=(),
    text_tokens=64,
    default_steps=4,
    default_guidance=2.5,
    guidance_embedded=True,
    max_contexts=4,
)


@dataclass(frozen=True, slots=True)
class FakeFaults:
    """What goes wrong on purpose: requests named by id, or whose prompt contains given words."""

    ids: frozenset[str] = frozenset()
    prompts: tuple[str, ...] = ()
    retryable: bool = False

    def hits(self, request: EditRequest) -> bool:
        """Whether this request is to fail."""
        return request.id in self.ids or any(words in request.prompt for words in self.prompts)


@dataclass(frozen=True, slots=True)
class FakeEngine:
    """Deterministic pictures from a hash of the request.

    ``seconds_per_edit`` is slept in equal parts after each step, so that progress and
    cancellation can be watched.
    """

    spec: ModelSpec = FAKE_SPEC
    options: EngineOptions = field(default_factory=EngineOptions)
    faults: FakeFaults = field(default_factory=FakeFaults)
    seconds_per_edit: float = 0.0

    @property
    def numerics(self) -> NumericsProfile:
        """The profile it was given; its pictures do not depend on it."""
        return self.options.numerics

    def run(
        self, requests: Sequence[EditRequest], on_step: StepCallback | None = None
    ) -> Iterator[EditResult | EditFailure]:
        """Answer every request, batch by batch, as ``api.Engine.run`` says."""
        log = CallLog(self.options.call_log)
        ready: list[Prepared] = []
        for request in requests:
            if request.cutout:
                yield answer_cutout(request)
                continue
            if request.judge:
                yield answer_judge(request)
                continue
            try:
                ready.append(prepare(request, self.spec))
            except RequestError as error:
                log.write("failed", [request.id])
                yield EditFailure(request.id, str(error))
        for batch in grouped(ready, self.options.max_batch):
            log.write("start", ids_of(batch))
            self._work(batch, on_step)
            for place in answered(batch):
                answer = self._answer(batch[place], InBatch(place, len(batch)))
                log.write("done" if isinstance(answer, EditResult) else "failed", [answer.id])
                yield answer

    def _work(self, batch: list[Prepared], on_step: StepCallback | None) -> None:
        ids = ids_of(batch)
        steps = batch[0].request.steps

        def report(step: int, phase: Phase) -> None:
            if on_step is not None:
                on_step(StepProgress(ids, step, steps, phase))

        report(0, Phase.ENCODE)
        for step in range(1, steps + 1):
            time.sleep(self.seconds_per_edit * len(ids) / steps)
            report(step, Phase.DENOISE)
        report(steps, Phase.DECODE)

    def _answer(self, item: Prepared, where: InBatch) -> EditResult | EditFailure:
        request = item.request
        if self.faults.hits(request):
            return EditFailure(request.id, "failed on purpose", self.faults.retryable)
        picture = fake_picture(request, item.geometry.target, self.spec.digest)
        image = picture.crop(item.geometry.output_box)
        return EditResult(
            request.id, image, item.geometry, self.seconds_per_edit, item.notes, batch=where
        )


def fake_picture(request: EditRequest, size: Size, weights: str) -> Image.Image:
    """A gradient in the colours of a SHA-256 over all that names the pixels (so not the id)."""
    named = {
        "weights": weights,
        "prompt": request.prompt,
        "seed": request.seed,
        "steps": request.steps,
        "contexts": [picture_digest(context) for context in request.contexts],
        "size": size,
        "fit": request.fit,
        "guidance": request.guidance,
        "negative_prompt": request.negative_prompt,
        "true_cfg": request.true_cfg,
        "mask": picture_digest(request.mask) if request.mask else None,
    }
    digest = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).digest()
    corners = np.frombuffer(digest[:12], dtype=np.uint8).reshape(2, 2, 3)
    return Image.fromarray(corners).resize(size, Image.Resampling.BILINEAR)
