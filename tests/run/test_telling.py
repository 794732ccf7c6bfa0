"""What delivered files tell of themselves, read back by other programs; and what they do not."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.plan.step import Shape
from flows.run.outputs import output_key
from flows.settings import DeliverySettings, Settings
from kontext_engine.fake import FAKE_SPEC
from tests.debian import needs_debian
from tests.recipe.workspace import plan_text

from .samples import run

SUFFIXES = ("png", "jpg", "webp", "avif", "tif")
RECIPE = """\
version: 1
name: telling
inputs: {p: a.png}
steps:
  made: {op: generate, prompt: "a “Größe” & 雪 <b>"}
  edited: {op: edit, image: p, prompt: make it snow}
  again: {op: edit, image: made, prompt: make it rain}
  cut: {op: cutout, image: p}
outputs:
"""
TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
CREATOR = "Studio Ünder & Co"


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    picture = Image.new("RGB", (60, 60), "white")
    picture.paste((200, 0, 0), (15, 15, 45, 45))
    picture.save("a.png")
    return tmp_path


def planned(workspace: Path, outputs: str, **delivery):
    settings = Settings(delivery=DeliverySettings(**delivery))
    return plan_text(RECIPE + outputs, workspace, model=replace(FAKE_SPEC), settings=settings)


def delivered(workspace: Path, outputs: str, **delivery) -> dict[str, Path]:
    finished = run(planned(workspace, outputs, **delivery), workspace / "out")
    assert [one.problem for one in finished.manifest.outputs if one.problem] == []
    return {one.path: Path(finished.folder) / one.path for one in finished.manifest.outputs}


def exif(paths) -> dict[str, dict[str, str]]:
    command = ["exiftool", "-j", "-XMP:all", *map(str, paths)]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return {Path(one.pop("SourceFile")).name: one for one in told}


@needs_debian("libimage-exiftool-perl")
def test_exiftool_reads_iptcs_fields_of_every_format(workspace):
    steps = {"made": "trained", "edited": "compositeWithTrained", "again": "trained"}
    lines = [f"  - {{step: {s}, name: {s}.{end}}}\n" for s in steps for end in SUFFIXES]
    lines += [f"  - {{step: cut, name: cut.{end}}}\n" for end in SUFFIXES]
    found = exif(delivered(workspace, "".join(lines), creator=CREATOR).values())
    assert len(found) == 4 * len(SUFFIXES)
    prompts = {"made": "a “Größe” & 雪 <b>", "edited": "make it snow", "again": "make it rain"}
    for name, told in found.items():
        step = name.partition(".")[0]
        kind = "algorithmicallyEnhanced"
        if step != "cut":
            kind = f"{steps[step]}AlgorithmicMedia"
            assert told["AISystemUsed"] == "fake"
            assert told["AISystemVersionUsed"] == FAKE_SPEC.digest[:16]
            assert told["AIPromptInformation"] == prompts[step]
        assert told["DigitalSourceType"] == TYPES + kind, name
        assert told["Creator"] == CREATOR
        assert told["CreatorTool"].startswith("kontext-pipeline")


@needs_debian("libimage-exiftool-perl")
def test_a_file_tells_no_more_than_it_is_to(workspace):
    lines = [
        f"  - {{step: edited, name: {level}.{end}, metadata: {level}}}\n"
        for level in ("credit", "none")
        for end in SUFFIXES
    ]
    lines.append("  - {step: edited, name: usual.jpg}\n")
    files = delivered(workspace, "".join(lines), metadata="none", creator=CREATOR)
    told = exif(files.values())
    secret = [b"snow", b"kontext:provenance", b"urn:kontext"]
    for name, path in files.items():
        assert not any(word in path.read_bytes() for word in secret), name
        if name.startswith("credit"):
            assert set(told[name]) == {
                "DigitalSourceType", "AISystemUsed", "AISystemVersionUsed", "CreatorTool",
                "CreateDate", "Creator",
            }  # fmt: skip
        else:
            assert told[name] == {}, name


def test_what_a_file_tells_is_in_its_key(workspace):
    line = "  - {{step: edited, name: a.jpg{}}}\n"
    plans = [
        planned(workspace, line.format("")),
        planned(workspace, line.format(""), creator=CREATOR),
        planned(workspace, line.format(""), metadata="credit"),
        planned(workspace, line.format(", metadata: none")),
        planned(workspace, line.format(", chroma: 4:2:0")),
    ]
    keys = {output_key(plan, plan.outputs[0]) for plan in plans}
    assert len(keys) == len({plan.digest for plan in plans}) == len(plans)
    same = planned(workspace, line.format(", metadata: full, chroma: 4:4:4"))
    assert same.digest == plans[0].digest
    # Who is credited in a file that tells nothing, and what that is called, decides nothing.
    other = planned(workspace, line.format(", metadata: none"), creator=CREATOR)
    assert output_key(other, other.outputs[0]) == output_key(plans[3], plans[3].outputs[0])


def test_lossless_webp_chroma_and_transparency(workspace):
    text = """\
  - {step: cut, name: own.webp, lossless: true}
  - {step: cut, name: own.png}
  - {step: cut, name: flat.png, alpha: false}
  - {step: edited, name: clear.tif, alpha: cut}
  - {step: edited, name: clear.png, alpha: cut, size: 90x90, fit: pad, ground: blur}
  - {step: edited, name: whole.jpg, quality: 90}
  - {step: edited, name: half.jpg, quality: 90, chroma: 4:2:0}
  - {step: edited, name: half.avif, chroma: 4:2:0, max_kb: 3}
  - {step: edited, name: plain.png}
"""
    files = delivered(workspace, text)
    pictures = {name: Image.open(path) for name, path in files.items()}
    for picture in pictures.values():
        picture.load()
    cut, flat = pictures["own.png"], pictures["flat.png"]
    assert cut.mode == "RGBA"
    assert np.array_equal(np.asarray(pictures["own.webp"]), np.asarray(cut))
    assert (flat.mode, flat.getpixel((0, 0))) == ("RGB", (255, 255, 255))
    clear = pictures["clear.tif"]
    assert clear.convert("RGB").tobytes() == pictures["plain.png"].tobytes()
    levels = np.asarray(cut.getchannel("A").resize(clear.size, Image.Resampling.LANCZOS))
    assert np.array_equal(np.asarray(clear.getchannel("A")), levels)
    assert {0, 255} <= set(levels.flat)
    assert (pictures["clear.png"].mode, pictures["clear.png"].size) == ("RGBA", (90, 90))
    layers = {name: [part[1:3] for part in pictures[name].layer] for name in files if "jpg" in name}
    assert layers["whole.jpg"][0] == (1, 1)
    assert layers["half.jpg"][0] == (2, 2)
    assert files["half.avif"].stat().st_size <= 3000


def test_an_alpha_that_cannot_be_had_is_told_and_the_others_are_made(workspace):
    Image.new("RGB", (60, 20), "white").save(workspace / "b.png")  # a cut finds nothing there
    text = RECIPE.replace("p: a.png", "p: [a.png, b.png]") + (
        "  - {step: edited, name: '{p}', alpha: cut}\n"
        "  - {step: made, name: 'm-{p}', alpha: edited}\n"
    )
    finished = run(plan_text(text, workspace, model=replace(FAKE_SPEC)), workspace / "out")
    told = {one.path: one.problem for one in finished.manifest.outputs}
    assert told["a.png"] == ""
    assert told["b.png"] == "b.png: needs 'cut[p=b]', which has no picture"
    assert told["m-a.png"].startswith("m-a.png: the step of its 'alpha' has no transparency")


def test_an_alpha_comes_along_with_what_only_names(workspace):
    text = RECIPE + "  - {step: edited, name: a.png, alpha: cut}\n  - {step: made, name: b.png}\n"
    plan = plan_text(text, workspace, model=replace(FAKE_SPEC), only=["edited"])
    assert {step.name for step in plan.steps.values()} == {"edited", "cut"}
    assert [one.path for one in plan.outputs] == ["a.png"]
    assert plan.outputs[0].shape == Shape()
