"""Asking an engine: requests in, a picture for each out, in order. Torch-free."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kontext_engine.api import EditFailure, EditRequest, Engine
from kontext_engine.evaluation.errors import EvaluationError
from kontext_engine.geometry import Size


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and the picture it is about; no picture: text-to-image. ``second`` is another one
    that it speaks of."""

    id: str
    prompt: str
    source: NDArray[np.uint8] | None = None
    second: NDArray[np.uint8] | None = None


@dataclass
class Asker:
    """Puts questions to an engine with fixed steps, seeds, size and classifier-free guidance
    (1: none); adds up its seconds."""

    engine: Engine
    steps: int
    seed: int
    size: tuple[int, int]
    true_cfg: float = 1.0
    seconds: float = 0.0

    def ask(self, questions: Sequence[Question]) -> NDArray[np.uint8]:
        """The engine's pictures, uint8 (n, h, w, 3), in the questions' order.

        Raises:
            EvaluationError: an answer is a failure, or has another size than was asked for.
        """
        made: dict[str, NDArray[np.uint8]] = {}
        for answer in self.engine.run([self._request(q) for q in questions]):
            if isinstance(answer, EditFailure):
                raise EvaluationError(f"{answer.id}: the engine failed: {answer.reason}")
            made[answer.id] = np.asarray(answer.image.convert("RGB"))
            self.seconds += answer.seconds
        missing = [q.id for q in questions if q.id not in made]
        if missing:
            raise EvaluationError(f"{missing[0]}: the engine gave no answer")
        width, height = self.size
        wrong = next((n for n, p in made.items() if p.shape != (height, width, 3)), None)
        if wrong:
            raise EvaluationError(f"{wrong}: expected {width}x{height} px from the engine")
        return np.stack([made[q.id] for q in questions])

    def _request(self, question: Question) -> EditRequest:
        shown = (question.source, question.second)
        contexts = tuple(Image.fromarray(picture) for picture in shown if picture is not None)
        return EditRequest(
            id=question.id,
            prompt=question.prompt,
            seed=noise_seed(self.seed, question.id),
            steps=self.steps,
            contexts=contexts,
            size=Size(*self.size),
            true_cfg=self.true_cfg,
        )


def noise_seed(seed: int, name: str) -> int:
    """A question's own seed, from its name: a longer list changes no other question's noise."""
    return int(hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()[:8], 16) >> 1
