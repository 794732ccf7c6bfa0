"""The trainers' optimizers: Muon for the blocks' matrices and kernels, AdamW for everything else.

Muon (torch.optim) turns each matrix's momentum into its nearest orthogonal matrix, so that no
direction of a weight is starved; its step is scaled to AdamW's root mean square, so both walk
the same learning rate. torch's own finds that matrix in bfloat16; where a processor only imitates
bfloat16 (``mixed``), most of a training step went there, so it is found in float32.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from kontext_engine.mixed import has_bfloat16
from kontext_engine.training.errors import TrainingError

# Tables, and the transformer's two ends: their rows are looked up, or face latents and text, where
# a step of equal size in every direction is not what one wants.
_ENDS = ("embed", "shared", "transformer.proj_out", "coder.conv_in", "coder.conv_out")


class Optimizers:
    """Steps every parameter of ``modules``; weight decay on Muon's matrices alone.

    A kernel of a convolution is the matrix from all it looks at to its channels. It has to be in
    channels-last order, so that this matrix shares its memory.
    """

    def __init__(self, modules: nn.Module, rate: float, weight_decay: float) -> None:
        named = [(n, p) for n, p in modules.named_parameters() if p.requires_grad]
        matrices = [p for n, p in named if p.ndim in (2, 4) and not _is_end(n)]
        chosen = {id(p) for p in matrices}
        rest = [p for _, p in named if id(p) not in chosen]
        self._kernels = [(p, nn.Parameter(_matrix(p.data))) for p in matrices if p.ndim == 4]
        flat = {id(kernel): matrix for kernel, matrix in self._kernels}
        able = all(has_bfloat16(p.device) for p in matrices)
        muon = torch.optim.Muon if able else FullMuon
        self._parts: tuple[torch.optim.Optimizer, ...] = (
            muon(
                [flat.get(id(p), p) for p in matrices],
                lr=rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw",
            ),
            torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
        )  # fmt: skip

    def step(self, rate: float) -> None:
        """One step at this learning rate; the gradients are dropped."""
        for kernel, matrix in self._kernels:
            if kernel.grad is not None:
                matrix.grad = kernel.grad.permute(0, 2, 3, 1).flatten(1)
                kernel.grad = None
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """What ``load_state_dict`` goes on from, bit for bit."""
        return [part.state_dict() for part in self._parts]

    def load_state_dict(self, state: object) -> None:
        """Go on from a saved state.

        Raises:
            TrainingError: it is of another optimizer.
        """
        if not isinstance(state, list) or len(state) != len(self._parts):
            raise TrainingError(
                "the checkpoint was written with another optimizer; start from its model with "
                "--init and an empty checkpoint folder"
            )
        for part, saved in zip(self._parts, state, strict=True):
            part.load_state_dict(saved)


class FullMuon(torch.optim.Muon):
    """torch's Muon for real matrices, stepped in the precision of their gradients.

    Its state is the same, so a run may go on with either.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step, scaled to AdamW's root mean square; what ``closure`` returns, asked before."""
        told = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for matrix in (p for p in group["params"] if p.grad is not None):
                state = self.state[matrix]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(matrix.grad)
                momentum = state["momentum_buffer"].lerp_(matrix.grad, 1 - group["momentum"])
                ahead = matrix.grad.lerp(momentum, group["momentum"])  # Nesterov's look
                rate = group["lr"] * 0.2 * math.sqrt(max(matrix.shape))
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(_orthogonal(ahead, group), alpha=-rate)
        return told


def _orthogonal(matrix: Tensor, group: dict[str, Any]) -> Tensor:
    """A matrix of about its directions whose singular values are all near 1.

    The quintic Newton-Schulz iteration of Muon (K. Jordan 2024) with the group's coefficients: an
    odd polynomial acts on the singular values alone, and this one drives them towards 1.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    found: Tensor = wide / wide.norm().clamp(min=group["eps"])
    first, third, fifth = group["ns_coefficients"]
    for _ in range(group["ns_steps"]):
        square = found @ found.T
        found = torch.addmm(found, third * square + fifth * square @ square, found, beta=first)
    return found if wide is matrix else found.T


def _matrix(kernel: Tensor) -> Tensor:
    """A kernel (out, in, h, w) as a matrix (out, h * w * in) on the same memory."""
    return kernel.permute(0, 2, 3, 1).view(len(kernel), -1)


def _is_end(name: str) -> bool:
    return any(end in name for end in _ENDS)
