import json
import re

import pytest

from flows.cli import main
from kontext_engine.evaluation.errors import EvaluationError
from kontext_engine.evaluation.identity.net import Identity, save_identity
from tests.engine.tiny import FULL, save_tiny_model


def failing(capsys, *args):
    with pytest.raises(SystemExit) as ended:
        main(["eval", "studio", *args])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1, shown.err
    return ended.value.code, shown.err.strip()


@pytest.fixture
def net(tmp_path, monkeypatch, untrained):
    """An untrained identity net in place of the shipped one."""
    path = tmp_path / "net.safetensors"
    save_identity(path, untrained.net, untrained.scenes, untrained.classes, {"subjects": 7})
    monkeypatch.setattr("kontext_engine.evaluation.command.WEIGHTS", path)
    return path


@pytest.fixture
def measured(net, tmp_path):
    """A function that measures a tiny model, writes FILE and DIR, and gives the exit code."""
    model = save_tiny_model(tmp_path / "model", FULL).source

    def run(out, pages):
        with pytest.raises(SystemExit) as ended:
            main([
                "eval", "studio", "--model", model, "--limit", "1", "--steps", "1", "--size", "64",
                "--json", str(out), "--html", str(pages),
            ])  # fmt: skip
        return ended.value.code

    return run


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--model", "kontext-mino"], "no model 'kontext-mino'.*did you mean 'kontext-mini'"),
        (["--cutouts", "none"], "no cut-outs in none; run this in a checkout"),
        (["--json", "file/inside"], "file/inside.*cannot be written"),
        (["--html", "file/inside"], "file/inside.*cannot be written"),
        ([], r"make it with `kontext eval identity` \(needs `make data`\)$"),
    ],
    ids=["model", "cut-outs", "figures", "pages", "net"],
)
def test_what_is_missing_is_told_in_one_line_before_the_work(
    net, capsys, tmp_path, monkeypatch, args, told
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    if not args:
        net.unlink()
    code, said = failing(capsys, *args)
    assert code == 1
    assert re.search(told, said), said


def test_a_file_that_is_no_net_is_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"not safetensors")
    with pytest.raises(EvaluationError, match="not an identity net"):
        Identity.load(path)


def test_a_disk_that_fills_up_costs_the_files_and_not_the_figures(
    measured, tmp_path, capsys, monkeypatch
):
    def full(path, _):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("kontext_engine.evaluation.command.write_whole", full)
    out, pages = tmp_path / "figures.json", tmp_path / "pages"
    out.write_text("earlier figures")
    capsys.readouterr()
    assert measured(out, pages) == 1
    shown = capsys.readouterr()
    assert "Instruction accuracy (chance 11 %)" in shown.out
    assert f"wrote {pages / 'index.html'}" in shown.out
    assert shown.err.endswith(
        f"{out}: cannot be written (No space left on device); name a place that can be\n"
    )
    assert out.read_text() == "earlier figures"


def test_the_whole_way_on_a_tiny_model(measured, tmp_path, capsys):
    out, pages = tmp_path / "deep" / "figures.json", tmp_path / "pages"
    assert measured(out, pages) == 0
    said = json.loads(out.read_text("utf-8"))
    assert said["counts"]["pictures"] == 13
    assert said["categories"]["recolour"]["edit_psnr"]["autoencoder"] > 0
    shown = capsys.readouterr().out
    assert "Instruction accuracy (chance 11 %)" in shown
    assert f"wrote {out}" in shown
    assert (pages / "index.html").is_file()


def test_an_autoencoder_is_measured_by_itself_or_as_a_models(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("kontext_engine.evaluation.autoencoder.FAMILIES", 1)
    monkeypatch.setattr("kontext_engine.evaluation.autoencoder.SETS", (("two looks", 2),))
    model = save_tiny_model(tmp_path / "model", FULL).source
    shown = []
    for name in (model, f"{model}/vae"):
        with pytest.raises(SystemExit) as ended:
            main(["eval", "autoencoder", "--model", name])
        assert ended.value.code == 0
        head, *table = capsys.readouterr().out.splitlines()
        assert head.startswith(f"{name}: ") and "GFLOP a picture of 128x128" in head
        shown.append(table)
    assert shown[0] == shown[1]
    (row,) = (line.split() for line in shown[0] if line.lstrip().startswith("two looks"))
    assert row[2] == "2"
    assert 0 < float(row[3]) < 40  # dB of an untrained one

    with pytest.raises(SystemExit) as ended:
        main(["eval", "autoencoder", "--model", f"{model}/transformer"])
    assert ended.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1
