"""Distillation to few steps: latent adversarial diffusion distillation (arXiv 2403.12015).

The student begins as the teacher. At the times of a sampler of one, two or four steps it makes the
picture in one go; noised again, that picture and the paired target go through the frozen teacher,
and small heads on its blocks' features tell them apart, token by token, knowing context and words.
The student is to be taken for the target where an edit changes something (of tokens that are only
copied nothing is learned), and still has to reach it: the reconstruction is kept.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kontext_engine.conditioning import pack
from kontext_engine.mixed import mixed
from kontext_engine.sampling import Conditions, velocity
from kontext_engine.training.corpus import Batch, Corpus
from kontext_engine.training.critic import critic_loss
from kontext_engine.training.flow import FlowRun, FlowTrainer
from kontext_engine.training.losses import change_weights
from kontext_engine.training.miniature import Miniature
from kontext_engine.training.times import few_step_times, noise_times


@dataclass(frozen=True, slots=True)
class DistillRun(FlowRun):
    """A run of distillation; ``adversarial`` weighs the critic's part, 0 leaves it out.

    The critic learns alone for its first ``ahead`` steps: what it says before means nothing.
    """

    adversarial: float = 0.1
    ahead: int = 50


class Heads(nn.Module):
    """One small head on every block's features: how much a token looks like a target's."""

    def __init__(self, blocks: int, width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, width // 2), nn.SiLU(),
                nn.Linear(width // 2, 1),
            )
            for _ in range(blocks)
        )  # fmt: skip

    def forward(self, features: list[Tensor]) -> Tensor:
        """Features (b, tokens, width) of every block to logits (b, tokens): the heads' mean."""
        told = [head(seen) for head, seen in zip(self.heads, features, strict=True)]
        return torch.stack(told).float().mean(0)[..., 0]


class Distiller(FlowTrainer):
    """Trains the transformer alone; the text encoders stay the teacher's."""

    run: DistillRun

    def __init__(
        self, model: Miniature, corpus: Corpus, run: DistillRun, device: torch.device | None = None
    ) -> None:
        for encoder in (model.text_encoder, model.text_encoder_2):
            encoder.requires_grad_(False)
        super().__init__(model, corpus, run, device)
        teacher: Any = copy.deepcopy(self.modules["transformer"])
        self.teacher = teacher.eval().requires_grad_(False)
        self._blocks = [*teacher.transformer_blocks, *teacher.single_transformer_blocks]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            self.heads = Heads(len(self._blocks), teacher.inner_dim).to(self.device)
        self._critic = torch.optim.AdamW(self.heads.parameters(), lr=run.peak, betas=(0.5, 0.99))
        self._seen: tuple[list[Tensor], list[Tensor], Tensor] | None = None

    def step(self) -> float:
        """One step of the student, then one of the critic; returns the batch's loss."""
        rate, told = self.rate(), super().step()
        if self._seen is not None:
            true, made, weights = self._seen
            for group in self._critic.param_groups:
                group["lr"] = rate
            self.heads.requires_grad_(True)
            with mixed(self.device):
                on_true, on_made = self.heads(true), self.heads(made)
            torch.autograd.backward(critic_loss(on_true, on_made, weights))
            self._critic.step()
            self._critic.zero_grad(set_to_none=True)
            self._seen = None
        return told

    def _state(self) -> dict[str, Any]:
        more = {"heads": self.heads.state_dict(), "critic": self._critic.state_dict()}
        return super()._state() | more

    def _go_on(self, state: dict[str, Any]) -> None:
        self.heads.load_state_dict(state["heads"])
        self._critic.load_state_dict(state["critic"])

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        source = torch.Generator().manual_seed(self.run.seed * 1_000_003 + self.done)
        target = pack(batch.target).to(self.device)
        noise, again = (
            pack(torch.randn(batch.target.shape, generator=source)).to(self.device)
            for _ in range(2)
        )
        count, tokens = target.shape[:2]
        times = few_step_times(count, tokens, source).to(self.device)
        later = noise_times(count, tokens, self.run.early, source).to(self.device)
        with torch.no_grad():
            conditions, context = self._conditions(batch, source)
        weights = change_weights(target, context, self.run.change_share)
        noisy = _noised(target, noise, times)
        with mixed(self.device):
            predicted = velocity(self.modules["transformer"], noisy, times, conditions)
        errors = (predicted.float() - (noise - target)).pow(2).mean(dim=2)
        loss = (errors * weights).mean(dim=1)
        if self.run.adversarial:
            made = noisy - times[:, None, None] * predicted
            seen = self._features(_noised(made, again, later), later, conditions)
            with torch.no_grad():
                true = self._features(_noised(target, again, later), later, conditions)
            if self.done >= self.run.ahead:
                self.heads.requires_grad_(False)
                with mixed(self.device):
                    wish = -self.heads(seen)
                loss = loss + self.run.adversarial * (wish * weights).mean(dim=1)
            self._seen = (true, [one.detach() for one in seen], weights)
        return times, errors.mean(dim=1), loss

    def _features(self, noisy: Tensor, times: Tensor, conditions: Conditions) -> list[Tensor]:
        """What every block of the teacher makes of the target's tokens, (b, tokens, width)."""
        with _watched(self._blocks) as seen, mixed(self.device):
            velocity(self.teacher, noisy, times, conditions)
        return [one[:, : noisy.shape[1]] for one in seen]


@contextmanager
def _watched(blocks: list[nn.Module]) -> Iterator[list[Tensor]]:
    """The visual stream that each block puts out, in order, of what is run within."""
    seen: list[Tensor] = []

    def watch(_module: nn.Module, _given: object, made: tuple[Tensor, Tensor]) -> None:
        seen.append(made[1])

    hooks = [block.register_forward_hook(watch) for block in blocks]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _noised(picture: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    return torch.lerp(picture, noise, times[:, None, None])
