"""kontext-mini's architecture, and writing a diffusers folder that any Kontext loader reads."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from kontext_engine.geometry import Size
from kontext_engine.sampling import Prompt
from kontext_engine.spec import ContextIds, ModelSpec, write_spec

TEXT_TOKENS = 32
WIDTH = 192  # of T5, and of the transformer in heads of 32
POOLED = 128  # CLIP's width
BLOCKS = (3, 5)  # double and single stream

SCHEDULER = {
    "num_train_timesteps": 1000, "shift": 1.0, "use_dynamic_shifting": True,
    "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096,
}  # fmt: skip

# The held-out bench at 2, 4 and 8 steps: 93 % right at each, identity after six turns 0.45, 0.45
# and 0.43; so more steps cost time and bring little (docs/kontext-mini.md).
STEPS = 4

SIZES = tuple(Size(w, h) for w, h in ((128, 128), (112, 144), (144, 112)))


@dataclass
class Miniature:
    """The modules trained together; the autoencoder is trained before and then frozen."""

    transformer: FluxTransformer2DModel
    text_encoder: CLIPTextModel
    text_encoder_2: T5EncoderModel
    tokenizer: CLIPTokenizer
    tokenizer_2: T5TokenizerFast

    def tokenize(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """CLIP's and T5's token ids (b, ``TEXT_TOKENS``) of prompts, padded or cut to that."""
        clip, t5 = (
            tokenizer(
                list(prompts), padding="max_length", max_length=TEXT_TOKENS, truncation=True,
                return_tensors="pt",
            ).input_ids
            for tokenizer in (self.tokenizer, self.tokenizer_2)
        )  # fmt: skip
        return clip, t5

    def embed(self, clip: Tensor, t5: Tensor) -> Prompt:
        """Text states of token ids; T5 is padded without a mask, as in inference."""
        return Prompt(self.text_encoder_2(t5)[0], self.text_encoder(clip).pooler_output)

    def modules(self) -> nn.ModuleDict:
        """The learned modules under the names that a diffusers folder gives them."""
        return nn.ModuleDict(
            {
                "transformer": self.transformer,
                "text_encoder": self.text_encoder,
                "text_encoder_2": self.text_encoder_2,
            }
        )


def new_miniature(tokenizers: Path) -> Miniature:
    """Untrained modules: a 7 M transformer (3 double and 5 single blocks) and text encoders.

    ``tokenizers`` holds ``tokenizer/`` and ``tokenizer_2/``.
    """
    clip = CLIPTokenizer.from_pretrained(tokenizers / "tokenizer")
    t5 = T5TokenizerFast.from_pretrained(tokenizers / "tokenizer_2")
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=64, num_layers=BLOCKS[0], num_single_layers=BLOCKS[1],
        attention_head_dim=32, num_attention_heads=WIDTH // 32, joint_attention_dim=WIDTH,
        pooled_projection_dim=POOLED, guidance_embeds=False, axes_dims_rope=(8, 12, 12),
    )  # fmt: skip
    nn.init.zeros_(transformer.proj_out.weight)  # v = 0 at first: the loss starts at its plateau
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=len(clip), hidden_size=POOLED, intermediate_size=4 * POOLED,
        projection_dim=POOLED, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=TEXT_TOKENS, bos_token_id=clip.bos_token_id,
        eos_token_id=clip.eos_token_id, pad_token_id=clip.pad_token_id,
    ))  # fmt: skip
    text_2 = T5EncoderModel(T5Config(
        vocab_size=len(t5), d_model=WIDTH, d_kv=32, d_ff=3 * WIDTH, num_layers=2,
        num_heads=WIDTH // 32, feed_forward_proj="gated-gelu", dropout_rate=0.0,
        pad_token_id=t5.pad_token_id, eos_token_id=t5.eos_token_id,
    ))  # fmt: skip
    return Miniature(transformer, text, text_2, clip, t5)


def read_miniature(folder: Path) -> Miniature:
    """The learned modules of a model folder in float32, for ``--init``."""
    return Miniature(
        FluxTransformer2DModel.from_pretrained(folder / "transformer").float(),
        CLIPTextModel.from_pretrained(folder / "text_encoder").float(),
        T5EncoderModel.from_pretrained(folder / "text_encoder_2").float(),
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        T5TokenizerFast.from_pretrained(folder / "tokenizer_2"),
    )


def write_model(
    folder: Path, model: Miniature, autoencoder: AutoencoderKL, dtype: torch.dtype = torch.bfloat16
) -> None:
    """Write a whole model folder beside ``folder`` and swap it in; ``dtype`` is that on disk.

    diffusers' layout and, for this pipeline, ``kontext.json``. The modules stay as they are.
    """
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    parts: dict[str, tuple[str, Any]] = {
        "transformer": ("diffusers", model.transformer), "vae": ("diffusers", autoencoder),
        "text_encoder": ("transformers", model.text_encoder),
        "text_encoder_2": ("transformers", model.text_encoder_2),
        "tokenizer": ("transformers", model.tokenizer),
        "tokenizer_2": ("transformers", model.tokenizer_2),
        "scheduler": ("diffusers", FlowMatchEulerDiscreteScheduler(**SCHEDULER)),
    }  # fmt: skip
    index: dict[str, Any] = {
        "_class_name": "FluxKontextPipeline",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
    }
    for name, (library, part) in parts.items():
        _rounded(part, dtype).save_pretrained(draft / name)
        forget_origin(draft / name)
        index[name] = [library, type(part).__name__]
    (draft / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    write_spec(draft, miniature_spec(str(folder), ""))
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def forget_origin(part: Path) -> None:
    """Take out of a part's folder where it was read from: nobody else has that place."""
    config = part / "config.json"
    if config.is_file():
        kept = {k: v for k, v in json.loads(config.read_text()).items() if k != "_name_or_path"}
        config.write_text(json.dumps(kept, indent=2) + "\n")


def _rounded(part: Any, dtype: torch.dtype) -> Any:
    """A copy in ``dtype``: rounding the module itself would round what is trained on."""
    if not isinstance(part, nn.Module):
        return part
    # torch's own `to`: diffusers' warns of modules to keep in float32, of which there are none.
    return nn.Module.to(copy.deepcopy(part), dtype)


def miniature_spec(source: str, digest: str) -> ModelSpec:
    """What the pipeline knows of a folder written by ``write_model``."""
    return ModelSpec(
        name="kontext-mini", source=source, digest=digest, pixel_area=128 * 128,
        default_size=Size(128, 128), sizes=SIZES, text_tokens=TEXT_TOKENS, default_steps=STEPS,
        default_guidance=1.0, guidance_embedded=False, context_ids=ContextIds.INDEX,
        max_contexts=2, licence="Apache-2.0; trained on Fluent Emoji 3D (MIT, Microsoft)",
    )  # fmt: skip
