"""A diffusers folder to modules in memory: safetensors only, nothing from the network.

The modules are diffusers' and transformers'; no pipeline class is used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kontext_engine.errors import ModelError
from kontext_engine.folder import REMEDY, check_whole
from kontext_engine.memory import keep_freed_memory
from kontext_engine.sampling import Shift
from kontext_engine.spec import ModelSpec, NumericsProfile

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Components:
    """A model's parts, on one device and in one precision, in evaluation mode."""

    transformer: Any  # diffusers.FluxTransformer2DModel
    vae: Any  # diffusers.AutoencoderKL
    text_encoder: Any  # transformers.CLIPTextModel
    text_encoder_2: Any  # transformers.T5EncoderModel
    tokenizer: Any  # transformers.CLIPTokenizer
    tokenizer_2: Any  # transformers.T5TokenizerFast
    shift: Shift


def device_and_dtype(numerics: NumericsProfile) -> tuple[torch.device, torch.dtype]:
    """Where and how precisely a profile computes.

    Raises:
        ModelError: a name that is unknown here, or a device that this machine lacks.
    """
    if numerics.dtype not in _DTYPES:
        raise ModelError(f"dtype '{numerics.dtype}': expected one of {', '.join(_DTYPES)}")
    if numerics.attention != "sdpa":
        raise ModelError(f"attention '{numerics.attention}': only 'sdpa' is available")
    if numerics.device not in ("cpu", "cuda"):
        raise ModelError(f"device '{numerics.device}': expected 'cpu' or 'cuda'")
    if numerics.device == "cuda" and not torch.cuda.is_available():
        raise ModelError("device 'cuda': no usable GPU on this machine; use device 'cpu'")
    return torch.device(numerics.device), _DTYPES[numerics.dtype]


def settle_vae(vae: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """An autoencoder where it is to compute, its weights as they lie best in memory for that.

    Channels last (pictures follow their weights) saves a tenth to a sixth of its time in float32
    on the CPU, and moves few values, by one level. In bfloat16 it would save more, but a picture
    would depend on how many are decoded together: by a level in 7 % of its values, against none.
    On a GPU it has not been measured.
    """
    pays = device.type == "cpu" and dtype == torch.float32
    format_ = torch.channels_last if pays else torch.preserve_format
    return vae.to(device=device, memory_format=format_)


def load_components(spec: ModelSpec, numerics: NumericsProfile) -> Components:
    """Load every part of ``spec.source`` onto the profile's device.

    Raises:
        ModelError: a part is missing, damaged or of another kind than expected.
    """
    from diffusers import AutoencoderKL, FluxTransformer2DModel
    from transformers import AutoTokenizer, CLIPTextModel, T5EncoderModel

    folder = Path(spec.source)
    check_whole(folder)
    device, dtype = device_and_dtype(numerics)
    if device.type == "cpu":
        keep_freed_memory()

    def part(kind: Any, name: str, **options: Any) -> Any:
        try:
            with _quietly():
                return kind.from_pretrained(folder / name, local_files_only=True, **options)
        except Exception as error:  # the libraries raise many kinds for a bad file
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise _unloadable(folder / name, kind, reason.split(". ")[0]) from error

    def module(kind: Any, name: str, **options: Any) -> Any:
        options |= {"use_safetensors": True, "output_loading_info": True}
        loaded, info = part(kind, name, **options)
        # The libraries make up what a file lacks, at random; no key could name such pictures.
        lacking = [*info["missing_keys"], *(found[0] for found in info["mismatched_keys"])]
        if lacking:
            reason = f"the weights lack {min(lacking)}, or have it in another shape"
            raise _unloadable(folder / name, kind, reason)
        return loaded.to(device).eval().requires_grad_(False)

    # transformers otherwise tells of a wrong shape in a printed table only.
    text = {"dtype": dtype, "ignore_mismatched_sizes": True}
    vae = module(AutoencoderKL, "vae", torch_dtype=dtype)
    return Components(
        transformer=module(FluxTransformer2DModel, "transformer", torch_dtype=dtype),
        vae=settle_vae(vae, device, dtype),
        text_encoder=module(CLIPTextModel, "text_encoder", **text),
        text_encoder_2=module(T5EncoderModel, "text_encoder_2", **text),
        tokenizer=part(AutoTokenizer, "tokenizer"),
        tokenizer_2=part(AutoTokenizer, "tokenizer_2"),
        shift=_load_shift(folder / "scheduler" / "scheduler_config.json"),
    )


def _unloadable(path: Path, kind: Any, reason: str) -> ModelError:
    return ModelError(f"{path}: cannot be loaded as {kind.__name__} ({reason}); " + REMEDY)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the libraries' bars and reports out of the terminal: what matters here is raised."""
    from diffusers.utils import logging as diffusers_log
    from transformers.utils import logging as transformers_log

    shown = transformers_log.is_progress_bar_enabled()
    levels = [(log, log.get_verbosity()) for log in (diffusers_log, transformers_log)]
    transformers_log.disable_progress_bar()
    for log, _ in levels:
        log.set_verbosity_error()
    try:
        yield
    finally:
        for log, level in levels:
            log.set_verbosity(level)
        if shown:
            transformers_log.enable_progress_bar()


def _load_shift(path: Path) -> Shift:
    try:
        return Shift.from_config(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{path}: cannot be read as a scheduler's configuration") from error
