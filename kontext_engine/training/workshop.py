"""A training's work folder: what its stages find in it, and whether that is what they need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from kontext_engine.memory import keep_freed_memory
from kontext_engine.training.cutouts import (
    Cutout,
    held_out_order,
    missing_props,
    read_set,
    split_of,
)
from kontext_engine.training.errors import TrainingError
from kontext_engine.training.looks import draw_looks
from kontext_engine.training.shards import Shard, autoencoder_digest, read_shard

Say = Callable[[str], None]

# (file name, picture size, share of the families): 64 px first, then the miniature's sizes.
SMALL = (("square-64", (64, 64), 1.0),)
FULL = (("square-128", (128, 128), 0.64), ("tall-128", (112, 144), 0.18),
        ("wide-128", (144, 112), 0.18))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where training reads and writes, and on what device."""

    work: Path
    cutouts: Path
    device: str = "cpu"
    threads: int = 0  # CPU threads; 0 leaves torch's choice

    def cast(self) -> tuple[list[Cutout], list[Cutout], list[Cutout]]:
        """(all, training, held-out) cut-outs.

        Raises:
            FileNotFoundError: ``make data`` was not run.
            TrainingError: the set is damaged or lacks some that every family may need.
        """
        every = read_set(self.cutouts)
        if missing := missing_props(every):
            raise TrainingError(
                f"{self.cutouts}: {len(missing)} cut-outs that instructions name are missing "
                f"({', '.join(missing[:3])}); fetch the set again with `make data`"
            )
        return every, [c for c in every if split_of(c) == "train"], held_out_order(every)

    def torch_device(self) -> torch.device:
        """The device to train on, with the CPU's threads set.

        Raises:
            TrainingError: this machine has no such device.
        """
        if self.device == "cuda" and not torch.cuda.is_available():
            raise TrainingError("--device cuda: no CUDA device here; use --device cpu")
        keep_freed_memory()
        if self.threads:
            torch.set_num_threads(self.threads)
        return torch.device(self.device)

    def place_of(self, folder: Path) -> str:
        """Where a folder lies in the work folder, whose contents runs replace; "": elsewhere."""
        whole, work = folder.resolve(), self.work.resolve()
        inside = folder.is_dir() and whole.is_relative_to(work)
        return whole.relative_to(work).as_posix() if inside else ""

    def autoencoder(self) -> AutoencoderKL:
        """The trained autoencoder of ``vae/``.

        Raises:
            TrainingError: it was not trained yet.
        """
        folder = self.work / "vae"
        expect(folder / "config.json", "autoencoder", "kontext train autoencoder")
        return AutoencoderKL.from_pretrained(folder)

    def shards(self, small: bool) -> list[Shard]:
        """The corpus of a stage.

        Raises:
            TrainingError: it was not made yet, is damaged, or was made of something else.
        """
        command = "kontext train corpus" + (" --small" if small else "")
        paths = [self.work / "corpus" / f"{name}.npz" for name, _, _ in (SMALL if small else FULL)]
        for path in paths:
            expect(path, "corpus", command)
        digest = autoencoder_digest(self.autoencoder())
        return [self.shard(path, digest) for path in paths]

    def shard(self, path: Path, autoencoder: str) -> Shard:
        """One part of the corpus, of the autoencoder of this digest and this release's looks.

        Raises:
            TrainingError: it is damaged, or was made of something else.
        """
        shard, remedy = read_shard(path), "move it away and run `kontext train corpus` again"
        if shard.origin.autoencoder != autoencoder:
            raise TrainingError(
                f"{path}: made with another autoencoder than {self.work / 'vae'}; {remedy}"
            )
        if shard.looks[0] not in [draw_looks(shard.origin.first, face) for face in (False, True)]:
            raise TrainingError(f"{path}: shows other looks than this release draws; {remedy}")
        return shard


def expect(path: Path, what: str, command: str) -> None:
    """That a file of an earlier stage is there.

    Raises:
        TrainingError: it is not; the message names the command that makes it.
    """
    if not path.is_file():
        raise TrainingError(
            f"{path}: no {what} here; run `{command}` with the same --work and --cutouts first"
        )
