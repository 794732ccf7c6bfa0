"""Shards: the studio's families as latents, rendered by worker processes, encoded once.

A shard holds families of one size: ``latents`` float16 (families, looks, 16, h/8, w/8), scaled as
the transformer sees them, and what is on each picture as plain JSON. It is a pure function of
(autoencoder weights, split, seeds, size), and notes them: see ``Origin``.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import pickle
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from kontext_engine.codec import from_levels
from kontext_engine.mixed import mixed
from kontext_engine.training.cutouts import Cutout
from kontext_engine.training.errors import TrainingError
from kontext_engine.training.looks import Look
from kontext_engine.training.studio import Studio

AHEAD = 128  # families that may be rendered before they are encoded
CAST = "cast"  # for those who render: a process that is killed as it starts has read no message


@dataclass(frozen=True, slots=True)
class Origin:
    """What a shard was made of: its autoencoder's digest and its families' seeds."""

    autoencoder: str = ""
    first: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True)
class Shard:
    """Families of one size as latents; ``nouns`` and ``looks`` run along the families."""

    size: tuple[int, int]
    latents: NDArray[np.float16]
    nouns: tuple[str, ...]
    looks: tuple[tuple[Look, ...], ...]
    origin: Origin = Origin()

    def __len__(self) -> int:
        return len(self.nouns)


def _render(job: tuple[int, tuple[int, int]]) -> Path:
    """A family as a file: of one that is killed while it sends megabytes the rest is waited for
    for ever, and a name is sent in one piece.
    """
    family = _studio.family(job[0], job[1])
    path = _folder / str(job[0])
    path.write_bytes(pickle.dumps((family.subject.noun, family.looks, family.pictures)))
    return path


def _rendered(path: Path) -> tuple[str, tuple[Look, ...], NDArray[np.uint8]]:
    """What ``_render`` wrote; the file is removed."""
    family: tuple[str, tuple[Look, ...], NDArray[np.uint8]] = _handed(path)
    path.unlink()
    return family


def _handed(path: Path) -> Any:
    """What one process of ours has just pickled for another."""
    return pickle.loads(path.read_bytes())  # noqa: S301


_studio: Studio
_folder: Path


def _start_worker(folder: Path) -> None:
    global _studio, _folder
    os.nice(5)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to tell, in one line
    _studio, _folder = Studio(*_handed(folder / CAST)), folder


def encode(model: AutoencoderKL, pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 (n, h, w, 3) to scaled latents float32 (n, 16, h/8, w/8): (mode - shift) * scale."""
    device = next(model.parameters()).device
    pixels = from_levels(pictures, device)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), mixed(device):
        mode = model.encode(pixels).latent_dist.mode().float()
    latents: Tensor = (mode - model.config.shift_factor) * model.config.scaling_factor
    return latents


def build_shard(
    path: Path,
    model: AutoencoderKL,
    subjects: Sequence[Cutout],
    props: Sequence[Cutout],
    seeds: range,
    size: tuple[int, int],
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Shard:
    """Render and encode families ``seeds`` at ``size`` (width, height) and write the shard.

    Raises:
        TrainingError: a process that renders died.
    """
    latents: list[NDArray[np.float16]] = []
    nouns: list[str] = []
    looks: list[tuple[Look, ...]] = []
    context = multiprocessing.get_context("spawn")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f".{path.stem}.", dir=path.parent, ignore_cleanup_errors=True
    ) as drafts:
        folder = Path(drafts)
        (folder / CAST).write_bytes(pickle.dumps((list(subjects), list(props))))
        # One that knows when a worker dies, which multiprocessing's own would wait for for ever.
        pool = ProcessPoolExecutor(workers, context, _start_worker, (folder,))
        try:
            jobs = [(seed, size) for seed in seeds]
            # Some at a time: rendering is the faster, and what waits to be encoded is megabytes
            # each.
            slices = (jobs[k : k + AHEAD] for k in range(0, len(jobs), AHEAD))
            rendered = (file for some in slices for file in pool.map(_render, some, chunksize=8))
            for noun, family_looks, pictures in map(_rendered, rendered):
                latents.append(encode(model, pictures).cpu().numpy().astype(np.float16))
                nouns.append(noun)
                looks.append(family_looks)
                if progress:
                    progress(len(nouns))
        except BrokenProcessPool as error:
            raise TrainingError(
                f"{path}: not made: a process that renders died (killed; out of memory?); give "
                "fewer --workers, and run it again"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
    origin = Origin(autoencoder_digest(model), seeds.start, len(seeds))
    shard = Shard(size, np.stack(latents), tuple(nouns), tuple(looks), origin)
    write_shard(path, shard)
    return shard


def write_shard(path: Path, shard: Shard) -> None:
    """Write atomically: a shard that exists is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    listing = {
        "size": shard.size,
        "origin": asdict(shard.origin),
        "nouns": shard.nouns,
        "looks": [[asdict(look) for look in row] for row in shard.looks],
    }
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            np.savez(file, latents=shard.latents, listing=np.array(json.dumps(listing)))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def read_shard(path: Path) -> Shard:
    """Read what ``write_shard`` wrote (plain arrays and JSON, no pickle).

    Raises:
        TrainingError: the file is damaged, or of another release.
    """
    try:
        # Opened here: of a file that is no archive, numpy would leave closing to chance.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            listing = json.loads(str(stored["listing"]))
            latents = stored["latents"]
        looks = tuple(tuple(Look(**look) for look in row) for row in listing["looks"])
        origin = Origin(**listing["origin"])
        return Shard(tuple(listing["size"]), latents, tuple(listing["nouns"]), looks, origin)
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise TrainingError(
            f"{path}: not a whole corpus of this release ({type(error).__name__}: {error}); "
            "delete it and make it again with `kontext train corpus`"
        ) from error


def autoencoder_digest(model: AutoencoderKL) -> str:
    """SHA-256 over what makes an autoencoder's latents: its encoder, their shift and scale.

    A decoder refined under the same latents leaves it as it is.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.encoder.state_dict().items()):
        digest.update(name.encode() + value.float().cpu().contiguous().numpy().tobytes())
    digest.update(f"{model.config.shift_factor} {model.config.scaling_factor}".encode())
    return digest.hexdigest()


def measure_latents(
    model: AutoencoderKL, pictures: Iterator[NDArray[np.uint8]]
) -> tuple[float, float]:
    """(shift, scale) that bring this autoencoder's latents to mean 0 and standard deviation 1."""
    device = next(model.parameters()).device
    values = []
    for batch in pictures:
        pixels = from_levels(batch, device)
        with torch.inference_mode():
            values.append(model.encode(pixels).latent_dist.mode().flatten().cpu())
    every = torch.cat(values)
    return float(every.mean()), float(1.0 / every.std())
