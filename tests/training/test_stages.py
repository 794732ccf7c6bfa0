"""``kontext train``: its stages one after the other, and what it says when one cannot run."""

import json
import os
import shutil
from multiprocessing import dummy
from pathlib import Path

import numpy as np
import pytest
import torch

from flows.cli import ExitCode, main
from kontext_engine.catalogue import resolve_model
from kontext_engine.training import autoencoder, corpus, miniature, stages
from kontext_engine.training.checkpoint import listed, load_newest
from kontext_engine.training.flow import FlowRun
from kontext_engine.training.grid import held_out_items
from kontext_engine.training.miniature import read_miniature
from kontext_engine.training.stages import Workshop, transformer_stage
from tests.training.conftest import CUTOUTS
from tests.training.test_autoencoder import narrow_autoencoder
from tests.training.test_flow import assert_bitwise_equal

# torch 2.13 tells that autocast keeps the norms' weights in float32; that is meant.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Mismatch dtype between input and weight:UserWarning"
)


def kontext(*args):
    with pytest.raises(SystemExit) as exit_:
        main(("train", *map(str, args)))
    return exit_.value.code


class InThisProcess:
    Pool = staticmethod(dummy.Pool)


@pytest.fixture(scope="module")
def small_scale():
    """Everything narrow and few; the code that runs is that of a real training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(miniature, "WIDTH", 64)
        patch.setattr(miniature, "POOLED", 32)
        patch.setattr(miniature, "BLOCKS", (1, 1))
        patch.setattr(autoencoder, "new_autoencoder", narrow_autoencoder)
        patch.setattr(autoencoder, "RING", 2)
        patch.setattr(stages, "SHOWN", 1)
        patch.setattr(stages, "MEASURED", 1)
        patch.setattr(stages, "SMALL", (("square-64", (32, 32), 1.0),))
        patch.setattr(stages, "held_out_items", lambda every: held_out_items(every, 1))
        patch.setattr(corpus.multiprocessing, "get_context", lambda _: InThisProcess)
        patch.setattr(os, "nice", lambda _: 0)
        yield


@pytest.fixture(scope="module")
def trained(small_scale, tmp_path_factory):
    """A work folder after the first three stages, each two steps or families long."""
    work = tmp_path_factory.mktemp("training") / "work"
    common = ("--work", work, "--cutouts", CUTOUTS, "--threads", 1)
    steps = ("--steps", 2, "--batch", 2)
    assert kontext("autoencoder", *common, *steps) == ExitCode.DONE
    assert kontext("corpus", "--small", "--families", 2, *common) == ExitCode.DONE
    assert kontext("transformer", "--small", *steps, *common) == ExitCode.DONE
    return work


def test_the_stages_leave_what_the_next_ones_need(trained):
    assert listed(trained / "autoencoder")[-1][0] == 2
    assert listed(trained / "transformer-small")[-1][0] == 2
    config = json.loads((trained / "vae" / "config.json").read_text())
    assert (config["shift_factor"], config["scaling_factor"]) != (0.0, 1.0)
    shard = corpus.read_shard(trained / "corpus" / "square-64.npz")
    assert shard.latents.shape == (2, 28, 16, 4, 4)
    assert float(shard.latents.astype(np.float32).std()) == pytest.approx(1.0, abs=0.5)
    assert resolve_model(trained / "model").name == "kontext-mini"
    averaged = load_newest(trained / "transformer-small")["average"]
    kept = {k.removeprefix("module."): v for k, v in averaged.items() if k != "n_averaged"}
    written = dict(read_miniature(trained / "model").modules().state_dict())
    assert_bitwise_equal(written, {k: v.bfloat16().float() for k, v in kept.items()})


def test_a_finished_stage_has_nothing_more_to_do(trained, capsys):
    before = (trained / "corpus" / "square-64.npz").stat().st_mtime_ns
    args = ("--small", "--work", trained, "--cutouts", CUTOUTS)
    assert kontext("corpus", "--families", 2, *args) == ExitCode.DONE
    assert kontext("transformer", "--steps", 2, "--batch", 2, *args) == ExitCode.DONE
    shown = capsys.readouterr().out
    assert "corpus: square-64.npz is there already" in shown
    assert "transformer: resumed at step 2" in shown
    assert (trained / "corpus" / "square-64.npz").stat().st_mtime_ns == before


@pytest.fixture
def copied(trained, tmp_path):
    """The work folder again, to train on in."""
    return Path(shutil.copytree(trained, tmp_path / "work"))


def test_longer_training_goes_on_from_given_weights_with_log_and_grid(copied):
    """The full stage's way: --init from a model folder, another run's folder."""
    trained, said = copied, []
    run = FlowRun(trained / "again", 50, batch=1, peak=1e-5, save_every=25, grid_every=50)
    shop = Workshop(trained, CUTOUTS)
    start = dict(read_miniature(trained / "model").modules().state_dict())
    transformer_stage(shop, run, small=True, say=said.append, init=trained / "model")
    assert (trained / "grids" / "small-000050.png").stat().st_size > 10_000
    (row,) = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert (row["step"], row["small"]) == (50, True)
    assert {"loss", "rate", "speed"} <= set(row)
    assert said[0].startswith("transformer step 50/50: loss ")
    state = load_newest(run.folder)["modules"]
    moved = max(float((state[k] - v).abs().max()) for k, v in start.items())
    assert 0 < moved < 50 * 1e-4  # close by: it did not begin anew


def test_the_decoder_is_refined_under_the_same_latents(copied):
    trained = copied
    before = load_newest(trained / "autoencoder")["ema"]
    args = ("--work", trained, "--cutouts", CUTOUTS, "--steps", 1, "--batch", 2)
    config = (trained / "vae" / "config.json").read_text()
    assert kontext("decoder", *args) == ExitCode.DONE
    after = load_newest(trained / "decoder")["ema"]
    for name, value in after.items():
        if name.startswith("module.encoder."):
            assert torch.equal(value, before[name]), name
    assert not torch.equal(
        after["module.decoder.conv_out.weight"], before["module.decoder.conv_out.weight"]
    )
    kept = json.loads((trained / "vae" / "config.json").read_text())
    for name in ("shift_factor", "scaling_factor"):
        assert kept[name] == json.loads(config)[name]


@pytest.mark.parametrize("stage", ["autoencoder", "decoder", "corpus", "transformer"])
def test_without_cutouts_every_stage_says_so_in_one_line(stage, tmp_path, capsys):
    missing = tmp_path / "none"
    assert kontext(stage, "--work", tmp_path / "w", "--cutouts", missing) == ExitCode.FAILED
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        f"{missing}: no cut-outs here; expected names.json and assets/; "
        "run `make data` (needs npm, 17 MB)\n"
    )


@pytest.mark.parametrize(
    ("args", "missing", "what", "command"),
    [
        (["decoder"], "vae/config.json", "autoencoder", "kontext train autoencoder"),
        (["corpus"], "vae/config.json", "autoencoder", "kontext train autoencoder"),
        (["transformer"], "corpus/square-128.npz", "corpus", "kontext train corpus"),
        (
            ["transformer", "--small"],
            "corpus/square-64.npz",
            "corpus",
            "kontext train corpus --small",
        ),
    ],
)
def test_a_stage_out_of_order_names_the_one_to_run_first(
    args, missing, what, command, tmp_path, capsys
):
    assert kontext(*args, "--work", tmp_path, "--cutouts", CUTOUTS) == ExitCode.FAILED
    assert capsys.readouterr().err == (
        f"{tmp_path / missing}: no {what} here; run `{command}` with the same --work and --cutouts "
        "first\n"
    )


def test_init_without_a_model_says_what_is_expected(trained, tmp_path, capsys):
    args = ("--small", "--work", trained, "--cutouts", CUTOUTS, "--init", tmp_path)
    assert kontext("transformer", *args) == ExitCode.FAILED
    shown = capsys.readouterr().err
    assert shown.startswith(f"{tmp_path} is not a Kontext model: model_index.json")
    assert shown.count("\n") == 1


def test_a_device_that_is_not_there_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    args = ("--work", tmp_path, "--cutouts", CUTOUTS, "--device", "cuda")
    assert kontext("autoencoder", *args) == ExitCode.FAILED
    assert capsys.readouterr().err == "--device cuda: no CUDA device here; use --device cpu\n"


def test_a_work_folder_that_cannot_be_made_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert kontext("corpus", "--work", tmp_path / "file" / "w") == ExitCode.FAILED
    assert capsys.readouterr().err.count("\n") == 1


def test_ctrl_c_is_told_and_has_its_exit_code(tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "corpus_stage", interrupted)
    assert kontext("corpus", "--work", tmp_path) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == (
        "stopped; the same command goes on from the last checkpoint\n"
    )
