"""The autoencoder's own ceiling: what is left of a picture that only went through the VAE."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from kontext_engine.codec import Codec, to_pictures, to_tensor
from kontext_engine.errors import ModelError
from kontext_engine.load import device_and_dtype, settle_vae
from kontext_engine.spec import ModelSpec, NumericsProfile

RoundTrip = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]  # (n, h, w, 3) to the same

_AT_ONCE = 16  # pictures through the VAE


def load_round_trip(spec: ModelSpec, numerics: NumericsProfile) -> RoundTrip:
    """Encode and decode with the model's own VAE, as the engine does, in 8 bits.

    Raises:
        ModelError: the VAE cannot be loaded.
    """
    from diffusers import AutoencoderKL

    device, dtype = device_and_dtype(numerics)
    folder = Path(spec.source) / "vae"
    try:
        vae: Any = AutoencoderKL.from_pretrained(
            folder, torch_dtype=dtype, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{folder}: cannot be loaded as AutoencoderKL ({reason})") from error
    codec = Codec(settle_vae(vae, device, dtype).eval().requires_grad_(False))

    def round_trip(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        made: list[Image.Image] = []
        for k in range(0, len(pictures), _AT_ONCE):
            pixels = to_tensor([Image.fromarray(p) for p in pictures[k : k + _AT_ONCE]])
            with torch.inference_mode():
                made += to_pictures(codec.decode(codec.encode(pixels)))
        return np.stack([np.asarray(p) for p in made])

    return round_trip
