"""``kontext show`` and ``kontext remake``: how a delivered file is made, and made again."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import kontext_engine.catalogue
from flows.run.batches import batches_of, read_batches
from flows.run.deciding import DecidingError, deciding, deciding_of, read_told, rebuilt
from flows.run.provenance import plain
from flows.run.telling import read_deciding, read_xmp
from kontext_engine.fake import FAKE_SPEC, FakeEngine
from tests.debian import needs_debian
from tests.recipe.workspace import plan_text
from tests.shell import kontext

from .samples import run

RECIPE = """\
version: 1
name: Autumn & Größe
inputs: {p: [in/a.png, in/b.png]}
steps:
  made: {op: generate, prompt: a house, size: 64x48}
  first: {op: edit, image: p, prompt: make it snow, true_cfg: 2, negative_prompt: text}
  both: {op: edit, image: [first, made], prompt: put it there}
  kept: {op: edit, image: p, prompt: on a beach, keep: {box: [5, 5, 20, 20], feather: 1}}
  cut: {op: cutout, image: p}
outputs:
  - {step: both, name: "{p}/both.jpg", size: 90x120, fit: pad, ground: blur}
  - {step: both, name: "{p}/light.webp", size: 300x300, max_kb: 9}
  - {step: kept, name: "{p}/kept.png"}
  - {step: kept, name: "{p}/clear.tif", alpha: cut}
  - {step: first, name: "{p}/credit.avif", metadata: credit}
  - {step: cut, name: "{p}/none.png", metadata: none}
  - {sheet: both, name: all.pdf}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a run of the recipe; its plan, and its end."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "in").mkdir()
    for name, colour in (("a", "red"), ("b", "blue")):
        picture = Image.new("RGB", (60, 60), "white")
        picture.paste(colour, (15, 15, 45, 45))
        picture.save(folder / "in" / f"{name}.png")
    model = replace(FAKE_SPEC, max_contexts=2)
    plan = plan_text(RECIPE, folder, model=model)
    return folder, plan, run(plan, folder / "out")


@pytest.fixture
def workspace(made, monkeypatch, tmp_path) -> Path:
    """A copy of it; commands there have the fake engine, under its model's name."""
    folder, _, _ = made
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    model = replace(FAKE_SPEC, max_contexts=2)
    monkeypatch.setattr(kontext_engine.catalogue, "resolve_model", lambda name: model)
    module = types.ModuleType("kontext_engine.engine")
    module.KontextEngine = types.SimpleNamespace(load=FakeEngine)
    monkeypatch.setitem(sys.modules, "kontext_engine.engine", module)
    (run_folder,) = (tmp_path / "out" / "runs").iterdir()
    return run_folder


def pixels(path: Path | bytes) -> tuple[str, tuple[int, int], bytes]:
    with Image.open(io.BytesIO(path) if isinstance(path, bytes) else path) as image:
        image.load()
        return image.mode, image.size, image.tobytes()


def test_what_decides_is_the_same_from_file_manifest_and_plan(made):
    folder, plan, finished = made
    entries = {one.path: one for one in finished.manifest.outputs}
    for planned in plan.outputs:
        told = plain(deciding(plan, planned))
        assert plain(deciding_of(finished.manifest, entries[planned.path])) == told
        again = rebuilt(read_told(told), plan.model, {}, planned.path)
        (output,) = again.outputs
        assert (output.key, output.alpha) == (planned.key, planned.alpha)
        assert set(again.steps) <= set(plan.steps)
        with Image.open(Path(finished.folder) / planned.path) as image:
            inside = read_deciding(image.info.get("xmp", b""))
        assert inside == (told if planned.credit.metadata == "full" else None)
        batches = batches_of(finished.manifest, entries[planned.path])
        assert len(read_batches(batches)) == len(told["steps"]) or planned.path.endswith("none.png")
        if inside is not None:
            assert read_xmp(image.info["xmp"])["batches"] == batches
        assert str(folder) not in json.dumps(told)


FILES = ("both.jpg", "light.webp", "kept.png", "clear.tif", "credit.avif", "none.png")


@pytest.mark.parametrize("told", [True, False], ids=["batches told", "by the store's records"])
@pytest.mark.parametrize("anew", [(), ("--anew",)])
def test_files_are_made_again_pixel_by_pixel(made, workspace, monkeypatch, capsys, anew, told):
    _, _, finished = made
    if not told:
        monkeypatch.setattr("flows.run.batches.read_batches", lambda text: ())
    entries = {one.path: one for one in finished.manifest.outputs}
    for number, path in enumerate(f"{p}/{name}" for p in "ab" for name in FILES):
        file = workspace / path
        target = Path(f"{number}{file.suffix}")
        code, out, err = kontext(capsys, "remake", str(file), "--to", str(target), *anew)
        assert (code, err) == (0, ""), path
        assert out == f"{target}: every pixel as in {file.name}\n"
        assert pixels(target) == pixels(file)
        with Image.open(target) as image:
            batches = read_xmp(image.info["xmp"]).get("batches", "")
        assert batches == batches_of(finished.manifest, entries[path])


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", ()),
        ("0:1 - 15:16", ((0, 1), None, (15, 16))),
        ("1:1 0:0 0:65 -1:2 0:9999999 2 x", (None,) * 7),
    ],
)
def test_only_places_in_batches_are_read(text, read):
    assert read_batches(text) == read


@needs_debian("libimage-exiftool-perl")
def test_a_stripped_file_is_found_by_its_pixels(workspace, capsys):
    for name in ("both.jpg", "kept.png"):
        stripped = Path(name)
        shutil.copy(workspace / "b" / name, stripped)
        subprocess.run(["exiftool", "-q", "-overwrite_original", "-all=", name], check=True)
        assert b"xmpmeta" not in stripped.read_bytes()
        code, out, _ = kontext(capsys, "show", name)
        assert code == 0
        assert out.startswith(f"found     in run {workspace.name} as b/{name}, by its pixels\n")
        assert kontext(capsys, "remake", name)[:2] == (
            0, f"{stripped.stem}-remade{stripped.suffix}: every pixel as in {name}\n"
        )  # fmt: skip


def test_another_seed_makes_another_picture_the_same_each_time(workspace, capsys):
    file, made = str(workspace / "a" / "both.jpg"), []
    for name in ("one.jpg", "two.jpg"):
        code, out, _ = kontext(capsys, "remake", file, "--vary", "seed", "--to", name)
        assert code == 0
        assert out.startswith(f"{name}: as both.jpg, with seed ")
        made.append(pixels(Path(name)))
    assert made[0] == made[1] != pixels(Path(file))
    shown = json.loads(kontext(capsys, "show", "one.jpg", "--json")[1])
    before = json.loads(kontext(capsys, "show", file, "--json")[1])
    assert shown["steps"][:-1] == before["steps"][:-1]
    assert out.endswith(f"seed {shown['steps'][-1]['params']['seed']}\n")
    assert kontext(capsys, "remake", "one.jpg", "--anew")[0] == 0


def test_show_tells_prompts_seeds_sources_and_what_became_of_the_picture(workspace, capsys):
    code, out, _ = kontext(capsys, "show", str(workspace / "a" / "both.jpg"))
    assert code == 0
    for words in (
        "recipe    Autumn & Größe, both[p=a]",
        "model     fake (",
        "quality 95, size 90x120, fit pad, ground blur",
        '"make it snow"',
        "true_cfg 2.0, negative_prompt text",
        "generate",
        'edit of step 1 and step 2 "put it there"',
    ):
        assert words in out
    _, out, _ = kontext(capsys, "show", str(workspace / "a" / "credit.avif"))
    assert "a.png (" in out


@pytest.mark.parametrize(
    ("spoil", "file", "told"),
    [
        ("sources", "kept.png", "kept.png: its source with SHA-256 "),
        ("model", "kept.png", "kept.png: was made with weights "),
        ("target", "kept.png", "kept.png: 'kept-remade.png' is there already; name another place"),
        ("strange", "x.png", "x.png: tells nothing of how it was made, and no run in out has it"),
        ("sheet", "all.pdf", "all.pdf: all.pdf of "),
        ("changed", "kept.png", "kept-remade.png: not as kept.png: 25 of 3,600 pixels differ"),
    ],
)
def test_what_is_missing_is_said(workspace, capsys, monkeypatch, spoil, file, told):
    path = workspace / "a" / file
    match spoil:
        case "sources":
            shutil.rmtree("in")
        case "model":
            other = replace(FAKE_SPEC, digest="0" * 64)
            monkeypatch.setattr(kontext_engine.catalogue, "resolve_model", lambda name: other)
        case "target":
            Path("kept-remade.png").write_bytes(b"mine")
        case "strange":
            path = Path("x.png")
            Image.new("RGB", (60, 60), "red").save(path)
        case "sheet":
            path = workspace / file
        case "changed":
            with Image.open(path) as image:
                xmp = image.info["XML:com.adobe.xmp"]
                image.paste("lime", (0, 0, 5, 5))
                from PIL.PngImagePlugin import PngInfo

                info = PngInfo()
                info.add_itxt("XML:com.adobe.xmp", xmp)
                image.save(path, pnginfo=info)
    code, _, err = kontext(capsys, "remake", str(path), "--anew")
    assert code == 1
    assert err.startswith(told), err
    if spoil == "target":
        assert Path("kept-remade.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 2}, "is of version 2, and this software reads 1"),
        ({"key": "0" * 64}, "has key 000000000000, and this release with this model would give"),
        ({"steps": "none"}, "cannot be read (steps: "),
    ],
)
def test_what_is_told_wrongly_is_not_made(made, change, told):
    _, plan, _ = made
    said = plain(deciding(plan, plan.outputs[0])) | change
    with pytest.raises(DecidingError) as error:
        rebuilt(read_told(said), plan.model, {}, "a.jpg")
    assert str(error.value).startswith(told)
