"""Prompts to embeddings: T5 states and CLIP's pooled state, kept for prompts seen before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kontext_engine.load import Components
from kontext_engine.recent import Recent
from kontext_engine.sampling import Prompt


@dataclass(frozen=True, slots=True)
class Embedding:
    """One prompt: states (l, joint width), pooled (pooled width,); whether it was cut short."""

    states: Tensor
    pooled: Tensor
    truncated: bool


class TextEncoder:
    """Both text models of a Flux folder, with their tokenizers.

    T5 pads to ``tokens`` without a mask, as diffusers' pipeline does: the padding's states are
    part of what the transformer was trained on.
    """

    def __init__(self, parts: Components, tokens: int, keep: int) -> None:
        self._clip, self._clip_tokenizer = parts.text_encoder, parts.tokenizer
        self._t5, self._t5_tokenizer = parts.text_encoder_2, parts.tokenizer_2
        self._tokens = tokens
        self._known: Recent[str, Embedding] = Recent(keep)

    def embed(self, prompts: Sequence[str]) -> list[Embedding]:
        """Embed prompts, one by one where they are new.

        One at a time, because a text model's result depends in its last bits on the batch; this
        way a prompt has one embedding, whoever it shares a batch with.
        """
        found: list[Embedding] = []
        for prompt in prompts:
            known = self._known.get(prompt)
            if known is None:
                known = self._embed(prompt)
                self._known.put(prompt, known)
            found.append(known)
        return found

    @torch.inference_mode()
    def _embed(self, prompt: str) -> Embedding:
        clip_ids, _ = _tokenize(
            self._clip_tokenizer, prompt, int(self._clip_tokenizer.model_max_length)
        )
        t5_ids, truncated = _tokenize(self._t5_tokenizer, prompt, self._tokens)
        pooled = self._clip(clip_ids.to(self._clip.device), output_hidden_states=False)
        states = self._t5(t5_ids.to(self._t5.device), output_hidden_states=False)
        return Embedding(states[0][0], pooled.pooler_output[0], truncated)


def _tokenize(tokenizer: Any, prompt: str, length: int) -> tuple[Tensor, bool]:
    """Token ids (1, length), and whether the prompt had more than fit."""
    whole = tokenizer(prompt, truncation=False, verbose=False).input_ids
    padded = tokenizer(
        prompt, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    return padded.input_ids, len(whole) > length


def stack(embeddings: Sequence[Embedding]) -> Prompt:
    """A batch of embeddings as the transformer takes it."""
    return Prompt(
        torch.stack([embedding.states for embedding in embeddings]),
        torch.stack([embedding.pooled for embedding in embeddings]),
    )
