"""How many tokens a prompt has for a model, by its own long tokenizer; no model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

FILE = Path("tokenizer_2", "tokenizer.json")


def token_counts(source: str, texts: Sequence[str]) -> list[int] | None:
    """The tokens of each text, uncut; ``None`` where the model's tokenizer is not here.

    ``source`` is the model's folder (``ModelSpec.source``).
    """
    path = Path(source) / FILE
    if not path.is_file():
        return None
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError:  # it comes with what computes, which plans do without
        return None
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return [len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts))]
