"""What the pipeline must know of a model before it loads: sizes, limits, conditioning, digest.

Torch-free. A model is a diffusers folder; ours carries ``kontext.json`` with these fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kontext_engine.geometry import Size


class ContextIds(StrEnum):
    """How several contexts are told apart by their position ids (paper section 3)."""

    INDEX = "index"  # context i has t = i, its own grid from 0
    OFFSET = "offset"  # all contexts have t = 1; each grid starts past the previous one


class Condition(StrEnum):
    """How a context picture enters the transformer."""

    SEQUENCE = "sequence"  # tokens appended after the target's (Kontext)
    CHANNEL = "channel"  # latents concatenated on the channel axis (Fill, Canny, Depth)


@dataclass(frozen=True, slots=True)
class NumericsProfile:
    """What, beside the request and the weights, decides a picture's exact values."""

    version: int = 1
    tier: str = "quality"
    dtype: str = "float32"
    attention: str = "sdpa"
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model's identity and limits.

    ``pixel_area`` is the area (pixels) a picture is scaled to; ``text_tokens`` the T5 length the
    model was trained with; ``guidance_embedded`` whether guidance is an input of the transformer.
    """

    name: str
    source: str
    digest: str
    pixel_area: int
    default_size: Size
    sizes: tuple[Size, ...]
    text_tokens: int
    default_steps: int
    default_guidance: float
    guidance_embedded: bool
    multiple: int = 16
    context_ids: ContextIds = ContextIds.OFFSET
    condition: Condition = Condition.SEQUENCE
    max_contexts: int = 1
    licence: str = ""
