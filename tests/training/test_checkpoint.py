"""Checkpoints and the learning rate: what a resumed run stands on."""

import os
import pickle
from itertools import pairwise

import pytest
import torch

from kontext_engine.training import checkpoint
from kontext_engine.training.average import moving_average
from kontext_engine.training.errors import TrainingError
from kontext_engine.training.schedule import learning_rate


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_two_are_kept_and_the_newest_is_read(tmp_path):
    folder = tmp_path / "run" / "flow"
    assert checkpoint.load_newest(folder) is None
    for step in (5, 10, 100):
        path = checkpoint.save(folder, step, {"step": step, "w": torch.full((3,), float(step))})
        assert path == folder / f"step-{step:08d}.pt"
    assert names(folder) == ["step-00000010.pt", "step-00000100.pt"]
    state = checkpoint.load_newest(folder)
    assert state["step"] == 100
    assert torch.equal(state["w"], torch.full((3,), 100.0))
    assert [step for step, _ in checkpoint.listed(folder)] == [10, 100]


@pytest.mark.parametrize("fails", ["writing", "syncing", "serialising"])
def test_a_save_that_fails_leaves_the_former_and_no_rubbish(fails, tmp_path, monkeypatch):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, {"step": step})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    state = {"step": 3}

    def half(_, file):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    def unsynced(_):
        raise OSError(5, "Input/output error")

    if fails == "writing":
        monkeypatch.setattr(torch, "save", half)
    elif fails == "syncing":
        monkeypatch.setattr(os, "fsync", unsynced)
    else:
        state["lambda"] = lambda: None
    with pytest.raises((OSError, AttributeError, pickle.PicklingError)):
        checkpoint.save(tmp_path, 3, state)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert checkpoint.load_newest(tmp_path)["step"] == 2


def test_a_killed_writers_draft_is_never_read(tmp_path):
    checkpoint.save(tmp_path, 7, {"step": 7})
    (tmp_path / ".step-00000009.pt.123").write_bytes(b"half of it")
    (tmp_path / "step-9.pt").write_bytes(b"somebody's own")
    assert checkpoint.load_newest(tmp_path)["step"] == 7


@pytest.mark.parametrize("left", [0.0, 0.3, 0.9, 0.999, "junk"])
def test_a_damaged_checkpoint_names_itself_and_where_training_would_go_on(left, tmp_path):
    for step in (5, 9):
        path = checkpoint.save(tmp_path, step, {"step": step, "w": torch.zeros(9000)})
    whole = path.read_bytes()
    path.write_bytes(b"junk" * 500 if left == "junk" else whole[: int(left * len(whole))])
    with pytest.raises(TrainingError) as told:
        checkpoint.load_newest(tmp_path)
    assert str(told.value).startswith(f"{path}: not a whole checkpoint (")
    assert str(told.value).endswith("delete it, and the same command goes on from step 5")
    path.unlink()
    assert checkpoint.load_newest(tmp_path)["step"] == 5


class Command:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_nothing_in_a_checkpoint_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"step": 1, "x": Command()}, tmp_path / "step-00000001.pt")
    with pytest.raises(TrainingError, match="UnpicklingError"):
        checkpoint.load_newest(tmp_path)
    assert not (tmp_path / "harm").exists()


def test_the_learning_rate_rises_rests_and_falls():
    rates = [learning_rate(s, peak=1e-3, warmup=30, total=500, decay_from=0.6) for s in range(600)]
    assert rates[0] == pytest.approx(1e-3 / 30)
    assert all(later > earlier for earlier, later in pairwise(rates[:30]))
    assert set(rates[29:301]) == {1e-3}
    assert all(later < earlier for earlier, later in pairwise(rates[300:501]))
    assert rates[400] == pytest.approx(1e-3 * (0.02 + 0.98 / 2))
    assert rates[500:] == [pytest.approx(2e-5)] * 100
    assert max(rates) == 1e-3


def test_the_learning_rate_is_smooth_and_survives_short_runs():
    rates = [learning_rate(s, peak=1.0, warmup=100, total=1000) for s in range(1001)]
    steps = [abs(b - a) for a, b in pairwise(rates)]
    assert max(steps) <= 1 / 100 + 1e-12
    for total in (1, 2, 5):
        assert all(0 < learning_rate(s, peak=1.0, warmup=3, total=total) <= 1 for s in range(10))


def test_the_average_forgets_a_random_start_and_then_moves_slowly():
    model = torch.nn.Linear(4, 4)
    average = moving_average(model, 0.99)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    expected = None
    for count in range(400):
        average.update_parameters(model)
        value = float(average.module.weight.detach().mean())
        if count == 0:
            assert value == 1.0  # the first update is a copy
            with torch.no_grad():
                model.weight.fill_(3.0)
            expected = 1.0
        else:
            decay = min(0.99, (1 + count) / (10 + count))
            expected = decay * expected + (1 - decay) * 3.0
            assert value == pytest.approx(expected, rel=1e-4)
    assert expected > 2.9
