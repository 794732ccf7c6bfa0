"""Beginning from another model's weights: whatever fits is taken over, the rest begins anew.

Words and latents may be others than the former model's. Rows of the embeddings go by token. The
transformer's two ends, which face the latents, are carried over by the linear map between the two
autoencoders' tokens, fitted to the same pictures.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from kontext_engine.catalogue import resolve_model
from kontext_engine.conditioning import pack
from kontext_engine.errors import ModelError
from kontext_engine.training.miniature import Miniature
from kontext_engine.training.shards import encode

_EMBEDDINGS = ("shared.weight", "embed_tokens.weight", "token_embedding.weight")


def autoencoder_folder(model: str | Path) -> Path:
    """The folder of an autoencoder: this one, or that of a model.

    Raises:
        ModelError: it is neither.
    """
    folder = Path(model).expanduser()
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        config = None
    own = isinstance(config, dict) and config.get("_class_name") == AutoencoderKL.__name__
    return folder if own else Path(resolve_model(model).source) / "vae"


def load_autoencoder(model: str | Path) -> AutoencoderKL:
    """The autoencoder of ``model`` (see ``autoencoder_folder``) in float32, evaluation mode.

    Raises:
        ModelError: there is none, or it cannot be loaded.
    """
    folder = autoencoder_folder(model)
    try:
        loaded = AutoencoderKL.from_pretrained(
            folder, torch_dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{folder}: cannot be loaded as AutoencoderKL ({reason})") from error
    return loaded.eval()


def inherit(model: Miniature, former: Miniature) -> list[str]:
    """Give ``model`` the weights of ``former`` that fit; the names of those that begin anew.

    A token that ``former`` does not know keeps its first row.
    """
    anew: list[str] = []
    parts = (
        ("transformer", None),
        ("text_encoder", (model.tokenizer, former.tokenizer)),
        ("text_encoder_2", (model.tokenizer_2, former.tokenizer_2)),
    )
    for part, tokenizers in parts:
        mine: dict[str, Tensor] = getattr(model, part).state_dict()
        theirs: dict[str, Tensor] = getattr(former, part).state_dict()
        for name, value in mine.items():
            other = theirs.get(name)
            if other is None:
                anew.append(f"{part}.{name}")
            elif tokenizers and name.endswith(_EMBEDDINGS) and other.shape[1:] == value.shape[1:]:
                value[:] = _by_token(value, other, *tokenizers)
            elif other.shape == value.shape:
                value.copy_(other)
            else:
                anew.append(f"{part}.{name}")
        getattr(model, part).load_state_dict(mine)
    return anew


def _by_token(mine: Tensor, theirs: Tensor, tokenizer: Any, former: Any) -> Tensor:
    known = former.get_vocab()
    rows = mine.clone()
    for token, place in tokenizer.get_vocab().items():
        if token in known:
            rows[place] = theirs[known[token]]
    return rows


@torch.no_grad()
def carry_ends(
    model: Miniature,
    new: AutoencoderKL,
    former: AutoencoderKL,
    pictures: Sequence[NDArray[np.uint8]],
) -> float:
    """Turn the transformer's ends, made for ``former``'s latents, to those of ``new``.

    ``pictures``: uint8 batches (n, h, w, 3) that both encode. Returns the share of the new tokens'
    variance that the map from the former ones explains.
    """
    theirs, mine = (
        torch.cat([pack(encode(autoencoder, batch)).flatten(0, 1) for batch in pictures])
        for autoencoder in (former, new)
    )
    back, offset, _ = _fit(mine, theirs)  # what the blocks know, from what they will be shown
    forth, _, explained = _fit(theirs, mine)
    ends: Any = model.transformer
    ends.x_embedder.bias += ends.x_embedder.weight @ offset
    ends.x_embedder.weight[:] = ends.x_embedder.weight @ back.T
    # A velocity is noise less picture: the map's offset is the pictures', and has no part in it
    # beyond what the bias learns.
    ends.proj_out.weight[:] = forth.T @ ends.proj_out.weight
    ends.proj_out.bias[:] = ends.proj_out.bias @ forth
    return explained


def _fit(given: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor, float]:
    """(matrix, offset, explained share) of least squares: wanted ~ given @ matrix + offset."""
    centre, aim = given.mean(0), wanted.mean(0)
    matrix: Tensor = torch.linalg.lstsq(given - centre, wanted - aim).solution
    left = (wanted - aim - (given - centre) @ matrix).pow(2).sum()
    return matrix, aim - centre @ matrix, float(1 - left / (wanted - aim).pow(2).sum())
