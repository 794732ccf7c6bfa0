"""The held-out cut-outs that come with the tests, and a miniature narrow enough to train here."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from kontext_engine.training import miniature
from kontext_engine.training.corpus import Corpus
from kontext_engine.training.cutouts import held_out_order, read_set, split_of
from kontext_engine.training.shards import Shard
from kontext_engine.training.studio import Studio
from kontext_engine.training.tokenizers import build_tokenizers
from kontext_engine.training.wording import vocabulary_texts
from tests.threads import one_thread  # noqa: F401 - on which bitwise equality is promised
from tests.training.trainee import NARROW

DATA = Path(__file__).parents[1] / "data"
CUTOUTS = DATA / "cutouts"
NOUNS = tuple((DATA / "training-nouns.txt").read_text("utf-8").splitlines())


def in_this_process(workers, _context, start, given):
    """What renders families, in threads in place of processes."""
    return ThreadPoolExecutor(workers, initializer=start, initargs=given)


@pytest.fixture(scope="session")
def cutouts():
    return read_set(CUTOUTS)


@pytest.fixture(scope="session")
def held_out(cutouts):
    return held_out_order(cutouts)


@pytest.fixture(scope="session")
def studio(cutouts):
    """A cast of what is trained on, of which a clone has only the props."""
    return Studio([c for c in cutouts if split_of(c) == "train"], cutouts)


@pytest.fixture(scope="session")
def tokenizers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizers")
    length = miniature.TEXT_TOKENS
    build_tokenizers(vocabulary_texts(NOUNS), folder, length, length)
    return folder


@pytest.fixture
def narrow(monkeypatch, tokenizers):
    """A function that makes the same untrained miniature every time, small in every respect."""
    for name, value in NARROW.items():
        monkeypatch.setattr(miniature, name, value)

    def make():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return miniature.new_miniature(tokenizers)

    return make


@pytest.fixture(scope="session")
def shard(studio):
    """Four families at 64 px whose latents say where they are: family in channel 0, look in 1."""
    families = [studio.family(seed, (64, 64)) for seed in range(4)]
    looks = tuple(family.looks for family in families)
    latents = np.random.default_rng(0).standard_normal((4, len(looks[0]), 16, 8, 8))
    latents[:, :, 0] = np.arange(4)[:, None, None, None]
    latents[:, :, 1] = np.arange(len(looks[0]))[None, :, None, None]
    nouns = tuple(family.subject.noun for family in families)
    return Shard((64, 64), latents.astype(np.float16), nouns, looks)


@pytest.fixture(scope="session")
def corpus(shard):
    return Corpus([shard], seed=1)
