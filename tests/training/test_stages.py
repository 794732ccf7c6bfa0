"""``kontext train``: its stages one after the other, and what it says when one cannot run."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from flows.cli import ExitCode, main
from kontext_engine.catalogue import resolve_model
from kontext_engine.training import (
    autoencoder,
    coding,
    crops,
    miniature,
    shards,
    stages,
    workshop,
)
from kontext_engine.training.checkpoint import listed, load_newest
from kontext_engine.training.cutouts import OCCLUDERS, THINGS, read_set
from kontext_engine.training.errors import TrainingError
from kontext_engine.training.flow import FlowRun
from kontext_engine.training.grid import held_out_items
from kontext_engine.training.miniature import read_miniature
from kontext_engine.training.stages import transformer_stage
from kontext_engine.training.workshop import Workshop
from tests.training.conftest import CUTOUTS, in_this_process
from tests.training.norms import NORMS
from tests.training.test_autoencoder import narrow_autoencoder
from tests.training.test_flow import assert_bitwise_equal
from tests.training.trainee import NARROW

pytestmark = NORMS


RATES = ("-1", "0", "nan", "2")
WIDTHS = ("16,32,64", "16,32,64,100", "16,32,64,x", "0,8,8,8", "")


def kontext(*args):
    with pytest.raises(SystemExit) as exit_:
        main(("train", *map(str, args)))
    return exit_.value.code


@pytest.fixture(scope="module")
def small_scale():
    """Everything narrow and few; the code that runs is that of a real training."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in NARROW.items():
            patch.setattr(miniature, name, value)
        patch.setattr(autoencoder, "new_autoencoder", narrow_autoencoder)
        patch.setattr(crops, "RING", 2)
        patch.setattr(coding, "FAMILIES", 1)
        patch.setattr(coding, "SHOWN", 1)
        patch.setattr(coding, "MEASURED", 1)
        for module in (stages, workshop):
            patch.setattr(module, "SMALL", (("square-64", (32, 32), 1.0),))
        patch.setattr(stages, "held_out_items", lambda every: held_out_items(every, 1))
        patch.setattr(shards, "ProcessPoolExecutor", in_this_process)
        patch.setattr(os, "nice", lambda _: 0)
        patch.setattr(shards.signal, "signal", lambda *_: None)  # its workers are threads here
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
    assert "_name_or_path" not in config
    assert (config["shift_factor"], config["scaling_factor"]) != (0.0, 1.0)
    shard = shards.read_shard(trained / "corpus" / "square-64.npz")
    assert shard.latents.shape == (2, 42, 16, 4, 4)
    assert set(shard.nouns) <= {name.replace("-", " ") for name in (*OCCLUDERS, *THINGS)}
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


def test_distillation_begins_with_the_trained_model_and_leaves_it(copied, told, capsys):
    args = ("--small", "--work", copied, "--cutouts", CUTOUTS, "--steps", 1, "--batch", 1)
    before = (copied / "model" / "model_index.json").stat().st_mtime_ns
    assert kontext("distill", *args, "--peak", 1e-9, "--threads", 1) == ExitCode.DONE
    student, teacher = (read_miniature(copied / name).modules() for name in ("distilled", "model"))
    for name, value in teacher.state_dict().items():  # one step at next to no rate
        assert torch.allclose(value, student.state_dict()[name], atol=1e-3), name
    assert (copied / "model" / "model_index.json").stat().st_mtime_ns == before
    shutil.rmtree(copied / "model")
    capsys.readouterr()
    said = told("distill", *args)
    assert said.startswith(f"{copied / 'model' / 'model_index.json'}: no model here; run `kontext")


def test_the_decoder_is_refined_under_the_same_latents(copied, capsys, told):
    trained = copied
    before = load_newest(trained / "autoencoder")["ema"]
    args = ("--work", trained, "--cutouts", CUTOUTS, "--steps", 1, "--batch", 2)
    config = (trained / "vae" / "config.json").read_text()
    assert kontext("decoder", *args, "--drawn-by", trained / "model") == ExitCode.DONE
    assert f"autoencoder: 4 edits drawn by {trained / 'model'}" in capsys.readouterr().out
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
    assert kontext("decoder", *args) == ExitCode.DONE  # its own result is what it goes on with
    narrow_autoencoder().save_pretrained(trained / "vae")
    capsys.readouterr()
    assert told("decoder", *args).startswith(
        f"{trained / 'decoder'}: the run there began from another autoencoder than this one would"
    )


@pytest.mark.parametrize("stage", ["autoencoder", "decoder", "corpus", "transformer"])
def test_without_cutouts_every_stage_says_so_in_one_line(stage, tmp_path, capsys):
    missing = tmp_path / "none"
    assert kontext(stage, "--work", tmp_path / "w", "--cutouts", missing) == ExitCode.FAILED
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        f"{missing}: no cut-outs here; expected names.json and assets/; "
        "run `make data` (needs npm, 18 MB)\n"
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


@pytest.fixture
def told(capsys):
    """A function that runs a stage that must fail, and gives the one line that it says."""

    def run(*args):
        assert kontext(*args) == ExitCode.FAILED
        # A model that was loaded before has told so on lines of its own.
        *loaded, said = capsys.readouterr().err.strip().split("\n")
        assert all("Loading weights" in line for line in loaded)
        return said

    return run


def test_a_corpus_of_another_autoencoder_is_not_trained_on(copied, told):
    args = ("--small", "--work", copied, "--cutouts", CUTOUTS)
    config = copied / "vae" / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps(values | {"scaling_factor": 3.0}))
    shard = copied / "corpus" / "square-64.npz"
    assert (
        told("transformer", *args)
        == told("corpus", "--families", 2, *args)
        == (
            f"{shard}: made with another autoencoder than {copied / 'vae'}; move it away and run "
            "`kontext train corpus` again"
        )
    )


def test_a_corpus_of_other_looks_is_not_trained_on(copied, told):
    path = copied / "corpus" / "square-64.npz"
    shard = shards.read_shard(path)
    fewer = replace(shard, looks=tuple(looks[:22] for looks in shard.looks))
    shards.write_shard(path, fewer)
    said = told("transformer", "--small", "--work", copied, "--cutouts", CUTOUTS)
    assert said.startswith(f"{path}: shows other looks than this release draws; move it away")


def test_a_corpus_of_another_size_is_not_taken_for_this_one(trained, told):
    args = ("--small", "--work", trained, "--cutouts", CUTOUTS)
    assert told("corpus", "--families", 3, *args).endswith(
        "square-64.npz: holds 2 families from seed 0, not 3 from 0; move it away, or give the "
        "--families it was made with"
    )


def test_a_run_begun_anew_is_not_taken_for_one_from_given_weights(copied, told):
    args = ("--small", "--work", copied, "--cutouts", CUTOUTS, "--steps", 3, "--batch", 2)
    said = told("transformer", *args, "--init", copied / "model")
    assert said.startswith(
        f"{copied / 'transformer-small'}: the run there began from other weights"
    )
    assert kontext("transformer", *args) == ExitCode.DONE


@pytest.mark.parametrize("stage", ["autoencoder", "corpus", "transformer"])
def test_a_set_without_the_props_is_one_line(stage, told, tmp_path):
    part = Path(shutil.copytree(CUTOUTS, tmp_path / "cutouts"))
    for cutout in read_set(part):
        if cutout.name in ("balloon", "pizza"):
            cutout.path.unlink()
    assert told(stage, "--work", tmp_path / "w", "--cutouts", part) == (
        f"{part}: 2 cut-outs that instructions name are missing (balloon, pizza); fetch the set "
        "again with `make data`"
    )


def test_one_family_is_a_corpus(copied, monkeypatch):
    """A share of one family is still one: no part of the corpus is empty."""
    small = (("a-64", (32, 32), 0.9), ("b-64", (32, 32), 0.1))
    for module in (stages, workshop):
        monkeypatch.setattr(module, "SMALL", small)
    args = ("--small", "--families", 1, "--work", copied, "--cutouts", CUTOUTS, "--threads", 1)
    assert kontext("corpus", *args) == ExitCode.DONE
    assert [len(shard) for shard in Workshop(copied, CUTOUTS).shards(small=True)] == [1, 1]


@pytest.mark.parametrize(
    ("stage", "option", "value", "told"),
    [
        *(("transformer", "--peak", peak, "a rate above 0, at most 1") for peak in RATES),
        *(("autoencoder", "--widths", text, "four multiples of 8") for text in WIDTHS),
        ("decoder", "--latents", "kontext-mini", "expected the stage 'autoencoder'"),
        ("autoencoder", "--drawn-by", "kontext-mini", "expected the stage 'decoder'"),
    ],
)
def test_a_value_that_makes_no_sense_is_a_usage_error(stage, option, value, told, tmp_path, capsys):
    assert kontext(stage, "--work", tmp_path, option, value) == ExitCode.WRONG
    assert told in " ".join(capsys.readouterr().err.split())


def test_what_is_asked_of_an_autoencoder_reaches_its_training(copied, monkeypatch):
    given = []
    monkeypatch.setattr(
        coding, "train_autoencoder", lambda run, *_: given.append(run) or narrow_autoencoder()
    )
    args = ("--work", copied, "--cutouts", CUTOUTS, "--steps", 10, "--decay-from", 8)
    options = ("--widths", "8, 16,24,32", "--detail", 0.5, "--critic", 0.25)
    assert kontext("decoder", *args, *options) == ExitCode.DONE
    (run,) = given
    assert (run.steps, run.decay_from, run.widths) == (10, 0.8, (8, 16, 24, 32))
    assert (run.detail, run.critic, run.decoder_only) == (0.5, 0.25, True)


def test_an_autoencoder_starts_from_a_model_or_from_a_folder_of_its_own(copied):
    """Both ways it begins with the same weights, and one step at next to no rate leaves them."""
    args = ("--cutouts", CUTOUTS, "--steps", 1, "--batch", 1, "--peak", 1e-9, "--work")
    for name, init in (("by-model", copied / "model"), ("by-folder", copied / "vae")):
        assert kontext("autoencoder", *args, copied / name, "--init", init) == ExitCode.DONE
        # Where it was read from is nobody else's business.
        assert "_name_or_path" not in (copied / name / "vae" / "config.json").read_text()
    ends = [load_newest(copied / n / "autoencoder")["ema"] for n in ("by-model", "by-folder")]
    for name, value in ends[0].items():
        # The model is shipped in half the precision.
        assert torch.allclose(value.float(), ends[1][name].float(), rtol=0.01, atol=1e-4), name


@pytest.mark.parametrize("option", ["--init", "--latents"])
def test_a_folder_of_something_else_is_no_autoencoder(option, copied, told):
    """Its config.json says so; it is told in a line, not found out by loading it."""
    other = copied / "model" / "text_encoder"
    args = ("autoencoder", "--work", copied / "w", "--cutouts", CUTOUTS, "--steps", 1)
    assert told(*args, option, other).startswith(f"{other} is not a Kontext model: model_index")
    broken = copied / "vae"
    (broken / "diffusion_pytorch_model.safetensors").write_bytes(b"half")
    assert told(*args, option, broken).startswith(f"{broken}: cannot be loaded as AutoencoderKL (")


def test_a_model_of_other_latents_draws_nothing_for_a_decoder(copied, told):
    with torch.random.fork_rng():
        torch.manual_seed(11)
        narrow_autoencoder().save_pretrained(copied / "vae")
    args = ("decoder", "--work", copied, "--cutouts", CUTOUTS, "--steps", 1, "--batch", 2)
    said = told(*args, "--drawn-by", copied / "model")
    assert said.startswith(f"{copied / 'model'}: its latents are others than those of")


def test_an_autoencoder_under_the_latents_of_another(copied, told, capsys):
    args = ("autoencoder", "--cutouts", CUTOUTS, "--batch", 1, "--work", copied / "again")
    latents = ("--latents", copied / "model")
    assert kontext(*args, "--steps", 1, *latents) == ExitCode.DONE
    assert "of the latents' variance kept" in capsys.readouterr().out
    kept, theirs = (
        json.loads((folder / "config.json").read_text())
        for folder in (copied / "again" / "vae", copied / "vae")
    )
    for name in ("shift_factor", "scaling_factor"):
        assert kept[name] == theirs[name] != {"shift_factor": 0.0, "scaling_factor": 1.0}[name]
    # A run is not gone on with under other latents.
    said = told(*args, "--steps", 2)
    assert said.startswith(f"{copied / 'again' / 'autoencoder'}: the run there keeps to other lat")


def test_training_goes_on_without_a_grid_that_failed(copied, monkeypatch):
    def failing(*_):
        raise TrainingError("edit-3: the engine failed: no memory")

    monkeypatch.setattr(stages, "draw_grid", failing)
    said = []
    run = FlowRun(copied / "again", 2, batch=1, grid_every=1)
    transformer_stage(Workshop(copied, CUTOUTS), run, small=True, say=said.append)
    assert said[0] == (
        "transformer: no grid of step 1 (edit-3: the engine failed: no memory); training goes on"
    )
    assert listed(run.folder)[-1][0] == 2


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
    assert capsys.readouterr().err == ("stopped; the same command makes what is missing\n")
