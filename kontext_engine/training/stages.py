"""The stages of training, each resumable: corpus, transformer, distill (autoencoder: ``coding``).

A work folder (outside the work tree) holds everything: ``autoencoder/`` and ``transformer/``
checkpoints, ``vae/``, ``tokenizers/``, ``corpus/*.npz``, ``grids/``, ``log.jsonl``, ``model/``,
``distilled/``.
"""

from __future__ import annotations

import copy
import json
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from kontext_engine.api import EngineOptions
from kontext_engine.catalogue import resolve_model
from kontext_engine.engine import KontextEngine
from kontext_engine.errors import EngineError
from kontext_engine.spec import NumericsProfile
from kontext_engine.training.corpus import Corpus
from kontext_engine.training.distill import Distiller, DistillRun
from kontext_engine.training.errors import TrainingError
from kontext_engine.training.flow import FlowRun, FlowTrainer, Progress
from kontext_engine.training.grid import draw_grid, held_out_items
from kontext_engine.training.inherit import carry_ends, inherit, load_autoencoder
from kontext_engine.training.miniature import (
    TEXT_TOKENS,
    Miniature,
    new_miniature,
    read_miniature,
    write_model,
)
from kontext_engine.training.shards import autoencoder_digest, build_shard
from kontext_engine.training.studio import Studio
from kontext_engine.training.tokenizers import build_tokenizers
from kontext_engine.training.wording import vocabulary_texts
from kontext_engine.training.workshop import FULL, SMALL, Say, Workshop, expect

CARRIED = 12  # training families that the map between two autoencoders' latents is fitted to


def corpus_stage(shop: Workshop, families: int, small: bool, say: Say, workers: int = 1) -> None:
    """Render and encode families into ``corpus/``; shards that exist are kept.

    Raises:
        FileNotFoundError: ``make data`` was not run.
        TrainingError: the autoencoder was not trained, the device is not there, or a shard that
            exists is not what would be made now.
    """
    every, training, _ = shop.cast()
    device = shop.torch_device()
    model = shop.autoencoder().to(device, memory_format=torch.channels_last).eval()
    first, digest = 0, autoencoder_digest(model)
    for name, size, share in SMALL if small else FULL:
        path, count = shop.work / "corpus" / f"{name}.npz", max(1, round(families * share))
        if path.exists():
            made = shop.shard(path, digest).origin
            if (made.first, made.count) != (first, count):
                raise TrainingError(
                    f"{path}: holds {made.count} families from seed {made.first}, not {count} from "
                    f"{first}; move it away, or give the --families it was made with"
                )
            say(f"corpus: {path.name} is there already")
        else:
            started = time.monotonic()
            build_shard(path, model, training, every, range(first, first + count), size, workers)
            say(
                f"corpus: {path.name}, {count} families of {size[0]}x{size[1]} px "
                f"in {time.monotonic() - started:.0f} s"
            )
        first += count


def transformer_stage(
    shop: Workshop,
    run: FlowRun,
    small: bool,
    say: Say,
    init: Path | None = None,
    compiled: bool = False,
) -> None:
    """Train transformer and text encoders on the corpus, or distill the transformer, as ``run``
    is; resumes, logs, draws grids. Writes ``model/``, of distillation ``distilled/``.

    ``init`` starts from a model folder's weights (the 64 px stage's) or from a shipped model's,
    by its name, as far as they fit: words and latents may be others. The teacher of distillation is
    by default ``model/``.

    Raises:
        FileNotFoundError: ``make data`` was not run.
        TrainingError: an earlier stage was not run, or the device is not there.
        ModelError: ``init`` is no model.
        FloatingPointError: the loss is no longer finite.
        KeyboardInterrupt: after Ctrl-C, when the step is done and saved.
    """
    every, training, _ = shop.cast()
    studio = Studio(training, every)
    device = shop.torch_device()
    corpus, autoencoder = Corpus(shop.shards(small), run.seed), shop.autoencoder()
    distilling = isinstance(run, DistillRun)
    if distilling and init is None:
        init = shop.work / "model"
        expect(init / "model_index.json", "model", "kontext train transformer")
    if init is not None:
        # A run's own model is known by its place, for it is replaced; a teacher's weights are not.
        place = "" if distilling else shop.place_of(init)
        run = replace(run, begun_from=place or resolve_model(init).digest)
    run = replace(run, latents=autoencoder_digest(autoencoder))
    model = _start(shop, studio, init, say)
    trainer = (
        Distiller(model, corpus, run, device)
        if isinstance(run, DistillRun)
        else FlowTrainer(model, corpus, run, device)
    )
    folder, name = (
        (shop.work / "distilled", "distilled") if distilling
        else (shop.work / "model", "small" if small else "full")
    )  # fmt: skip
    if compiled:
        trainer.compile()
    if trainer.resume():
        say(f"transformer: resumed at step {trainer.done}")
    journal = _Journal(shop, run, small, say, first=trainer.done)
    items = held_out_items(every)

    def on_grid(step: int, model: Miniature) -> None:
        write_model(folder, model, autoencoder, torch.float32)
        engine = KontextEngine.load(
            resolve_model(folder),
            EngineOptions(numerics=NumericsProfile(device=shop.device)),
        )
        grids = shop.work / "grids"
        try:
            grids.mkdir(exist_ok=True)
            draw_grid(engine, items, grids / f"{name}-{step:06d}.png")
        except (EngineError, OSError) as error:
            say(f"transformer: no grid of step {step} ({error}); training goes on")
        else:
            say(f"transformer: grid of step {step} in {grids}")

    trainer.train(journal.write, on_grid=on_grid)
    write_model(folder, trainer.averaged(), autoencoder, torch.bfloat16)
    say(f"transformer: wrote {folder}")


@dataclass
class _Journal:
    """Says how training goes, and keeps every reading as a line of ``log.jsonl``."""

    shop: Workshop
    run: FlowRun
    small: bool
    say: Say
    first: int  # the step it was resumed at
    started: float = field(default_factory=time.monotonic)

    def write(self, progress: Progress) -> None:
        spent = time.monotonic() - self.started
        speed = (progress.step - self.first) * self.run.batch / spent
        self.say(
            f"transformer step {progress.step}/{progress.steps}: loss "
            f"{progress.means['loss']:.4f}, rate {progress.rate:.1e}, {speed:.0f} pictures/s"
        )
        row = {
            "step": progress.step, "rate": progress.rate, "speed": speed, "small": self.small,
            **progress.means,
        }  # fmt: skip
        try:
            with (self.shop.work / "log.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            self.say(f"transformer: step {progress.step} is not logged ({error}); training goes on")


def _start(shop: Workshop, studio: Studio, init: Path | None, say: Say) -> Miniature:
    """The miniature to train, with what fits of the weights of ``init``."""
    folder = shop.work / "tokenizers"
    if not folder.exists():
        draft = folder.with_name(f".tokenizers.{os.getpid()}")
        build_tokenizers(vocabulary_texts(studio.nouns), draft, TEXT_TOKENS, TEXT_TOKENS)
        draft.rename(folder)
    torch.manual_seed(0)
    model = new_miniature(folder)
    if init is None:
        return model
    source = Path(resolve_model(init).source)
    anew = inherit(model, read_miniature(source))
    if anew:
        say(f"transformer: {len(anew)} weights begin anew, {anew[0]} the first of them")
    mine, theirs = shop.autoencoder(), load_autoencoder(source)
    # A model folder has them in half the precision.
    rounded = nn.Module.to(copy.deepcopy(mine), torch.bfloat16)
    if autoencoder_digest(theirs) not in {autoencoder_digest(one) for one in (mine, rounded)}:
        seen = [studio.family(5_000_000 + k, (128, 128)).pictures for k in range(CARRIED)]
        explained = carry_ends(model, mine, theirs, seen)
        say(f"transformer: ends carried over to other latents ({explained:.0%} of them linear)")
    return model
