"""What nobody foresaw in one picture is told of that picture, and everything else is made."""

from __future__ import annotations

import html
import json
import os
import struct
from pathlib import Path

import pytest
from PIL import Image

from flows.run import outputs, pictures
from flows.run.execute import run_plan
from flows.run.outcome import Ending, State
from flows.run.outputs import keyed_outputs
from flows.run.pipeline import publish, run_folder
from flows.run.report import thumbs as report_thumbs
from flows.run.thumbs import Thumbnail
from flows.store.local import LocalStore

from .samples import WatchedEngine, draw_picture, make, manifest_in, product_plan, run

RECIPE = """\
version: 1
inputs: {pic: "in/*"}
steps: {out: {op: edit, image: pic, prompt: make it snow, steps: 1, size: 64x48}}
"""


def grey_with_premultiplied_alpha() -> bytes:
    """A sound TIFF of 16x16 pixels in a mode (La) from which Pillow converts to hardly any."""
    pixels = b"\x40\x80" * 256
    tags = [
        (256, 3, 1, 16), (257, 3, 1, 16), (258, 3, 2, 8 | 8 << 16), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, 1, 8), (277, 3, 1, 2), (278, 3, 1, 16), (279, 4, 1, len(pixels)),
        (284, 3, 1, 1), (338, 3, 1, 1),
    ]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<I", 8 + len(pixels))
    return head + pixels + directory + struct.pack("<I", 0)


def run_in(kontext, folder: Path, expected: int) -> tuple:
    (folder / "r.yaml").write_text(RECIPE)
    ended = kontext("0", "run", "r.yaml", "--json")
    assert "Traceback" not in ended.stderr, ended.stderr
    assert ended.returncode == expected, ended.stderr
    told = json.loads(ended.stdout)
    manifest = manifest_in(Path(folder / told["folder"]))
    page = html.unescape((folder / told["report"]).read_text())
    return ended, manifest, page


def test_a_picture_that_cannot_be_converted_fails_alone(kontext, tmp_path):
    draw_picture(tmp_path / "in" / "good.png", 1)
    (tmp_path / "in" / "odd.tif").write_bytes(grey_with_premultiplied_alpha())
    with Image.open(tmp_path / "in" / "odd.tif") as image:
        assert image.mode == "La"
    (tmp_path / "r.yaml").write_text(RECIPE)
    ended = kontext("0", "run", "r.yaml", "--json")
    assert "Traceback" not in ended.stderr, ended.stderr
    told = json.loads(ended.stdout)
    manifest = manifest_in(tmp_path / told["folder"])
    steps = {step.label: step for step in manifest.steps}
    assert steps["out[pic=good]"].state == "done"
    assert (tmp_path / told["folder"] / "out/good.png").is_file()
    odd = steps["out[pic=odd]"]
    # Whoever can read it makes it; whoever cannot, says which picture that was and why.
    assert (odd.state, ended.returncode) in {("done", 0), ("failed", 1)}
    if odd.state == "failed":
        assert odd.reason == (
            "odd.tif (input 'pic'): ValueError: conversion from La to L not supported"
        )
        assert f"failed out[pic=odd]: {odd.reason}" in ended.stderr
        assert odd.reason in html.unescape((tmp_path / told["report"]).read_text())
        assert [entry.problem for entry in manifest.sources if entry.problem] == [odd.reason]


def in_other_bytes(folder: Path, data: bytes) -> Path:
    """A file whose name is Latin-1, as from an old archive."""
    path = folder / os.fsdecode(b"prod\xe9.png")
    try:
        path.write_bytes(data)
    except OSError:
        pytest.skip("this file system takes no such name")
    return path


def test_a_file_name_that_is_no_utf8_is_made_and_told_legibly(kontext, tmp_path):
    draw_picture(tmp_path / "in" / "good.png", 1)
    odd = in_other_bytes(tmp_path / "in", b"ignored")
    draw_picture(odd, 2)
    _, manifest, page = run_in(kontext, tmp_path, 0)
    assert {entry.file for entry in manifest.sources} == {"good.png", "prod\\udce9.png"}
    assert len([entry for entry in manifest.outputs if entry.sha256]) == 2
    assert "prod\\udce9.png" in page
    _, manifest, _ = run_in(kontext, tmp_path, 0)
    assert manifest.counts[State.CACHED] == 2


def test_such_a_picture_that_is_broken_is_named(kontext, tmp_path):
    draw_picture(tmp_path / "in" / "good.png", 1)
    in_other_bytes(tmp_path / "in", b"broken")
    ended, manifest, page = run_in(kontext, tmp_path, 1)
    assert manifest.counts[State.DONE] == manifest.counts[State.FAILED] == 1
    for told in (ended.stderr, page):
        assert "prod\\udce9.png (input 'pic'): not a picture that can be read" in told


def breaking(real, when):
    """``real``, but for what ``when`` is true of."""

    def act(*given, **named):
        if when(*given):
            raise KeyError("surprise\nof two lines")
        return real(*given, **named)

    return act


def test_a_reason_can_be_written_whatever_names_are_in_it(tmp_path, products, monkeypatch):
    def open_picture(data, name, largest, flat):
        raise OSError(5, "Input/output error", "in/prod\udce9.png")

    monkeypatch.setattr(pictures, "open_picture", open_picture)
    finished = run(product_plan(products), tmp_path / "out")
    (failed, *_) = finished.manifest.in_state(State.FAILED)
    assert failed.reason.endswith("OSError: [Errno 5] Input/output error: 'in/prod\\udce9.png'")
    assert manifest_in(Path(finished.folder)) == finished.manifest


WHY = "KeyError: 'surprise\\nof two lines'"


def test_whatever_opening_a_picture_raises_is_its_steps_reason(tmp_path, products, monkeypatch):
    when = lambda data, name, *_: name.startswith("p1.png")  # noqa: E731
    monkeypatch.setattr(pictures, "open_picture", breaking(pictures.open_picture, when))
    manifest = run(product_plan(products), tmp_path / "out").manifest
    (failed,) = manifest.in_state(State.FAILED)
    assert failed.reason == f"p1.png (input 'product'): {WHY}"
    assert (manifest.counts[State.DONE], manifest.counts[State.BLOCKED]) == (4, 1)
    assert [entry.problem for entry in manifest.sources] == ["", failed.reason, ""]


def test_whatever_encoding_raises_is_its_outputs_problem(tmp_path, products, monkeypatch):
    when = lambda plan, planned, *rest: planned.path == "product=p1.png"  # noqa: E731
    from flows.run import keeping

    monkeypatch.setattr(keeping, "encode_output", breaking(outputs.encode_output, when))
    plan = product_plan(products)
    first = run(plan, tmp_path / "out").manifest
    assert first.ending is Ending.COMPLETE
    assert [entry.problem for entry in first.outputs] == ["", f"product=p1.png: {WHY}", ""]
    assert [bool(entry.sha256) for entry in first.outputs] == [True, False, True]
    assert not first.whole
    monkeypatch.undo()
    again = run(plan, tmp_path / "out").manifest
    assert again.whole
    assert again.counts[State.CACHED] == 6


def test_whatever_a_thumbnail_raises_leaves_a_page_without_it(tmp_path, products, monkeypatch):
    real = Thumbnail.encode
    monkeypatch.setattr(
        Thumbnail, "encode", breaking(real, lambda self, picture: self.height == 48)
    )
    draw_picture(products[0], 5, size=(30, 40))
    finished = run(product_plan(products), tmp_path / "out")
    assert finished.manifest.whole
    page = Path(finished.report).read_text()
    assert page.count("<img src=") == 3  # of the one whose thumbnails are 40 high
    assert "its picture is not in the store" in page


def test_a_folder_in_an_outputs_place_is_its_problem(tmp_path, products):
    plan = product_plan(products)
    run_name = run_folder(plan, LocalStore(tmp_path / "out").objects)
    (Path(run_name.where) / "product=p1.png").mkdir(parents=True)
    manifest = run(plan, tmp_path / "out").manifest
    assert [bool(entry.problem) for entry in manifest.outputs] == [False, True, False]
    assert [bool(entry.sha256) for entry in manifest.outputs] == [True, False, True]


def test_a_source_without_thumbnail_that_cannot_be_opened_any_more(tmp_path, products, monkeypatch):
    """The steps are there; the thumbnails and the inputs are not."""
    plan = product_plan(products)
    store = LocalStore(tmp_path / "out")
    outcome = run_plan(plan, store, WatchedEngine().load)
    for thumb in (store.root / "thumbs").iterdir():
        thumb.unlink()
    products[0].unlink()
    products[1].write_bytes(b"another")

    def open_source(ref, largest):
        if ref.path == products[2]:
            raise MemoryError
        return pictures.open_source(ref, largest)

    monkeypatch.setattr(report_thumbs, "open_source", open_source)
    finished = publish(plan, outcome, store, run_folder(plan, store.objects))
    gone, other, surprise = (entry.problem for entry in finished.manifest.sources)
    assert "the file is gone" in gone
    assert "the file changed" in other
    assert surprise == "p2.png (input 'product'): MemoryError"


def test_a_surprise_in_one_outputs_record_is_its_own(tmp_path, products):
    plan = product_plan(products)
    store = LocalStore(tmp_path / "out")
    outcome = make(plan, store)
    keys = [key for own in keyed_outputs(plan).values() for key in own]
    (store.root / "outputs" / keys[1]).write_bytes(b'{"schema": "kontext.output", "version": 1}')
    finished = publish(plan, outcome, store, run_folder(plan, store.objects))
    assert [bool(entry.problem) for entry in finished.manifest.outputs] == [False, True, False]
