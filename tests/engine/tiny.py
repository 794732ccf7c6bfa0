"""Miniature Kontext models with random weights, built offline as whole diffusers folders.

Two sizes: PLAIN follows diffusers' own pipeline test (one-level VAE, no guidance input, static
shift); FULL has what the released model has: guidance embedding, dynamic shift, a four-level VAE
of 16 channels. Weights are scaled up so that prompt, context and guidance all move the result.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from kontext_engine.catalogue import resolve_model
from kontext_engine.geometry import Size
from kontext_engine.spec import Condition, ContextIds, ModelSpec, write_spec
from kontext_engine.training.tokenizers import build_tokenizers

TEXTS = (
    "Make the red shoe blue",
    "put the handbag on a snowy beach at sunset",
    "remove the mask from the face, keep the person",
    "a photo of a watch in a forest at night",
)
TEXT_TOKENS = 24
_WIDTH = 32  # of both text models


@dataclass(frozen=True)
class Tiny:
    """What a miniature is made of."""

    guidance: bool
    dynamic_shift: bool
    vae_channels: tuple[int, ...]
    latent_channels: int
    pixel_area: int
    context_ids: ContextIds = ContextIds.OFFSET
    condition: Condition = Condition.SEQUENCE
    masked: bool = False
    max_contexts: int = 3
    seed: int = 0

    @property
    def scale(self) -> int:
        return 2 ** (len(self.vae_channels) - 1)

    @property
    def multiple(self) -> int:
        return 2 * self.scale


PLAIN = Tiny(
    guidance=False,
    dynamic_shift=False,
    vae_channels=(4,),
    latent_channels=1,
    pixel_area=8 * 8,
)
FULL = Tiny(
    guidance=True,
    dynamic_shift=True,
    vae_channels=(8, 8, 8, 8),
    latent_channels=16,
    pixel_area=64 * 64,
)
CONTROL = replace(FULL, condition=Condition.CHANNEL, max_contexts=1)
FILL = replace(CONTROL, masked=True)


def save_tiny_model(folder: Path, tiny: Tiny = FULL) -> ModelSpec:
    """Write a whole model folder and resolve it; the same ``tiny`` gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    build_tokenizers(TEXTS, folder, max_length_clip=TEXT_TOKENS, max_length_t5=TEXT_TOKENS)
    with torch.random.fork_rng():
        torch.manual_seed(tiny.seed)
        parts = {
            "transformer": _transformer(tiny),
            "vae": _vae(tiny),
            "text_encoder": _clip(folder),
            "text_encoder_2": _t5(folder),
        }
    for name, module in parts.items():
        module.save_pretrained(folder / name)
    _write_scheduler(folder, tiny)
    _write_index(folder, tiny)
    side = round(tiny.pixel_area**0.5)
    spec = ModelSpec(
        name="tiny",
        source=str(folder),
        digest="",
        pixel_area=tiny.pixel_area,
        default_size=Size(side, side),
        sizes=(),
        text_tokens=TEXT_TOKENS,
        default_steps=2,
        default_guidance=2.5,
        guidance_embedded=tiny.guidance,
        multiple=tiny.multiple,
        context_ids=tiny.context_ids,
        condition=tiny.condition,
        max_contexts=tiny.max_contexts,
    )
    write_spec(folder, spec)
    return resolve_model(folder)


def _transformer(tiny: Tiny) -> FluxTransformer2DModel:
    packed = tiny.latent_channels * 4
    extra = packed if tiny.condition is Condition.CHANNEL else 0
    extra += (2 * tiny.scale) ** 2 if tiny.masked else 0
    module = FluxTransformer2DModel(
        in_channels=packed + extra,
        out_channels=packed,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=_WIDTH,
        pooled_projection_dim=_WIDTH,
        guidance_embeds=tiny.guidance,
        axes_dims_rope=(4, 4, 8),
    )
    return amplify(module, 2.0)


def _vae(tiny: Tiny) -> AutoencoderKL:
    levels = len(tiny.vae_channels)
    module = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tiny.vae_channels,
        layers_per_block=1,
        latent_channels=tiny.latent_channels,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.0609,
        scaling_factor=1.5035,
    )
    return amplify(module, 1.5)


def _clip(folder: Path) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=_vocabulary(folder / "tokenizer"),
        hidden_size=_WIDTH,
        intermediate_size=37,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=TEXT_TOKENS,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=1,  # not 2: that falls into CLIP's legacy pooling
    )
    return amplify(CLIPTextModel(config), 4.0)


def _t5(folder: Path) -> T5EncoderModel:
    config = T5Config(
        vocab_size=_vocabulary(folder / "tokenizer_2"),
        d_model=_WIDTH,
        d_kv=8,
        d_ff=37,
        num_layers=1,
        num_heads=4,
        is_encoder_decoder=False,
        dropout_rate=0.0,
    )
    return T5EncoderModel(config)


def _vocabulary(folder: Path) -> int:
    saved = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    return len(saved["model"]["vocab"])


def amplify(module: torch.nn.Module, factor: float) -> torch.nn.Module:
    """Scale matrices and kernels: default initialisations leave deep signals too faint to test."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.mul_(factor)
    return module


def _write_scheduler(folder: Path, tiny: Tiny) -> None:
    config = {
        "_class_name": "FlowMatchEulerDiscreteScheduler",
        "num_train_timesteps": 1000,
        "shift": 3.0,
        "use_dynamic_shifting": tiny.dynamic_shift,
        "base_shift": 0.5,
        "max_shift": 1.15,
        "base_image_seq_len": 16,  # small, so that the sizes of the tests differ in their shift
        "max_image_seq_len": 64,
    }
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config), "utf-8")


def _write_index(folder: Path, tiny: Tiny) -> None:
    kinds = {
        Condition.SEQUENCE: "FluxKontextPipeline",
        Condition.CHANNEL: "FluxFillPipeline" if tiny.masked else "FluxControlPipeline",
    }
    index = {
        "_class_name": kinds[tiny.condition],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "T5TokenizerFast"],
        "transformer": ["diffusers", "FluxTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index), "utf-8")


def gradient(size: tuple[int, int], phase: float = 0.0):
    """A colourful picture without symmetry, so that a flip, a shift or a swap would show."""
    import numpy as np
    from PIL import Image

    width, height = size
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    channels = (x, y * (1 - 0.5 * x), 0.5 + 0.5 * np.sin(7 * x + 11 * y + phase))
    return Image.fromarray((np.stack(channels, axis=-1) * 255).astype(np.uint8))


def drawn(peer, size: Size, steps: int, **asked):
    """What a pipeline of diffusers makes at its own size, by default as a picture."""
    if "max_area" in signature(peer.__call__).parameters:
        asked |= {"max_area": size.area, "_auto_resize": False}
    sides = {"height": size.height, "width": size.width}
    return peer(num_inference_steps=steps, **sides, **asked).images


def peer_of(kind, folder, **options):
    """A pipeline of diffusers that says nothing while it works."""
    made = kind.from_pretrained(folder, **options)
    made.set_progress_bar_config(disable=True)
    return made


def levels(one, other):
    """How far two pictures are apart, value by value."""
    import numpy as np

    return np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16))
