"""What goes wrong is said in one line, in the terminal, the manifest and the report."""

from __future__ import annotations

import html
import io
import shutil
import signal
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from .conftest import Results
from .samples import noise, write_ten_products

# name -> what its failure says; "" for a picture that is taken
ODD = {
    "dot.png": "",
    "sixteen.png": "",
    "cmyk.jpg": "",
    "moving.gif": "",
    "Früh Ölfarbe.png": "",
    "huge.png": "more than 80 million pixels, refused unopened; scale it down first",
    "empty.png": "the file is empty; export the picture again",
    "text.png": "not a picture that can be read; expected one of PNG, JPEG",
    "cut.png": "damaged PNG picture (image file is truncated)",
    "ribbon.png": "context picture 1 is 90x10: sides differ by more than 8 to 1",
}


def claiming(width: int, height: int) -> bytes:
    """A PNG of one pixel whose header says otherwise: nothing may be decoded to find out."""
    file = io.BytesIO()
    Image.new("1", (1, 1)).save(file, "PNG")
    whole = file.getvalue()  # a signature of 8 bytes, then length, name, 13 bytes and a checksum
    header = b"IHDR" + struct.pack(">II", width, height) + whole[24:29]
    return whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]


def draw_odd_pictures(folder) -> None:
    folder.mkdir()
    noise(1, (1, 1)).save(folder / "dot.png")
    grey = np.random.default_rng(2).integers(0, 65536, (48, 48), dtype=np.uint16)
    Image.fromarray(grey).save(folder / "sixteen.png")
    noise(3).convert("CMYK").save(folder / "cmyk.jpg")
    noise(4).save(folder / "moving.gif", save_all=True, append_images=[noise(5), noise(6)])
    noise(7).save(folder / "Früh Ölfarbe.png")
    (folder / "huge.png").write_bytes(claiming(20000, 20000))
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("hello")
    (folder / "cut.png").write_bytes((folder / "Früh Ölfarbe.png").read_bytes()[:900])
    noise(8, (90, 10)).save(folder / "ribbon.png")


def test_pictures_of_all_kinds_are_taken_or_refused_with_a_reason(kontext, model, tmp_path):
    draw_odd_pictures(tmp_path / "odd")
    recipe = f"version: 1\nmodel: {model}\ninputs: {{picture: odd/*}}\nsteps:\n"
    recipe += "  place: {op: edit, image: picture, prompt: put it on a beach, steps: 1}\n"
    # As an editor on Windows writes it.
    (tmp_path / "odd.yaml").write_bytes(b"\xef\xbb\xbf" + recipe.replace("\n", "\r\n").encode())
    ended = kontext("run", "odd.yaml")
    assert ended.status == 1
    assert "Traceback" not in ended.err
    results = Results(tmp_path / "out")
    manifest, page = results.manifest, html.unescape(results.report)
    sources = {source.digest: source for source in manifest.sources}
    steps = {sources[step.contexts[0].name].file: step for step in manifest.steps}
    assert set(steps) == set(ODD)
    for name, reason in ODD.items():
        assert steps[name].state == ("failed" if reason else "done"), (name, steps[name].reason)
        assert reason in steps[name].reason
        if reason:
            assert f"failed {steps[name].label}: {steps[name].reason}" in ended.err
            assert steps[name].reason in page
    assert any("enlarged" in note for note in steps["dot.png"].notes)
    written = [output.path for output in manifest.outputs if output.sha256]
    assert "place/Früh-Ölfarbe.png" in written
    assert len(written) == 5


def test_a_model_that_does_not_load_is_one_line_and_exit_code_1(kontext, model, tmp_path):
    recipe = write_ten_products(tmp_path, model)
    shutil.copytree(model, tmp_path / "broken")
    for weights in (tmp_path / "broken" / "transformer").glob("*.safetensors"):
        weights.write_bytes(weights.read_bytes()[:1000])
    ended = kontext("run", recipe, "--model", "broken")
    assert ended.status == 1
    store, started, loading, stopped = ended.err.splitlines()
    assert store.startswith("store ")
    assert started == "30 steps: 0 done already, 30 to do"
    assert loading.startswith("loading ")
    assert " could not be loaded: broken/transformer/diffusion_pytorch_model.safe" in stopped
    assert "check that the folder is a complete diffusers model" in stopped
    results = Results(tmp_path / "out")
    assert results.manifest.ending == "stopped"
    assert results.manifest.why in html.unescape(results.report)
    assert results.calls == []


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
