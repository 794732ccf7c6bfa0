"""Contact sheets: what they show, in which order, and that the same tiles give the same bytes."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.plan.fonts import SHIPPED, lacking
from flows.plan.keys import sheet_key
from flows.plan.planfile import decode_plan, encode_plan
from flows.plan.step import Credit, PlannedSheet, Tile
from flows.run.sheets import Frame, draw, reduced
from flows.settings import Settings
from kontext_engine.fake import FAKE_SPEC, FakeFaults
from tests.debian import needs_debian
from tests.recipe.workspace import ROOT, plan_file, plan_text

from .samples import run

RECIPE = """\
version: 1
name: Nach Größe & Zahl
matrix:
  shot:
    - {name: s3, words: a hill, n: 10}
    - {name: s1, words: a street at night, n: 9}
    - {name: s2, words: "FAIL <here>", n: 100}
steps: {frame: {op: generate, prompt: "{shot.words}", takes: 2}}
outputs:
"""
ENDINGS = ("png", "pdf", "html")


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(outputs: str, folder: Path, **more):
    return plan_text(RECIPE + outputs, folder, model=replace(FAKE_SPEC), **more)


def captions(sheet: PlannedSheet) -> list[str]:
    return [tile.caption for tile in sheet.tiles]


def test_tiles_are_in_the_order_that_is_asked_for_with_their_words(workspace):
    text = """\
  - {sheet: frame}
  - {sheet: frame, name: b.png, order: shot.n, caption: "{shot}: {shot.words} ({take})"}
  - {sheet: frame, name: "{shot}/c.html", order: shot}
  - {sheet: frame, name: d.pdf, order: shot.words}
"""
    plan = planned(text, workspace)
    first, second, *third, last = plan.sheets
    assert (first.path, first.format, first.columns) == ("frame.pdf", "pdf", 4)
    assert captions(first) == ["s3 · 1", "s3 · 2", "s1 · 1", "s1 · 2", "s2 · 1", "s2 · 2"]
    assert captions(second)[::2] == [
        "s1: a street at night (1)", "s3: a hill (1)", "s2: FAIL <here> (1)",
    ]  # fmt: skip
    assert [sheet.path for sheet in third] == ["s3/c.html", "s1/c.html", "s2/c.html"]
    assert [len(sheet.tiles) for sheet in third] == [2, 2, 2]
    assert captions(last)[::2] == ["s2 · 1", "s3 · 1", "s1 · 1"]
    again = decode_plan(encode_plan(plan))
    assert (again.digest, again.sheets) == (plan.digest, plan.sheets)
    narrow = planned(text, workspace, only=["shot=s1"])
    assert [sheet.path for sheet in narrow.sheets] == ["frame.pdf", "b.png", "s1/c.html", "d.pdf"]
    assert captions(narrow.sheets[0]) == ["s1 · 1", "s1 · 2"]


def test_a_sheet_has_a_key_over_all_that_it_shows():
    sheet = PlannedSheet("a.pdf", "pdf", "h", (Tile("k1", "one"), Tile("k2", "two")))
    others = [
        replace(sheet, format="png"),
        replace(sheet, heading="other"),
        replace(sheet, tiles=sheet.tiles[::-1]),
        replace(sheet, tiles=(Tile("k1", "uno"), sheet.tiles[1])),
        replace(sheet, columns=3),
        replace(sheet, page="letter"),
        replace(sheet, missing="fail"),
        replace(sheet, credit=Credit("none")),
        replace(sheet, credit=Credit(creator="Ann")),
    ]
    assert len({sheet_key(one) for one in (sheet, *others)}) == len(others) + 1
    assert sheet_key(replace(sheet, path="elsewhere.pdf")) == sheet_key(sheet)


@needs_debian("poppler-utils")
def test_a_run_has_its_sheets_with_missing_frames_marked_and_counted(workspace):
    text = "".join(f"  - {{sheet: frame, name: s.{one}, columns: 3}}\n" for one in ENDINGS)
    text += "  - {sheet: frame, name: whole.pdf, missing: fail}\n"
    plan = planned(text, workspace)
    finished = run(plan, workspace / "out", faults=FakeFaults(prompts=("FAIL",)))
    told = {one.path: one for one in finished.manifest.outputs}
    folder = Path(finished.folder)
    assert {one.missing for one in told.values()} == {2}
    assert told["whole.pdf"].problem == (
        "whole.pdf: 2 of 6 pictures are missing; expected all; run again to make them"
    )
    words = subprocess.run(
        ["pdftotext", "-layout", folder / "s.pdf", "-"], capture_output=True, text=True, check=True
    ).stdout
    assert words.split()[:3] == ["Nach", "Größe", "&"]
    assert words.count("missing") == 2
    assert re.findall(r"s\d · \d", words) == captions(plan.sheets[0])
    page = (folder / "s.html").read_text("utf-8")
    assert page.count("data:image/jpeg") == 4
    assert page.count('class="void"') == 2
    assert "<h1>Nach Größe &amp; Zahl</h1>" in page
    assert "s.pdf" in (folder / "report.html").read_text("utf-8")
    rows = (folder / "outputs.csv").read_text("utf-8").splitlines()
    assert [row.partition(",")[0] for row in rows[1:]] == ["s.png", "s.pdf", "s.html"]
    # What is whole by now is drawn again; what is as it was is neither drawn nor copied.
    again = run(plan, workspace / "out")
    assert {one.missing for one in again.manifest.outputs} == {0}
    assert not any(one.problem for one in again.manifest.outputs)
    third = run(plan, workspace / "out")
    assert third.manifest.outputs == again.manifest.outputs


@needs_debian("libimage-exiftool-perl")
def test_a_sheet_tells_of_itself_what_files_do(workspace):
    levels = ("full", "credit", "none")
    lines = [
        f"  - {{sheet: frame, name: {level}.{one}, metadata: {level}}}\n"
        for level in levels
        for one in ENDINGS
    ]
    said = Settings(delivery={"creator": "Ann & Bob"})
    finished = run(planned("".join(lines), workspace, settings=said), workspace / "out")
    files = [str(Path(finished.folder) / f"{level}.{one}") for level in levels for one in ENDINGS]
    command = ["exiftool", "-j", "-XMP:all", "-HTML:all", *files]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    for one, level in zip(told, [level for level in levels for _ in ENDINGS], strict=True):
        kind = one.get("DigitalSourceType", "").rpartition("/")[2]
        assert kind == ("" if level == "none" else "trainedAlgorithmicMedia")
        assert one.get("AISystemUsed") == (None if level == "none" else "fake")
        creator = one.get("Creator", one.get("Author"))
        assert creator == (None if level == "none" else "Ann & Bob")
        assert one.get("Recipe") == ("Nach Größe & Zahl" if level == "full" else None)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_tiles_give_the_same_bytes(ending):
    sheet = PlannedSheet(f"a.{ending}", ending, "Kopf", (), columns=2)
    grey = Image.new("RGB", (300, 200), (90, 120, 150))
    frames = [Frame("eins " * 60, reduced(grey, sheet)), Frame("zwei", None)] * 5
    assert draw(sheet, frames, None) == draw(sheet, frames, None)


def test_a_png_shows_each_picture_and_marks_what_is_missing():
    sheet = PlannedSheet("a.png", "png", "Kopf", (), columns=2)
    red, blue = (Image.new("RGBA", (64, 64), colour) for colour in ("red", "blue"))
    frames = [Frame("r", reduced(red, sheet)), Frame("", None), Frame("b", reduced(blue, sheet))]
    with Image.open(io.BytesIO(draw(sheet, frames, None))) as picture:
        pixels = np.asarray(picture.convert("RGB"))
        assert picture.info["srgb"] == 0
    red, blue, grey = (
        int((pixels == colour).all(axis=-1).sum())
        for colour in ((255, 0, 0), (0, 0, 255), (233, 233, 236))
    )
    assert red == blue == 320 * 320
    assert grey > 300 * 300


def test_the_shipped_social_pack_keeps_its_weights_and_has_its_sheet(workspace):
    plan = plan_file(ROOT / "recipes" / "social-pack.yaml", model=replace(FAKE_SPEC))
    finished = run(plan, workspace / "out")
    assert finished.manifest.whole
    platforms = {
        "instagram": ((1080, 1350), 150), "story": ((1080, 1920), 150),
        "linkedin": ((1200, 627), 100), "pinterest": ((1000, 1500), 100),
    }  # fmt: skip
    *files, sheet = finished.manifest.outputs
    assert len(files) == 4 * len(platforms)
    for entry in files:
        size, weight = platforms[Path(entry.path).stem]
        assert entry.size <= weight * 1000
        with Image.open(Path(finished.folder) / entry.path) as picture:
            assert (picture.format, picture.size) == ("JPEG", size)
    assert (sheet.path, sheet.missing, sheet.problem) == ("social-pack.pdf", 0, "")
    assert (Path(finished.folder) / sheet.path).read_bytes().startswith(b"%PDF")


def test_signs_that_a_font_lacks_are_told(workspace):
    text = RECIPE.replace("a hill", '"雪 on a hill 雪, 山"') + (
        "  - {sheet: frame, name: a.pdf, caption: '{shot.words}'}\n"
        "  - {sheet: frame, name: b.html, caption: '{shot.words}'}\n"
    )
    plan = plan_text(text, workspace, model=replace(FAKE_SPEC))
    (note,) = plan.warnings
    assert note.endswith("the font Noto Sans has no picture of 雪 山; name one that has by 'font'")
    assert lacking(SHIPPED, ["Größe naïve Ελλάδα Жизнь — “…” €"]) == ""


def test_a_font_of_ones_own_is_in_the_key_and_goes_along(workspace):
    shutil.copy(SHIPPED, workspace / "own.ttf")
    usual, own = (
        planned(f"  - {{sheet: frame, name: a.pdf{more}}}\n", workspace)
        for more in ("", ", font: own.ttf")
    )
    assert usual.digest != own.digest
    finished = run(own, workspace / "out")
    assert all(not one.problem for one in finished.manifest.outputs)
    assert decode_plan(encode_plan(own)).sheets[0].font.digest == own.sheets[0].font.digest
