"""A trainer killed -9 between two checkpoints: what it goes on to is what it would have been."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kontext_engine.training import miniature
from kontext_engine.training.checkpoint import listed, load_newest
from kontext_engine.training.shards import write_shard
from tests.training.norms import NORMS
from tests.training.test_flow import assert_bitwise_equal
from tests.training.trainee import NARROW, SAVED, STEPS, train

pytestmark = NORMS
ROOT = Path(__file__).parents[2]


@pytest.fixture
def trainee(shard, tokenizers, tmp_path):
    """A function that starts the trainer in a process of its own, by the name of its folder."""
    stored = tmp_path / "shard.npz"
    write_shard(stored, shard)
    started = []

    def start(name):
        argv = ["-W", "ignore", "-m", "tests.training.trainee", stored, tokenizers, tmp_path / name]
        process = subprocess.Popen(
            [sys.executable, *map(str, argv)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.gate
def test_a_trainer_killed_between_checkpoints_ends_as_an_undisturbed_one(
    trainee, tokenizers, tmp_path, monkeypatch
):
    """Weights, their average and the optimizer at the last step, bit for bit, on one thread."""
    at = random.Random(7).randint(SAVED + 1, STEPS - 1)
    killed = trainee("killed")
    for line in killed.stdout:
        if line.strip() == str(at):
            killed.kill()
            break
    assert killed.wait() == -signal.SIGKILL
    assert [step for step, _ in listed(tmp_path / "killed")] == [SAVED]

    again, undisturbed = trainee("killed"), []
    for name, value in NARROW.items():
        monkeypatch.setattr(miniature, name, value)
    train(tmp_path / "shard.npz", tokenizers, tmp_path / "straight", undisturbed.append)
    told = [int(line) for line in again.stdout]
    assert again.wait() == 0
    assert (told, undisturbed) == ([*range(SAVED, STEPS + 1)], [*range(STEPS + 1)])
    ends = [load_newest(tmp_path / name) for name in ("killed", "straight")]
    assert ends[0]["step"] == STEPS
    assert_bitwise_equal(*ends)


@pytest.mark.gate
def test_a_trainer_that_is_told_to_end_saves_the_step_it_has_done(trainee, tmp_path):
    at = SAVED // 2
    ended = trainee("ended")
    for line in ended.stdout:
        if line.strip() == str(at):
            ended.send_signal(signal.SIGTERM)
            break
    assert ended.wait() != 0
    ((step, _),) = listed(tmp_path / "ended")
    assert at <= step < SAVED
