"""Files of a given size and weight: what becomes of a picture on its way out."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.plan.planfile import decode_plan, encode_plan
from flows.plan.step import Plan, Shape
from flows.run.outputs import output_key
from flows.run.shaping import shaped
from kontext_engine.fake import FAKE_SPEC
from kontext_engine.geometry import Size
from tests.recipe.workspace import plan_text

from .samples import run

RED, WHITE = (200, 0, 0), (255, 255, 255)
STEPS = "version: 1\nsteps: {s: {op: generate, prompt: hi}}\noutputs:\n"


def striped(mode="RGB") -> Image.Image:
    """30x60: a red field, with a blue line at the left edge and another at the top."""
    image = Image.new(mode, (30, 60), RED)
    image.paste((0, 0, 200), (0, 0, 3, 60))
    image.paste((0, 0, 200), (0, 0, 30, 3))
    return image


@pytest.mark.parametrize(
    ("fit", "size", "corner", "middle"),
    [
        ("crop", (40, 40), None, RED),
        ("pad", (40, 40), WHITE, RED),
        ("inside", (20, 40), None, RED),
        ("stretch", (40, 40), (0, 0, 200), RED),
    ],
)
def test_one_vocabulary_of_fits(fit, size, corner, middle):
    made = shaped(striped(), Shape(Size(40, 40), fit))
    assert made.size == size
    assert made.getpixel((made.width // 2, made.height // 2)) == middle
    if corner is not None:
        assert np.abs(np.subtract(made.getpixel((0, 0)), corner)).max() < 12


def test_a_ground_is_a_colour_or_the_blurred_picture():
    green = shaped(striped(), Shape(Size(60, 60), "pad", "#00ff00"))
    assert green.getpixel((0, 30)) == (0, 255, 0)
    assert green.getpixel((30, 30)) == RED
    red = shaped(Image.new("RGB", (30, 60), RED), Shape(Size(60, 60), "pad", "blur"))
    assert np.abs(np.asarray(red).astype(int) - RED).max() <= 1
    clear = Image.new("RGBA", (30, 60), (*RED, 128))
    over = shaped(clear, Shape(Size(60, 60), "pad", "white"))
    assert over.mode == "RGBA"
    assert over.getpixel((0, 0)) == (255, 255, 255, 255)
    seen = shaped(clear, Shape(Size(60, 60), "crop")).getpixel((30, 30))
    assert np.abs(np.subtract(seen, (*RED, 128))).max() <= 1


def planned(text: str, folder: Path) -> Plan:
    return plan_text(STEPS + text, folder, model=replace(FAKE_SPEC))


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_have_the_size_and_weight_that_is_asked_for(workspace):
    text = """\
  - {step: s, name: plain.png}
  - {step: s, name: story.jpg, preset: instagram-story, fit: pad, ground: blur}
  - {step: s, name: light.jpg, size: 900x700, max_kb: 12}
  - {step: s, name: light.webp, size: 900x700, fit: inside, max_kb: 6}
  - {step: s, name: never.jpg, size: 2000x2000, max_kb: 3}
"""
    plan = planned(text, workspace)
    again = decode_plan(encode_plan(plan))
    assert (again.digest, again.outputs) == (plan.digest, plan.outputs)
    finished = run(plan, workspace / "out")
    folder = Path(finished.folder)
    sizes = {}
    for entry in finished.manifest.outputs:
        if not entry.problem:
            with Image.open(folder / entry.path) as image:
                sizes[entry.path] = image.size
    assert sizes == {
        "plain.png": (64, 64),
        "story.jpg": (1080, 1920),
        "light.jpg": (900, 700),
        "light.webp": (700, 700),
    }
    weights = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert 6_000 < weights["light.jpg"] <= 12_000
    assert weights["light.webp"] <= 6_000
    with Image.open(folder / "light.jpg") as image:
        assert b"kontext" in image.info["xmp"]  # weighed with what it tells
    (problem,) = [entry.problem for entry in finished.manifest.outputs if entry.problem]
    assert problem.startswith("never.jpg: ")
    assert problem.endswith(
        "kB at quality 10, the least; expected at most 3 kB (max_kb); ask for a smaller size or a "
        "larger max_kb"
    )


def test_the_best_quality_within_the_weight_is_taken(workspace):
    def file(text: str) -> bytes:
        plan = planned(f"  - {{step: s, name: a.jpg, size: 300x200{text}}}\n", workspace)
        finished = run(plan, workspace / "out")
        return (Path(finished.folder) / "a.jpg").read_bytes()

    steps = {quality: len(file(f", quality: {quality}")) for quality in (30, 31, 95)}
    assert steps[30] < steps[31] < steps[95]
    most = -(-steps[30] // 1000)
    light = file(f", max_kb: {most}")
    assert steps[30] <= len(light) <= most * 1000
    # They tell of what was asked for, too; their pictures are the same.
    heavy, plain = (Image.open(io.BytesIO(file(text))) for text in (", max_kb: 9999", ""))
    assert heavy.tobytes() == plain.tobytes()


def test_a_shape_is_in_an_outputs_key_only_where_there_is_one(workspace):
    texts = ["", ", size: 64x64", ", size: 64x65", ", size: 64x64, fit: pad", ", max_kb: 9"]
    keys, digests = set(), set()
    for text in texts:
        plan = planned(f"  - {{step: s, name: a.jpg{text}}}\n", workspace)
        keys.add(output_key(plan, plan.outputs[0]))
        digests.add(plan.digest)
    assert len(keys) == len(digests) == len(texts)


def test_the_table_tells_of_every_file_and_holds_no_formula(workspace):
    text = """\
version: 1
inputs: {p: [{file: a.png, name: "-1+2"}, {file: b.png, name: b}]}
steps: {s: {op: edit, image: p, prompt: hi, keep: {box: [0, 0, 9, 9]}}}
outputs:
  - {step: s, name: "{p}"}
  - {step: s, name: "{p}-in.jpg", size: 40x40, fit: inside}
"""
    for name in ("a.png", "b.png"):
        striped().save(workspace / name)
    finished = run(plan_text(text, workspace, model=replace(FAKE_SPEC)), workspace / "out")
    with (Path(finished.folder) / "outputs.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["p"], row["kept"]) for row in rows] == [
        (entry.path, variant, kept)
        for entry, variant, kept in zip(
            finished.manifest.outputs,
            ["'-1+2", "b", "'-1+2", "b"],
            ["kept"] * 2 + ["kept until delivery"] * 2,
            strict=True,
        )
    ]
    for row in rows:
        assert row["p.folder"] == workspace.name  # a variable of the axis, as a table's column is
        data = (Path(finished.folder) / row["file"]).read_bytes()
        assert (int(row["bytes"]), row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        with Image.open(io.BytesIO(data)) as image:
            assert (int(row["width"]), int(row["height"])) == image.size


def test_presets_of_ones_own_count_first(workspace):
    (workspace / "presets.yaml").write_text(
        "shop: {size: 200x100, fit: pad, format: webp}\ninstagram-story: {size: 90x160}\n"
    )
    text = "  - {step: s, name: a, preset: shop}\n  - {step: s, name: b, preset: instagram-story}\n"
    first, second = planned(text, workspace).outputs
    assert (first.path, first.shape) == ("a.webp", Shape(Size(200, 100), "pad"))
    assert (second.path, second.shape) == ("b.png", Shape(Size(90, 160)))
