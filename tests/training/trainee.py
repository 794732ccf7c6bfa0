"""``python -m tests.training.trainee SHARD TOKENIZERS FOLDER``: a narrow model trained for 24
steps on one thread, a checkpoint at 12; the step it begins at and every step done are lines.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch

from kontext_engine.training import miniature
from kontext_engine.training.corpus import Corpus
from kontext_engine.training.flow import FlowRun, FlowTrainer
from kontext_engine.training.shards import read_shard

STEPS, SAVED = 24, 12
NARROW = {"WIDTH": 64, "POOLED": 32, "BLOCKS": (1, 1)}  # of the miniature: small in every respect


def main(shard: Path, tokenizers: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    for name, value in NARROW.items():
        setattr(miniature, name, value)
    train(shard, tokenizers, folder, tell)


def train(shard: Path, tokenizers: Path, folder: Path, tell: Callable[[int], None]) -> None:
    """From its newest checkpoint on; ``tell`` hears the step it begins at and each that is done."""
    torch.manual_seed(0)
    run = FlowRun(folder, STEPS, batch=2, warmup=6, save_every=SAVED, redrawn=0.5)
    corpus = Corpus([read_shard(shard)], seed=1)
    trainer = FlowTrainer(miniature.new_miniature(tokenizers), corpus, run)
    trainer.resume()
    tell(trainer.done)
    trainer.train(lambda progress: tell(progress.step), every=1)


def tell(step: int) -> None:
    sys.stdout.write(f"{step}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
