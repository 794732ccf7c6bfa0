"""The flow-matching trainer: text-to-image and editing in one model (arXiv 2506.15742, section 3).

z_t = (1 - t) x + t eps; the loss is || v(z_t, t, y, c) - (eps - x) ||^2 on the target's tokens
alone, shared between those that change and those that stay; t is logit-normal with the
resolution-dependent shift. Dropping the context y makes text-to-image. Every random number
derives from (seed, step).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kontext_engine.conditioning import Grid, grid_of, pack, position_ids
from kontext_engine.mixed import mixed
from kontext_engine.sampling import Conditions, Prompt, velocity
from kontext_engine.spec import ContextIds
from kontext_engine.training import checkpoint
from kontext_engine.training.average import moving_average
from kontext_engine.training.corpus import Batch, Corpus, Earlier
from kontext_engine.training.errors import TrainingError
from kontext_engine.training.interrupt import whole_steps
from kontext_engine.training.losses import change_weights
from kontext_engine.training.meter import Meter
from kontext_engine.training.miniature import Miniature
from kontext_engine.training.optimizers import Optimizers
from kontext_engine.training.schedule import learning_rate
from kontext_engine.training.times import noise_times
from kontext_engine.training.wear import redrawn, worn

APART = 0.1  # of compiled gradients from plain ones: bfloat16 rounds a few percent


@dataclass(frozen=True, slots=True)
class FlowRun:
    """One training run: where its checkpoints live, how long, how fast."""

    folder: Path
    steps: int
    batch: int = 64
    peak: float = 1e-3
    warmup: int = 150
    decay_from: float = 0.6
    ema: float = 0.998
    weight_decay: float = 0.02
    change_share: float = 0.6  # see change_weights
    wear: float = 0.3  # see worn
    redrawn: float = 0.25  # see redrawn
    early: float = 0.4  # see noise_times
    begun_from: str = ""  # the weights it starts from, for a run to be known again; "": none
    latents: str = ""  # the digest of the autoencoder whose latents are learned
    clip: float = 1.0
    seed: int = 0
    save_every: int = 250
    grid_every: int = 1000


@dataclass(frozen=True, slots=True)
class Progress:
    """What a trainer tells after every ``every`` steps."""

    step: int
    steps: int
    rate: float
    means: dict[str, float]


class FlowTrainer:
    """Holds the modules, their average and the optimizer; one ``step`` at a time.

    Raises:
        FloatingPointError: the loss is no longer finite.
    """

    def __init__(
        self, model: Miniature, corpus: Corpus, run: FlowRun, device: torch.device | None = None
    ) -> None:
        self.run, self.corpus = run, corpus
        self.device = device or torch.device("cpu")
        self.model = model
        self.modules: nn.ModuleDict = model.modules().to(self.device).train()
        transformer: Any = self.modules["transformer"]
        if self.device.type == "cpu":
            # Plain matrix products: the fused attention's backward pass is slower at these short
            # sequences (24 pictures a second for 35 on two cores with AMX).
            transformer.set_attention_backend("_native_math")
        self.average = moving_average(self.modules, run.ema)
        self.optimizer = Optimizers(self.modules, run.peak, run.weight_decay)
        self.done = 0
        self.meter = Meter()
        self._tokens: dict[str, tuple[Tensor, Tensor]] = {}
        self._ids: dict[tuple[Grid, ...], Tensor] = {}

    def compile(self) -> None:
        """Compile the transformer's blocks; some minutes, then a fifth faster on two cores.

        Raises:
            TrainingError: the compiled blocks' gradients are not those of the plain ones. Seen with
                torch 2.13 in bfloat16 on a CPU with AMX: the loss is right and they are no numbers.
        """
        transformer: Any = self.modules["transformer"]
        plain = self._gradients()
        transformer.compile_repeated_blocks(fullgraph=True)
        apart = float((self._gradients() - plain).norm() / plain.norm())
        if not apart <= APART:
            raise TrainingError(
                f"--compile: compiled here, a step's gradients are {apart:.0%} off; expected "
                f"{APART:.0%} at most; train without --compile on this machine"
            )

    def _gradients(self) -> Tensor:
        """Those of the step to come, all in one vector; none is left behind."""
        _, _, weighted = self._losses(self.corpus.batch(self.done, self.run.batch))
        torch.autograd.backward(weighted.mean())
        found = [p.grad.flatten() for p in self.modules.parameters() if p.grad is not None]
        self.modules.zero_grad(set_to_none=True)
        return torch.cat(found)

    def resume(self) -> bool:
        """Continue from the newest checkpoint of the run's folder, if there is one.

        Raises:
            TrainingError: it is damaged, of another model, or of a run begun from other weights or
                on other latents.
        """
        folder = self.run.folder
        state = checkpoint.load_newest(folder)
        if state is None:
            return False
        if state.get("begun_from") != self.run.begun_from:
            raise TrainingError(
                f"{folder}: the run there began from other weights than --init names now; move "
                "that folder away to begin anew, or name the same weights to go on"
            )
        if state.get("latents", "") != self.run.latents:
            raise TrainingError(
                f"{folder}: the run there learned other latents than the corpus holds now; move "
                "that folder away to begin anew"
            )
        try:
            self.modules.load_state_dict(state["modules"])
            self.average.load_state_dict(state["average"])
        except (KeyError, RuntimeError) as error:
            raise TrainingError(
                f"{folder}: the checkpoint there is of another model; move that folder away"
            ) from error
        self.optimizer.load_state_dict(state["optimizer"])
        self._go_on(state)
        self.done = state["step"]
        return True

    def save(self) -> Path:
        """Write an atomic checkpoint."""
        return checkpoint.save(self.run.folder, self.done, self._state())

    def _state(self) -> dict[str, Any]:
        """All that a run goes on from, bit for bit."""
        return {
            "modules": self.modules.state_dict(), "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(), "step": self.done,
            "begun_from": self.run.begun_from, "latents": self.run.latents,
        }  # fmt: skip

    def _go_on(self, state: dict[str, Any]) -> None:
        """Take up what a trainer of another kind keeps besides."""

    def step(self) -> float:
        """One optimizer step; returns the batch's loss."""
        run = self.run
        batch = self.corpus.batch(self.done, run.batch)
        times, losses, weighted = self._losses(batch)
        loss = weighted.mean()
        if not math.isfinite(loss.item()):
            raise FloatingPointError(
                f"{run.folder}: the loss is {loss.item()} at step {self.done};"
                " lower --peak and resume from the last checkpoint"
            )
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.modules.parameters(), run.clip)
        self.optimizer.step(self.rate())
        self.average.update_parameters(self.modules)
        self.done += 1
        self.meter.add(times, losses.detach(), batch.categories)
        return loss.item()

    def rate(self) -> float:
        """The learning rate of the step to come."""
        run = self.run
        return learning_rate(
            self.done, peak=run.peak, warmup=run.warmup, total=run.steps, decay_from=run.decay_from
        )

    def train(
        self,
        report: Callable[[Progress], None] | None = None,
        every: int = 50,
        on_grid: Callable[[int, Miniature], None] | None = None,
    ) -> None:
        """Run to ``run.steps``; saves every ``save_every`` steps, at the end and on Ctrl-C.

        Raises:
            KeyboardInterrupt: after Ctrl-C, when the step is done and saved.
        """
        run = self.run
        with whole_steps() as stopped:
            while self.done < run.steps:
                self.step()
                if self.done % every == 0 and report:
                    report(Progress(self.done, run.steps, self.rate(), self.meter.read()))
                if self.done % run.save_every == 0:
                    self.save()
                if on_grid and self.done % run.grid_every == 0:
                    on_grid(self.done, self.averaged())
                if stopped():
                    self.save()
                    raise KeyboardInterrupt
        self.save()

    def averaged(self) -> Miniature:
        """The averaged weights as modules of their own (shared storage, evaluation mode)."""
        kept: Any = self.average.module.eval()
        return Miniature(
            kept["transformer"],
            kept["text_encoder"],
            kept["text_encoder_2"],
            self.model.tokenizer,
            self.model.tokenizer_2,
        )

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Times, losses, and losses weighted by what changes, each (b,), of one batch."""
        noise_source = torch.Generator().manual_seed(self.run.seed * 1_000_003 + self.done)
        target = pack(batch.target).to(self.device)
        noise = pack(torch.randn(batch.target.shape, generator=noise_source)).to(self.device)
        count, tokens = target.shape[:2]
        times = noise_times(count, tokens, self.run.early, noise_source).to(self.device)
        noisy = (1 - times[:, None, None]) * target + times[:, None, None] * noise
        conditions, context = self._conditions(batch, noise_source)
        with mixed(self.device):
            predicted = velocity(self.modules["transformer"], noisy, times, conditions)
        errors = (predicted.float() - (noise - target)).pow(2).mean(dim=2)
        weights = change_weights(target, context, self.run.change_share)
        return times, errors.mean(dim=1), (errors * weights).mean(dim=1)

    def _conditions(
        self, batch: Batch, source: torch.Generator
    ) -> tuple[Conditions, Tensor | None]:
        """What a batch is steered by, and its first context's tokens as they were, unworn."""
        if not batch.contexts:
            return self._steered(batch.prompts, batch.target, ()), None
        first, *others = batch.contexts
        seen = redrawn(first, batch.earlier, self.run.redrawn, source, self._led)
        shown = (worn(seen, self.run.wear, source), *others)
        return self._steered(batch.prompts, first, shown), pack(first).to(self.device)

    def _led(self, noisy: Tensor, times: Tensor, earlier: Earlier) -> Tensor:
        """The velocity under the edits that lead to a batch's contexts, on the CPU."""
        conditions = self._steered(earlier.prompts, earlier.context, (earlier.context,))
        tokens, times = noisy.to(self.device), times.to(self.device)
        with mixed(self.device):
            return velocity(self.modules["transformer"], tokens, times, conditions).float().cpu()

    def _steered(
        self, prompts: tuple[str, ...], target: Tensor, contexts: Sequence[Tensor]
    ) -> Conditions:
        """What pictures of the size of ``target`` are steered by; text states with gradients."""
        sizes = [grid_of(one) for one in (target, *contexts)]
        positions = self._ids.get(key := tuple(sizes))
        if positions is None:
            positions = position_ids(sizes[0], sizes[1:], ContextIds.INDEX).to(self.device)
            self._ids[key] = positions
        given = [pack(one) for one in contexts]
        with mixed(self.device):
            prompt = self._embed(prompts)
        return Conditions(
            prompt, positions, torch.cat(given, dim=1).to(self.device) if given else None
        )

    def _embed(self, prompts: tuple[str, ...]) -> Prompt:
        rows = [self._tokenize(p) for p in prompts]
        clip, t5 = (torch.cat(ids).to(self.device) for ids in zip(*rows, strict=True))
        return self.model.embed(clip, t5)

    def _tokenize(self, prompt: str) -> tuple[Tensor, Tensor]:
        if prompt not in self._tokens:
            if len(self._tokens) > 200_000:
                self._tokens.clear()
            self._tokens[prompt] = self.model.tokenize([prompt])
        return self._tokens[prompt]
