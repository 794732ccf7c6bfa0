"""The Kontext engine: a model held resident, requests in, pictures out.

The journey of a batch: prepare -> embed -> encode -> denoise -> decode. Every request has its own
generator and nothing is decided batch-wide, so a request's picture does not depend on its mates.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor

from kontext_engine.api import (
    EditFailure,
    EditRequest,
    EditResult,
    EngineOptions,
    InBatch,
    ModelError,
    Phase,
    RequestError,
    StepCallback,
    StepProgress,
)
from kontext_engine.calllog import CallLog
from kontext_engine.codec import Codec, to_pictures, to_tensor
from kontext_engine.conditioning import PATCH, Grid, pack, pack_mask, position_ids, unpack
from kontext_engine.cutout import answer_cutout
from kontext_engine.geometry import Size
from kontext_engine.judges import answer_judge
from kontext_engine.load import Components, device_and_dtype, load_components
from kontext_engine.masking import hold_of, mask_tensor
from kontext_engine.picture import picture_digest, place_picture
from kontext_engine.prepare import Prepared, alone, answered, grouped, ids_of, prepare
from kontext_engine.recent import Recent
from kontext_engine.sampling import Conditions, Prompt, denoise, sigma_schedule
from kontext_engine.spec import Condition, ModelSpec, NumericsProfile
from kontext_engine.text import TextEncoder, stack

_KEPT_PROMPTS = 64  # 4 MB each for T5-XXL at 512 tokens in bfloat16
_KEPT_PICTURES = 128  # half a megabyte each at one megapixel
_DECODED_PIXELS = 1 << 20  # at once through the VAE: more only costs memory

Answer = EditResult | EditFailure


class KontextEngine:
    """FLUX.1 Kontext inference on diffusers' modules (arXiv 2506.15742).

    Not safe for use by several threads at once: one engine, one caller.
    """

    def __init__(self, spec: ModelSpec, options: EngineOptions, parts: Components) -> None:
        if options.max_batch < 1:
            raise ModelError(f"max_batch: {options.max_batch} is not at least 1")
        self._spec = spec
        self._options = options
        self._device, self._dtype = device_and_dtype(options.numerics)
        self._transformer = parts.transformer
        self._shift = parts.shift
        self._text = TextEncoder(parts, spec.text_tokens, _KEPT_PROMPTS)
        self._codec = Codec(parts.vae)
        self._latents: Recent[str, Tensor] = Recent(_KEPT_PICTURES)
        self._log = CallLog(options.call_log)
        self._masked = self._takes_mask(parts)

    @classmethod
    def load(cls, spec: ModelSpec, options: EngineOptions | None = None) -> KontextEngine:
        """Load ``spec.source`` and hold it.

        Raises:
            ModelError: the folder, the numerics or the device cannot be used.
        """
        options = options or EngineOptions()
        return cls(spec, options, load_components(spec, options.numerics))

    @property
    def spec(self) -> ModelSpec:
        """The model that this engine keeps resident."""
        return self._spec

    @property
    def numerics(self) -> NumericsProfile:
        """The numerics the pictures are made with."""
        return self._options.numerics

    @property
    def max_batch(self) -> int:
        """The most requests that are computed together."""
        return self._options.max_batch

    def run(
        self, requests: Sequence[EditRequest], on_step: StepCallback | None = None
    ) -> Iterator[Answer]:
        """Answer every request, yielding each batch's answers when it is done.

        Raises:
            Cancelled: ``on_step`` raised it; requests not yet answered were not done.
        """
        ready: list[Prepared] = []
        for request in requests:
            if request.cutout:
                yield answer_cutout(request)
                continue
            if request.judge:
                yield answer_judge(request)
                continue
            try:
                ready.append(self._prepare(request))
            except RequestError as error:
                yield self._failed(request.id, str(error))
        for batch in grouped(ready, self._options.max_batch):
            self._log.write("start", ids_of(batch))
            yield from self._answer(batch, on_step)

    def _prepare(self, request: EditRequest) -> Prepared:
        prepared = prepare(request, self._spec)
        for number, context in enumerate(request.contexts, start=1):
            try:
                context.load()  # a lazily opened file may fail only here, not in its mates' batch
            except (OSError, ValueError, SyntaxError) as error:
                raise RequestError(f"context picture {number}: damaged ({error})") from error
        in_channels = self._spec.condition is Condition.CHANNEL
        if in_channels and self._masked != (request.mask is not None):
            wanted = "needs a mask: white where to paint" if self._masked else "takes no mask"
            raise RequestError(f"mask: {self._spec.name} {wanted}")
        return prepared

    def _answer(self, batch: list[Prepared], on_step: StepCallback | None) -> Iterator[Answer]:
        """One batch's answers; out of memory halves the batch until one alone does not fit."""
        try:
            answers = self._compute(batch, on_step)
        except torch.OutOfMemoryError:
            answers = None  # the exception's traceback would keep the tensors alive
        if answers is not None:
            self._log.write("done", [item.id for item in answers if isinstance(item, EditResult)])
            yield from answers
            return
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        if len(batch) == 1:
            target = batch[0].geometry.target
            reason = f"out of memory at {target} alone; use a smaller size or a larger device"
            yield self._failed(batch[0].request.id, reason, retryable=True)
            return
        if batch[0].request.batch is not None:
            yield from self._answer([alone(batch[0])], on_step)
            return
        middle = len(batch) // 2
        yield from self._answer(batch[:middle], on_step)
        yield from self._answer(batch[middle:], on_step)

    def _failed(self, id_: str, reason: str, retryable: bool = False) -> EditFailure:
        self._log.write("failed", [id_])
        return EditFailure(id_, reason, retryable)

    @torch.inference_mode()
    def _compute(self, batch: list[Prepared], on_step: StepCallback | None) -> list[Answer]:
        start = time.perf_counter()
        ids = ids_of(batch)
        steps = batch[0].request.steps

        def report(step: int, phase: Phase = Phase.DENOISE) -> None:
            if on_step is not None:
                on_step(StepProgress(ids, step, steps, phase))

        report(0, Phase.ENCODE)
        conditions, notes = self._conditions(batch)
        grid = self._grid(batch[0].geometry.target)
        sigmas = sigma_schedule(steps, grid.tokens, self._shift).to(self._device)
        noise = pack(torch.cat([self._noise(item) for item in batch])).to(self._device)
        held = batch[0].shape.masked and not self._masked
        hold = hold_of(batch, self._first, self._codec.scale) if held else None
        tokens = denoise(self._transformer, noise, sigmas, conditions, report, hold)
        report(steps, Phase.DECODE)
        pictures = self._decode(unpack(tokens, grid))
        share = (time.perf_counter() - start) / len(ids)

        def result(place: int) -> Answer:
            item, picture = batch[place], pictures[place]
            if picture is None:
                reason = (
                    "the model's numbers overflowed (not finite); try another dtype or guidance"
                )
                return self._failed(item.request.id, reason)
            image, told = picture.crop(item.geometry.output_box), item.notes + notes[place]
            where = InBatch(place, len(batch))
            return EditResult(item.request.id, image, item.geometry, share, told, batch=where)

        return [result(place) for place in answered(batch)]

    def _conditions(self, batch: list[Prepared]) -> tuple[Conditions, list[tuple[str, ...]]]:
        """What steers the batch, and what each request's caller should know about its prompt."""
        embeddings = self._text.embed([item.request.prompt for item in batch])
        limit = f"the prompt is longer than {self._spec.text_tokens} tokens: its end was ignored"
        notes: list[tuple[str, ...]] = [(limit,) if item.truncated else () for item in embeddings]
        shape = batch[0].shape
        sequence = self._spec.condition is Condition.SEQUENCE
        ids = position_ids(
            self._grid(shape.target),
            [self._grid(size) for size in shape.contexts] if sequence else [],
            self._spec.context_ids,
        )
        conditions = Conditions(stack(embeddings), ids.to(self._device))
        if self._spec.guidance_embedded:
            conditions = replace(
                conditions, guidance=self._per_request([i.guidance for i in batch])
            )
        if shape.cfg:
            scale = self._per_request([item.request.true_cfg for item in batch])
            conditions = replace(conditions, negative=self._negative(batch), scale=scale)
        if not shape.contexts:
            return conditions, notes
        tokens = torch.cat([self._context_tokens(item) for item in batch]).to(self._dtype)
        if sequence:
            return replace(conditions, context=tokens), notes
        return replace(conditions, channels=tokens), notes

    def _negative(self, batch: list[Prepared]) -> Prompt:
        return stack(self._text.embed([item.request.negative_prompt or "" for item in batch]))

    def _per_request(self, values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self._device)

    def _context_tokens(self, item: Prepared) -> Tensor:
        """One request's contexts as tokens (1, m, c): in sequence, or with a mask's channels."""
        placed = [
            place_picture(context.convert("RGB"), placement)
            for context, placement in zip(
                item.request.contexts, item.geometry.contexts, strict=True
            )
        ]
        if not self._masked:
            return torch.cat([pack(self._encode(picture)) for picture in placed], dim=1)
        # A region to fill is hidden from the model: mid-grey, 0 in -1..1.
        mask = mask_tensor(item)
        hidden = self._codec.encode(to_tensor(placed) * (1.0 - mask))
        return torch.cat([pack(hidden), pack_mask(mask.to(hidden), self._codec.scale)], dim=2)

    def _first(self, item: Prepared) -> Tensor:
        """The latents of a request's first context, placed."""
        first = item.request.contexts[0].convert("RGB")
        return self._encode(place_picture(first, item.geometry.contexts[0]))

    def _encode(self, picture: Image.Image) -> Tensor:
        """A placed picture's latents (1, c, h, w), remembered: chains share their contexts."""
        key = picture_digest(picture)
        latents = self._latents.get(key)
        if latents is None:
            latents = self._codec.encode(to_tensor([picture]))
            self._latents.put(key, latents)
        return latents

    def _noise(self, item: Prepared) -> Tensor:
        """A request's own noise (1, c, h, w), the same on every device: drawn on the CPU."""
        width, height = item.geometry.target
        generator = torch.Generator("cpu").manual_seed(item.request.seed)
        scale = self._codec.scale
        shape = (1, self._codec.channels, height // scale, width // scale)
        return torch.randn(shape, generator=generator, dtype=torch.float32)

    def _decode(self, latents: Tensor) -> list[Image.Image | None]:
        """Each latent's picture; ``None`` where it is not finite."""
        area = latents.shape[-2] * latents.shape[-1] * self._codec.scale**2
        pictures: list[Image.Image | None] = []
        for part in torch.split(latents, max(1, _DECODED_PIXELS // area)):
            pixels = self._codec.decode(part)
            finite = (_finite(part) & _finite(pixels)).tolist()
            made = to_pictures(pixels.nan_to_num())
            pictures += [picture if ok else None for picture, ok in zip(made, finite, strict=True)]
        return pictures

    def _grid(self, size: Size) -> Grid:
        patch = PATCH * self._codec.scale
        return Grid(size.height // patch, size.width // patch)

    def _takes_mask(self, parts: Components) -> bool:
        """Whether the transformer's input has a mask's channels; checks it against the spec.

        Raises:
            ModelError: the weights are not of the kind that the spec says.
        """
        config = parts.transformer.config
        latent = self._codec.channels * PATCH * PATCH
        extra = int(config.in_channels) - latent
        masked = latent + (self._codec.scale * PATCH) ** 2
        expected = (0,) if self._spec.condition is Condition.SEQUENCE else (latent, masked)
        if extra not in expected or bool(config.guidance_embeds) != self._spec.guidance_embedded:
            raise ModelError(
                f"{self._spec.source}: the transformer ({config.in_channels} input channels, "
                f"guidance_embeds {config.guidance_embeds}) is not what the model's spec says "
                f"(condition {self._spec.condition}, guidance_embedded "
                f"{self._spec.guidance_embedded}); correct kontext.json or the weights"
            )
        return extra == masked


def _finite(values: Tensor) -> Tensor:
    """Which items of a batch (b, ...) hold only finite numbers: (b,) of bool."""
    return values.isfinite().flatten(1).all(dim=1)
