"""What the pipeline must know of a model before it loads: sizes, limits, conditioning, digest.

Torch-free. A model is a diffusers folder; ours carries ``kontext.json`` with these fields.
Which models there are, and where, ``kontext_engine.catalogue`` knows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from kontext_engine.errors import ModelError
from kontext_engine.files import write_whole
from kontext_engine.geometry import Size

SPEC_FILE = "kontext.json"


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

    def __hash__(self) -> int:
        # A plan asks for it at each step; equal models have equal weights, and few differ else.
        return hash(self.digest)

    @property
    def deciding(self) -> dict[str, str | int]:
        """What of a model decides pixels and no request says; keys hold it under these names.

        Not ``guidance_embedded``: without it a key has no guidance, and with it one. All else is
        a limit, a name, or a default that reaches the key as the parameter it became.
        """
        return {
            "weights": self.digest,
            "text_tokens": self.text_tokens,
            "pixel_area": self.pixel_area,
            "multiple": self.multiple,
            "context_ids": self.context_ids.value,
            "condition": self.condition.value,
        }


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model folder.

    Raises:
        ModelError: unreadable, not JSON, or not an object.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected a JSON object")
    return content


def overlay_spec(spec: ModelSpec, path: Path) -> ModelSpec:
    """A spec with what a ``kontext.json`` says in place of it.

    Raises:
        ModelError: not JSON, an unknown field, a wrong type or value.
    """
    given = read_json(path)
    known = {item.name for item in fields(ModelSpec)} - {"source", "digest"}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ModelError(f"{path}: unknown field '{unknown[0]}'; known: {', '.join(sorted(known))}")
    try:
        return replace(spec, **{name: _PARSERS[name](value) for name, value in given.items()})
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: a field has the wrong type or value ({error})") from error


def _size(value: Any) -> Size:
    width, height = value
    return Size(int(width), int(height))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, found {value!r}")
    return value


def _positive(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"expected a positive whole number, found {value!r}")
    return value


_PARSERS: Mapping[str, Any] = {
    "name": str,
    "pixel_area": _positive,
    "default_size": _size,
    "sizes": lambda sizes: tuple(_size(size) for size in sizes),
    "text_tokens": _positive,
    "default_steps": _positive,
    "default_guidance": float,
    "guidance_embedded": _flag,
    "multiple": _positive,
    "context_ids": ContextIds,
    "condition": Condition,
    "max_contexts": _positive,
    "licence": str,
}


def write_spec(folder: Path, spec: ModelSpec) -> None:
    """Write ``kontext.json`` beside ``model_index.json``, whole or not at all.

    ``source`` and ``digest`` are left out: they belong to the place and the bytes, not the spec.
    """
    content = {name: getattr(spec, name) for name in _PARSERS}
    write_whole(folder / SPEC_FILE, json.dumps(content, indent=2) + "\n")
