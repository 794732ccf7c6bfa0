"""Outputs: readable names, provenance inside, and no way out of the run's folder."""

from __future__ import annotations

import errno
import io
import os
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from PIL import Image, ImageCms

from flows.pull.listing import find_run
from flows.run.execute import run_plan
from flows.run.manifest import FILE_NAME
from flows.run.outcome import Ending
from flows.run.outputs import OutputError, check_output_name, output_key
from flows.run.pipeline import publish, run_folder
from flows.run.telling import MAX_FACTS, fitting, read_xmp
from flows.store import atomic
from flows.store.base import NameLeaves, StoreFull
from flows.store.folder import LocalObjects
from flows.store.local import LocalStore
from flows.store.runfolder import RunFolder

from .samples import PlanMaker, WatchedEngine, decoded, product_plan, run, ten_products

HOSTILE = "put <b>it</b> & “Größe” 雪 \x00\x07 ]]> on a beach\nsecond line"


def one_output(tmp_path, prompt=HOSTILE, **output):
    maker = PlanMaker()
    step = maker.step("hero", prompt, [], "all", seed=41)
    maker.variant("all", {}, [step], **output)
    plan = maker.plan()
    finished = run(plan, tmp_path / "out")
    return plan, finished, Path(finished.folder) / finished.manifest.outputs[0].path


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("png", "png"), ("jpeg", "jpg"), ("webp", "webp"), ("avif", "avif"), ("tiff", "tif")],
)
def test_every_format_carries_its_provenance_and_an_srgb_tag(tmp_path, kind, suffix):
    plan, _, path = one_output(tmp_path, path=f"deep/er/hero.{suffix}", format=kind)
    (key,) = plan.steps
    with Image.open(path) as image:
        assert image.format == kind.upper()
        facts = read_xmp(image.info["xmp"])
        if kind == "png":
            assert image.info["srgb"] == 0
        else:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
            assert "sRGB" in ImageCms.getProfileDescription(profile)
        if kind in ("png", "tiff"):
            record = LocalStore(tmp_path / "out").find(key)
            whole = decoded(LocalStore(tmp_path / "out"), record)
            assert image.convert("RGB").tobytes() == whole
    told = {"key": key, "seed": "41", "model": "fake", "recipe": "autumn looks"}
    assert {name: facts[name] for name in told} == told
    assert facts["prompt"] == HOSTILE.replace("\x00", "\ufffd").replace("\x07", "\ufffd")


def test_quality_is_heeded(tmp_path):
    _, _, low = one_output(tmp_path / "a", path="hero.jpg", format="jpeg", quality=20)
    _, _, high = one_output(tmp_path / "b", path="hero.jpg", format="jpeg", quality=95)
    assert low.stat().st_size < high.stat().st_size


def test_a_prompt_longer_than_a_jpeg_segment_is_cut_in_the_file_only(tmp_path):
    plan, _, path = one_output(tmp_path, "雪" * 70_000, path="hero.jpg", format="jpeg")
    with Image.open(path) as image:
        assert len(image.info["xmp"]) < 65_000
    record = LocalStore(tmp_path / "out").find(next(iter(plan.steps)))
    assert len(record.params["prompt"]) == 70_000


def test_what_counts_is_the_bytes_that_a_segment_holds():
    facts = {"prompt": "&" * 8000, "negative_prompt": "雪&" * 4000, "key": "k", "step": "<" * 9000}
    told = fitting(facts)
    assert 40_000 < sum(len(escape(text).encode()) for text in told.values()) <= MAX_FACTS
    assert all(text.startswith(told[name]) and told[name] for name, text in facts.items())
    assert fitting({"prompt": "雪" * 8000}) == {"prompt": "雪" * 8000}


@pytest.mark.parametrize(
    "name", ["../x.png", "/etc/x.png", "a/../../x.png", "..", "", "a\0b.png", "Thumbs/x.png"]
)
def test_names_cannot_leave_the_folder_or_take_the_runs_own(name):
    with pytest.raises(OutputError):
        check_output_name(name)


def test_a_link_cannot_lead_outside(tmp_path):
    run = RunFolder(LocalObjects(tmp_path / "out"), "run")
    run.write("recipe.yaml", "")
    (tmp_path / "out/runs/run/link").symlink_to(tmp_path)
    with pytest.raises(NameLeaves, match="through a link; remove the link"):
        run.write("link/x.png", b"x")
    assert not (tmp_path / "x.png").exists()


def test_an_output_that_cannot_be_named_is_told_and_the_others_are_written(tmp_path):
    maker = PlanMaker()
    for name in ("good", "bad"):
        step = maker.step("hero", name, [], name)
        maker.variant(name, {}, [step], path=f"{name}.png" if name == "good" else "../bad.png")
    finished = run(maker.plan(), tmp_path / "out")
    good, bad = finished.manifest.outputs
    assert good.sha256
    assert bad.problem == "output '../bad.png' leaves the run's folder; use a relative name"
    assert not (Path(finished.folder).parent / "bad.png").exists()


def test_what_is_there_is_not_written_again_unless_it_changed(tmp_path):
    plan = product_plan(ten_products(tmp_path / "in")[:2])
    finished = run(plan, tmp_path / "out")
    first, second = (Path(finished.folder) / entry.path for entry in finished.manifest.outputs)
    stamp = first.stat().st_mtime_ns
    sound = second.read_bytes()
    second.write_bytes(b"touched by somebody")
    again = run(plan, tmp_path / "out")
    assert again.folder == finished.folder
    assert first.stat().st_mtime_ns == stamp
    assert second.read_bytes() == sound
    assert again.manifest.outputs == finished.manifest.outputs


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    plan = product_plan(ten_products(tmp_path / "in")[:1])
    finished = run(plan, tmp_path / "out")
    page = Path(finished.report).read_bytes()

    def full(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic, "write_all", full)
    with pytest.raises(StoreFull, match="free some space"):
        run(plan, tmp_path / "out")
    monkeypatch.undo()
    assert Path(finished.report).read_bytes() == page
    assert not list((tmp_path / "out" / "tmp").iterdir())


def test_a_file_that_is_not_there_is_an_entry_with_its_problem(tmp_path):
    plan = product_plan(ten_products(tmp_path / "in")[:1])
    store = LocalStore(tmp_path / "out")
    outcome = run_plan(plan, store, WatchedEngine().load)
    store.objects.remove(f"outputs/{output_key(plan, plan.outputs[0])}")
    finished = publish(plan, outcome, store, run_folder(plan, store.objects))
    (entry,) = finished.manifest.outputs
    assert entry.problem == "product=p0.png: its file has not been made; run again to make it"
    # Everything was made, but not everything is there.
    assert finished.manifest.ending is Ending.COMPLETE
    assert not finished.manifest.whole
    assert ">Outputs missing<" in Path(finished.report).read_text()


def test_an_outputs_key_is_of_all_that_decides_its_bytes_and_of_nothing_else(tmp_path):
    plan = product_plan(ten_products(tmp_path / "in")[:1], path="a.jpg", format="jpeg")
    (planned,) = plan.outputs
    key = output_key(plan, planned)
    same = replace(planned, path="elsewhere/b.jpg", variant="another")
    assert output_key(plan, same) == key
    step = plan.steps[planned.key]
    others = [
        output_key(plan, replace(planned, format="webp")),
        output_key(plan, replace(planned, quality=50)),
        output_key(replace(plan, recipe="another name"), planned),
        output_key(replace(plan, model=replace(plan.model, name="another")), planned),
        output_key(
            replace(plan, steps={**plan.steps, step.key: replace(step, label="x")}), planned
        ),
        output_key(plan, replace(planned, key=next(iter(plan.steps)))),
    ]
    assert len({key, *others}) == 7
    moved = replace(plan, recipe_path=Path("/elsewhere/r.yaml"), recipe_text="another")
    assert output_key(moved, planned) == key


def test_png_has_no_quality(tmp_path):
    plan = product_plan(ten_products(tmp_path / "in")[:1])
    (planned,) = plan.outputs
    assert output_key(plan, replace(planned, quality=1)) == output_key(plan, planned)


def test_two_names_of_one_file_are_encoded_once(tmp_path, encoded):
    maker = PlanMaker()
    step = maker.step("hero", "p", [], "all")
    for name in ("a", "b"):
        maker.variant(name, {"name": name}, [step], path=f"{name}.png")
    plan = maker.plan()
    finished = run(plan, tmp_path / "out")
    assert encoded == ["a.png"]
    first, second = ((Path(finished.folder) / name).read_bytes() for name in ("a.png", "b.png"))
    assert first == second


@pytest.mark.parametrize(
    ("recipe", "folder"),
    [
        ("Autumn looks", "2026-01-02-Autumn-looks-"),
        ("Autumn - looks", "2026-01-02-Autumn-looks-"),
        ("../../été/..", "2026-01-02-été-"),
        ("冬のセール", "2026-01-02-冬のセール-"),
        ("सर्दी", "2026-01-02-सर्दी-"),
        ("x" * 300, f"2026-01-02-{'x' * 51}-0d4e2ca9-"),
    ],
)
def test_the_runs_folder_has_a_plain_name(recipe, folder):
    plan = PlanMaker().plan(recipe)
    found = run_folder(plan, LocalObjects(Path("out")), date(2026, 1, 2))
    assert found.where == f"out/runs/{folder}{plan.digest[:8]}"


@pytest.mark.parametrize(
    "recipe", ["Autumn - looks", "冬のセール", "सर्दी", "e\u0301te\u0301", "x" * 300]
)
def test_a_run_is_found_by_its_recipes_name(tmp_path, recipe):
    objects = LocalObjects(tmp_path / "out")
    run_folder(PlanMaker().plan("other"), objects).write(FILE_NAME, b"")
    wanted = run_folder(PlanMaker().plan(recipe), objects)
    wanted.write(FILE_NAME, b"")
    assert find_run(objects, recipe) == wanted.name


@pytest.mark.parametrize("zone", ["UTC-14", "UTC+12"])  # at any time one of them has another day
def test_the_runs_day_is_that_of_utc_wherever_it_is_made(monkeypatch, zone):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        before = datetime.now(UTC).date()
        found = run_folder(PlanMaker().plan("autumn"), LocalObjects(Path("out"))).name
        assert found[:10] in {str(before), str(datetime.now(UTC).date())}
    finally:
        monkeypatch.undo()
        time.tzset()
