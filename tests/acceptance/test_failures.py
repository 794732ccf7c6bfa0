"""What goes wrong is said in one line, in the terminal, the manifest and the report."""

from __future__ import annotations

import html
import json
import shutil
import signal

import pytest

from flows.recipe.naming import legible
from tests.oddities import BAD, GOOD, ODD_RECIPE, assert_odd, draw_odd_files

from .conftest import Results
from .samples import write_ten_products


def test_of_sixty_odd_files_every_good_one_is_made_and_every_bad_one_named(kontext, tmp_path):
    draw_odd_files(tmp_path / "odd")
    kontext = kontext.at(tmp_path, {}, fake=0.0)
    # As an editor on Windows writes it.
    text = b"\xef\xbb\xbf" + ODD_RECIPE.replace("\n", "\r\n").encode()
    (tmp_path / "odd.yaml").write_bytes(text)
    checked = kontext("check", "odd.yaml")
    assert checked.status == 0, checked.err
    assert "'odd/*': 4 files passed over: " in checked.err
    assert ".dng 1" in checked.err
    assert "without an ending 1" in checked.err
    unread = next(line for line in checked.err.splitlines() if "cannot be read" in line)
    assert {name for name in BAD if f"'{name}'" in unread} >= {"empty.png", "text.png", "page.jpg"}
    assert not [name for name in GOOD if f"'{legible(name)}'" in unread]
    ended = kontext("run", "odd.yaml")
    assert ended.status == 1
    assert "Traceback" not in ended.err
    results = Results(tmp_path / "out")
    assert_odd(results.manifest)
    page = html.unescape(results.report)
    for step in results.manifest.in_state("failed"):
        assert f"failed {step.label}: {step.reason}" in ended.err
        assert step.reason in page
    folder = next((results.root / "runs").iterdir())
    written = [output.path for output in results.manifest.outputs if output.sha256]
    assert len(set(written)) == len(GOOD)
    assert all((folder / path).is_file() for path in written)
    assert "place/Früh-Ölfarbe.png" in written


def test_a_model_that_does_not_load_is_one_line_and_exit_code_1(kontext, model, tmp_path):
    recipe = write_ten_products(tmp_path, model)
    shutil.copytree(model, tmp_path / "broken")
    folder = tmp_path / "broken" / "transformer"
    config = json.loads((folder / "config.json").read_text()) | {"num_attention_heads": 3}
    (folder / "config.json").write_text(json.dumps(config))
    ended = kontext("run", recipe, "--model", "broken")
    assert ended.status == 1, ended.err
    store, started, loading, stopped = ended.err.splitlines()
    assert store.startswith("store ")
    assert started == "30 steps: 0 done already, 30 to do"
    assert loading.startswith("loading ")
    assert " could not be loaded: " in stopped
    assert "check that the folder is a complete diffusers model" in stopped
    results = Results(tmp_path / "out")
    assert results.manifest.ending == "stopped"
    assert results.manifest.why in html.unescape(results.report)
    assert results.calls == []
    for weights in folder.glob("*.safetensors"):  # what is torn is told before anything is begun
        weights.write_bytes(weights.read_bytes()[:1000])
    ended = kontext("run", recipe, "--model", "broken")
    assert ended.status == 2
    (line,) = ended.err.splitlines()
    assert "broken/transformer/diffusion_pytorch_model.safetensors: is not a whole" in line


@pytest.mark.parametrize("place", ["/dev/null", "in/p0.png", "/proc/here"])
def test_an_out_that_cannot_be_is_said_before_the_model_loads(kontext, model, tmp_path, place):
    ended = kontext("run", write_ten_products(tmp_path, model), "--out", place)
    assert ended.status == 1
    assert ended.err.splitlines()[-1].startswith(f"{place}: ")
    assert "loading" not in ended.err
    assert "Traceback" not in ended.err


def test_ctrl_c_while_the_model_loads_stops_the_loading(kontext, model, tmp_path):
    recipe, results = write_ten_products(tmp_path, model), Results(tmp_path / "out")
    assert kontext("run", recipe, "--only", "red[p0]").status == 0
    done, calls = results.recorded, results.calls
    shutil.rmtree(results.root / "runs")
    with kontext.launch("run", recipe) as process:
        for line in process.stderr:
            if line.startswith("loading"):
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130, err
    assert "is loaded" not in err
    assert "Traceback" not in err
    assert (results.recorded, results.calls) == (done, calls)
    assert results.manifest.ending == "interrupted"
