"""Recipes with regions and cutouts, made and proved by what the store holds."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from flows.plan.planfile import decode_plan, encode_plan
from flows.plan.step import Plan
from flows.recipe.errors import RecipeError
from flows.run import regions
from flows.run.outcome import State
from flows.store.local import LocalStore
from kontext_engine import cutout
from kontext_engine.api import EditFailure, EditRequest, EditResult
from kontext_engine.errors import Cancelled, RequestError
from kontext_engine.fake import FAKE_SPEC
from tests.recipe.workspace import plan_text

from .samples import WatchedEngine, manifest_in, run

KEPT_CHAIN = """\
version: 1
inputs: {p: shoe.png}
steps:
  cut: {op: cutout, image: p}
  one: {op: edit, image: p, prompt: on a beach, keep: {mask: cut, feather: 3}}
  two: {op: edit, image: one, prompt: make it snow, keep: {mask: cut}}
  three: {op: edit, image: two, prompt: make it night, keep: {mask: cut}}
"""
CHAIN = (
    KEPT_CHAIN
    + """\
outputs:
  - {step: three, name: night.png}
  - {step: three, name: night.jpg}
  - {step: cut, name: cut.png}
  - {step: cut, name: cut.jpg}
"""
)

METHOD = cutout.cutout_method(cutout.cutout_libraries())


def packshot(size=(96, 80), at=0) -> Image.Image:
    """A two-coloured thing on a plain ground."""
    image = Image.new("RGB", size, (236, 234, 230))
    draw = ImageDraw.Draw(image)
    draw.ellipse((20 + at, 20, 70 + at, 64), fill=(40, 60, 160))
    draw.rectangle((36 + at, 34, 54 + at, 50), fill=(210, 40, 40))
    return image


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Path:
    packshot().save(tmp_path / "shoe.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(text: str, folder: Path) -> Plan:
    return plan_text(text, folder, model=replace(FAKE_SPEC))


def stored(folder: Path, plan: Plan, label: str) -> tuple[np.ndarray, str]:
    store = LocalStore(folder / "out")
    record = store.find(plan.labels[label])
    with Image.open(io.BytesIO(store.read(record))) as image:
        return np.asarray(image.convert("RGBA")), image.mode


def test_a_cutout_protects_through_a_chain_and_after_a_stop(workspace):
    plan = planned(CHAIN, workspace)

    def stop(requests):
        if any(request.prompt == "make it night" for request in requests):
            raise Cancelled("asked to stop")

    first = run(plan, workspace / "out", engine=WatchedEngine(trouble=stop))
    assert first.manifest.counts[State.PENDING] == 1
    manifest = run(decode_plan(encode_plan(plan), LocalStore(workspace / "out").objects),
                   workspace / "out").manifest  # fmt: skip
    assert manifest.counts[State.CACHED] == 3
    source = np.asarray(packshot().convert("RGBA"))
    cut, mode = stored(workspace, plan, "cut")
    assert mode == "RGBA"
    assert np.array_equal(cut[..., :3], source[..., :3])
    kept = cut[..., 3] == 255
    assert kept[40, 45]
    assert not kept[5, 5]
    truth = np.asarray(packshot().convert("L")) < 200
    assert (kept == truth).mean() > 0.98
    for label in ("one", "two", "three"):
        made, mode = stored(workspace, plan, label)
        assert mode == "RGB"
        assert np.array_equal(made[kept], source[kept])
        assert not np.array_equal(made[~kept], source[~kept])
    count = f"{int(kept.sum()):,}"
    for step in manifest.steps:
        if step.name != "cut":
            assert f"kept {count} of {count} pixels identical" in step.notes
            assert step.geometry["region"]["kept"]["kept"] == int(kept.sum())


def test_files_say_whether_they_hold_what_was_kept(workspace):
    finished = run(planned(CHAIN, workspace), workspace / "out")
    assert finished.manifest.whole
    assert {entry.path: entry.kept for entry in finished.manifest.outputs} == {
        "night.png": "kept",
        "night.jpg": "kept until delivery",
        "cut.png": "",
        "cut.jpg": "",
    }
    folder = Path(finished.folder)
    page = (folder / "report.html").read_text()
    assert "pixels identical" in page
    assert "kept until delivery" in page
    shown = [step.geometry["region"]["difference"] for step in finished.manifest.steps
             if step.operation == "edit"]  # fmt: skip
    assert page.count("what differs from its source") == len(shown) == 3
    for digest in shown:
        (thumb,) = (folder / "thumbs").glob(f"{digest}-*.webp")
        assert f"thumbs/{thumb.name}" in page
        with Image.open(thumb) as image:
            levels = np.asarray(image.convert("RGB")).astype(int)
        assert np.abs(levels[40, 45] - (0, 96, 64)).max() < 24  # kept
        assert np.ptp(levels[5, 5]) < 16  # changed: grey
    with Image.open(folder / "cut.png") as image:
        assert image.mode == "RGBA"
        assert image.getpixel((2, 2))[3] == 0
    with Image.open(folder / "cut.jpg") as image:
        assert min(image.getpixel((2, 2))) > 250
    before = manifest_in(folder).outputs
    assert run(planned(CHAIN, workspace), workspace / "out").manifest.outputs == before


def test_a_region_keeps_four_channels_outside_also_where_transparent(workspace):
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (300, 400, 4), np.uint8)
    pixels[:100, :, 3] = 0
    Image.fromarray(pixels).save(workspace / "shoe.png")
    text = """\
version: 1
inputs: {p: shoe.png}
steps:
  fix: {op: edit, image: p, prompt: blue, region: {box: [40%, 50%, 50%, 200], feather: 4}}
"""
    engine = WatchedEngine()
    finished = run(planned(text, workspace), workspace / "out", engine=engine)
    made, mode = stored(workspace, planned(text, workspace), "fix")
    assert mode == "RGBA"
    inside = np.zeros((300, 400), bool)
    inside[150:200, 160:200] = True
    assert np.array_equal(made[~inside], pixels[~inside])
    assert np.array_equal(made[..., 3], pixels[..., 3])
    assert not np.array_equal(made[inside], pixels[inside])
    ((request,),) = engine.asked
    assert request.contexts[0].size == (60, 75)  # with its margin, and not 400x300
    (step,) = finished.manifest.steps
    assert "the model worked on 60x75 at 150, 138 of 400x300" in step.notes


def test_the_pictures_own_alpha_can_be_kept(workspace):
    pixels = np.full((64, 64, 4), 200, np.uint8)
    pixels[..., 3] = 0
    pixels[16:48, 16:48, 3] = 255
    Image.fromarray(pixels).save(workspace / "shoe.png")
    text = (
        "version: 1\ninputs: {p: shoe.png}\n"
        "steps: {s: {op: edit, image: p, prompt: sea, keep: {alpha: true}}}\n"
    )
    (step,) = run(planned(text, workspace), workspace / "out").manifest.steps
    assert "kept 1,024 of 1,024 pixels identical" in step.notes
    packshot().save(workspace / "shoe.png")
    (step,) = run(planned(text, workspace), workspace / "out").manifest.steps
    assert step.reason == "keep: the picture has no transparency; expected some; give a mask"


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (Image.new("L", (96, 80)), "keep: the mask is empty; expected some of it white"),
        (Image.new("L", (96, 80), 255), "keep: the mask is full; expected some of it black"),
        (packshot(), "keep: the mask is coloured; expected white, black and grey"),
        (None, "m.png (input 'mask of s'): not a picture"),
    ],
)
def test_a_mask_that_cannot_be_used_fails_its_own_step(workspace, mask, reason):
    if mask is None:
        (workspace / "m.png").write_bytes(b"no picture at all")
    else:
        mask.save(workspace / "m.png")
    text = (
        "version: 1\ninputs: {p: shoe.png}\nsteps:\n"
        "  s: {op: edit, image: p, prompt: sea, keep: m.png}\n"
        "  t: {op: edit, image: p, prompt: hills}\n"
    )
    steps = {
        one.name: one for one in run(planned(text, workspace), workspace / "out").manifest.steps
    }
    assert steps["s"].state is State.FAILED
    assert steps["s"].reason.startswith(reason)
    assert steps["t"].state is State.DONE


def test_a_broken_promise_fails_the_step_and_stores_nothing(workspace, monkeypatch):
    def careless(protection, made, box):
        return made.resize((96, 80))

    monkeypatch.setattr(regions, "paste", careless)
    plan = planned(CHAIN, workspace)
    manifest = run(plan, workspace / "out").manifest
    one = next(step for step in manifest.steps if step.name == "one")
    assert one.state is State.FAILED
    assert "kept pixels would not be identical; nothing was stored" in one.reason
    assert LocalStore(workspace / "out").find(plan.labels["one"]) is None


def test_masks_and_boxes_decide_keys_and_names_do_not(workspace):
    def key(text: str) -> str:
        step = f"{{op: edit, image: p, seed: 1, prompt: x{text}}}"
        whole = f"version: 1\ninputs: {{p: shoe.png}}\nsteps: {{s: {step}}}\n"
        return planned(whole, workspace).labels["s"]

    mask = Image.new("L", (96, 80), 0)
    mask.paste(255, (0, 0, 10, 10))
    for name in ("a.png", "b.png"):
        mask.save(workspace / name)
    mask.paste(255, (0, 0, 20, 10))
    mask.save(workspace / "c.png")
    assert key(", keep: a.png") == key(", keep: b.png") == key(", keep: {mask: a.png}")
    texts = [
        "",
        ", keep: a.png",
        ", keep: c.png",
        ", region: a.png",
        ", keep: {mask: a.png, feather: 1}",
        ", keep: {mask: a.png, fit: crop}",
        ", keep: {box: [0, 0, 10, 10]}",
        ", keep: {box: [0, 0, 10, 11]}",
        ", keep: {alpha: true}",
    ]
    assert len({key(text) for text in texts}) == len(texts)
    assert key(", keep: {box: [0, 0, 50%, 50%]}") == key(", keep: {box: [0, 0, 48, 40]}")


def test_a_cutouts_key_holds_its_versions_and_no_model(workspace, monkeypatch):
    plan = planned(CHAIN, workspace)
    other = plan_text(CHAIN, workspace, model=replace(FAKE_SPEC, digest="cd" * 32))
    assert plan.labels["cut"] == other.labels["cut"]
    assert plan.labels["one"] != other.labels["one"]
    monkeypatch.setattr(cutout.metadata, "version", lambda name: "6.0")
    assert planned(CHAIN, workspace).labels["cut"] != plan.labels["cut"]
    # A worker with another version refuses, and makes nothing else of it.
    manifest = run(plan, workspace / "out").manifest
    (cut,) = [step for step in manifest.steps if step.name == "cut"]
    assert cut.state is State.FAILED
    assert "planned with grabcut 1, opencv-python-headless" in cut.reason

    def missing(name):
        raise cutout.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(cutout.metadata, "version", missing)
    with pytest.raises(RecipeError, match=r"install kontext-pipeline\[cutout\]"):
        planned(CHAIN, workspace)


def test_the_same_cut_comes_after_others_and_beside_others():
    def cut(picture: Image.Image) -> bytes:
        return cutout.cut_out(picture, METHOD).tobytes()

    alone = cut(packshot())
    others = [packshot(at=at % 20) for at in range(50)]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(cut, [*others, packshot()]))
    assert made[-1] == made[0] == made[20] == alone
    assert len(set(made)) == 20


def test_no_subject_is_said():
    plain = Image.new("RGB", (64, 64), "grey")
    with pytest.raises(RequestError, match="no subject was found"):
        cutout.cut_out(plain, METHOD)
    request = EditRequest("k", "", 0, 0, (plain,), cutout=METHOD)
    assert isinstance(cutout.answer_cutout(request), EditFailure)
    request = replace(request, contexts=(packshot((900, 700)),))
    answer = cutout.answer_cutout(request)
    assert isinstance(answer, EditResult)
    assert (answer.image.mode, answer.image.size) == ("L", (900, 700))
