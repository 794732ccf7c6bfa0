"""The shipped cut-outs, a bench cut short, and nets that need no training."""

from pathlib import Path

import pytest
import torch

from kontext_engine.evaluation.identity.net import Identity, IdentityNet
from kontext_engine.evaluation.items import Cast
from kontext_engine.evaluation.studio import StudioSettings, run_studio
from kontext_engine.training.cutouts import OCCLUDERS, THINGS, read_set
from kontext_engine.training.scenes import SCENES
from tests.evaluation.oracles import SIZE, Answers, OracleEngine, copy_answer
from tests.threads import one_thread  # noqa: F401

CUTOUTS = Path(__file__).parent.parent / "data" / "cutouts"
LIMIT = 5


@pytest.fixture(scope="session")
def cutouts():
    return read_set(CUTOUTS)


@pytest.fixture(scope="session")
def cast(cutouts):
    return Cast.of(cutouts)


@pytest.fixture(scope="session")
def untrained():
    """A net with random weights: what the bench does with it, not how well, is tested."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = IdentityNet(len(SCENES), len(OCCLUDERS) + len(THINGS) + 1).eval()
    return Identity(
        net, tuple(SCENES), (*OCCLUDERS, *THINGS, "saxophone"), {"subjects": 7}, "d" * 64
    )


@pytest.fixture(scope="session")
def answers(cast):
    return Answers(cast, LIMIT)


@pytest.fixture(scope="session")
def measure(cutouts, untrained):
    """Run the bench, cut short, on an engine that answers with ``answer``."""

    def run(answer, tell=lambda *_: None, engine=OracleEngine, **given):
        cut_short = {"steps": 2, "batch": 5, "limit": LIMIT, "edge": SIZE[0]}
        asked = engine(answer)
        settings = StudioSettings(**cut_short | given)
        report = run_studio(asked, lambda pictures: pictures, untrained, cutouts, settings, tell)
        return report, asked

    return run


@pytest.fixture(scope="session")
def knowing(measure, answers):
    """The report on an engine that answers with the noisy truth, and that engine."""
    return measure(answers.truth, keep_pictures=True)


@pytest.fixture(scope="session")
def copying(measure):
    """The same on an engine that hands its input back."""
    return measure(copy_answer)
