"""What a model folder lacks, told from its files' names, sizes and first bytes.

Torch-free, and quick for any size of weights: a partial download is told before anything loads.
"""

from __future__ import annotations

import functools
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from kontext_engine.digest import COMPONENTS, stated
from kontext_engine.errors import ModelError

REMEDY = "check that the folder is a complete diffusers model with safetensors weights"

_LFS = b"version https://git-lfs.github.com/spec/"
_WEIGHTS = {
    "transformer": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
}
_SPECIAL = re.compile(r"<.+>")
# Any of these sets holds a whole vocabulary.
_VOCABULARIES = {
    "tokenizer": (("tokenizer.json",), ("vocab.json", "merges.txt")),
    "tokenizer_2": (("tokenizer.json",), ("spiece.model",)),
}


def folder_lacks(folder: Path, *, planning: bool = False) -> tuple[str, ...]:
    """What is missing, each as ``part/file: what is wrong``; empty for a whole model.

    Who only plans needs no weights that are stated (``kontext_engine.digest``).
    """
    spared = {_wrong(path.parent, path.name, "missing") for path in stated(folder) if planning}
    return tuple(lack for lack in _lacks(folder) if lack not in spared)


def check_whole(folder: Path, *, planning: bool = False) -> None:
    """Refuse a partial model; ``planning`` as in ``folder_lacks``.

    Raises:
        ModelError: names the first of what the folder lacks.
    """
    if lacking := folder_lacks(folder, planning=planning):
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise ModelError(f"{folder / lacking[0]}{more}; {REMEDY}")


def _lacks(folder: Path) -> Iterator[str]:
    if not (folder / "model_index.json").is_file():
        yield "model_index.json: missing"
    for part in COMPONENTS:
        if not (folder / part).is_dir():
            yield f"{part}: the folder is missing"
        elif part in _WEIGHTS:
            yield from _weights(folder / part, _WEIGHTS[part])
        elif part in _VOCABULARIES:
            yield from _vocabulary(folder / part, _VOCABULARIES[part])
        else:
            yield from _present(folder / part, "scheduler_config.json")


def _weights(part: Path, stem: str) -> Iterator[str]:
    yield from _present(part, "config.json")
    index = part / f"{stem}.safetensors.index.json"
    if not index.is_file():
        yield from _tensors(part, f"{stem}.safetensors")
        return
    try:
        shards = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        yield _wrong(part, index.name, _pointer(index) or "cannot be read as an index of shards")
        return
    for shard in shards:
        yield from _tensors(part, str(shard))


def _tensors(part: Path, name: str) -> Iterator[str]:
    """A safetensors file begins with its header's length; the header says where the data ends."""
    missing = list(_present(part, name))
    yield from missing
    if missing:
        return
    path = part / name
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(min(length, size)))
        header.pop("__metadata__", None)
        end = 8 + length + max((item["data_offsets"][1] for item in header.values()), default=0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        yield _wrong(part, name, "is not a whole safetensors file")
        return
    if size < end:
        yield _wrong(part, name, f"is cut short: {size} of {end} bytes")


def _vocabulary(part: Path, sets: tuple[tuple[str, ...], ...]) -> Iterator[str]:
    yield from _present(part, "tokenizer_config.json")
    found = next((names for names in sets if all((part / n).is_file() for n in names)), None)
    if found is None:
        wanted = " or ".join(" with ".join(names) for names in sets)
        yield f"{part.name}: its vocabulary is missing ({wanted})"
        return
    for name in found:
        missing = list(_present(part, name))
        yield from missing or _wordless(part, name)


def _wordless(part: Path, name: str) -> Iterator[str]:
    """A vocabulary of special words alone loads without a word, and then all else is unknown.

    Only a SentencePiece model's is not looked at: it takes its library, at load.
    """
    if name not in ("tokenizer.json", "vocab.json"):
        return
    try:
        stat = (part / name).stat()
        empty = _is_wordless(part / name, (stat.st_size, stat.st_mtime_ns, stat.st_ino))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        yield _wrong(part, name, "cannot be read as a vocabulary")
        return
    if empty:
        yield _wrong(part, name, "its vocabulary is empty")


@functools.lru_cache(maxsize=64)
def _is_wordless(path: Path, _stat: tuple[int, ...]) -> bool:
    """Read once a process while its stat is the same: a night plans hundreds of recipes."""
    content = json.loads(path.read_text("utf-8"))
    special = {word["content"] for word in content.get("added_tokens", ())}
    held = content["model"]["vocab"] if path.name == "tokenizer.json" else content
    words = [word if isinstance(word, str) else word[0] for word in held]
    return all(word in special or _SPECIAL.fullmatch(word) for word in words)


def _present(part: Path, name: str) -> Iterator[str]:
    path = part / name
    if not path.is_file():
        yield _wrong(part, name, "missing")
    elif (reason := _pointer(path)) is not None:
        yield _wrong(part, name, reason)


def _pointer(path: Path) -> str | None:
    with path.open("rb") as stream:
        start = stream.read(len(_LFS))
    if start == _LFS:
        return "a Git LFS pointer, not the file itself (git lfs pull fetches it)"
    return None if start else "empty"


def _wrong(part: Path, name: str, what: str) -> str:
    return f"{part.name}/{name}: {what}"
