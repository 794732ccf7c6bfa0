"""Subjects cut out by a model that the user names: tiny graphs, made here."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

from flows.plan.planfile import decode_plan, encode_plan
from flows.recipe.errors import RecipeError
from flows.run.outcome import State
from flows.run.sources import put_sources
from flows.store.local import LocalStore
from kontext_engine import cutout
from kontext_engine.errors import RequestError
from kontext_engine.fake import FAKE_SPEC
from kontext_engine.saliency import Saliency
from tests.recipe.workspace import plan_text

from .samples import run

PLAIN = (0.0,) * 3, (1.0,) * 3
TEXT = """\
version: 1
inputs: {p: shoe.png}
steps:
  cut: {op: cutout, image: p, cutout: {model: dark.onnx, mean: 0}}
  sea: {op: edit, image: p, prompt: at sea, keep: cut}
"""


def graph(
    shape=(1, 3, 64, 64),
    out=(1, 1, 64, 64),
    *,
    sigmoid=True,
    inputs=1,
    last=(),
    kind=TensorProto.FLOAT,
) -> bytes:
    """What is darker than mid-grey, by its mean over the channels; ``last`` nodes make ``y``."""
    half = numpy_helper.from_array(np.float32(0.5), "half")
    steep = numpy_helper.from_array(np.float32(200), "steep")
    end = "y" if not (sigmoid or last) else "logits"
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["grey"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["half", "grey"], ["darker"]),
        helper.make_node("Mul", ["darker", "steep"], [end]),
    ]
    nodes += last or ([helper.make_node("Sigmoid", ["logits"], ["y"])] if sigmoid else [])
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    given += [
        helper.make_tensor_value_info(f"x{n}", TensorProto.FLOAT, [1]) for n in range(1, inputs)
    ]
    made = [helper.make_tensor_value_info("y", kind, out)]
    return written(helper.make_graph(nodes, "dark", given, made, [half, steep]))


def written(whole: onnx.GraphProto) -> bytes:
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def bare(*, takes: bool = True, gives: bool = True) -> bytes:
    """A graph that takes nothing, or gives nothing; what it gives is a constant."""
    still = numpy_helper.from_array(np.zeros((1, 1, 64, 64), np.float32), "still")
    ends = {"x": (1, 3, 64, 64), "y": (1, 1, 64, 64)}
    given, made = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ends[name])] if there else []
        for name, there in (("x", takes), ("y", gives))
    )
    nodes = [helper.make_node("Identity", ["still"], ["y"])]
    return written(helper.make_graph(nodes, "bare", given, made, [still]))


def dark_thing(size=(100, 80)) -> Image.Image:
    image = Image.new("RGB", size, (240, 250, 255))
    ImageDraw.Draw(image).rectangle((20, 20, 69, 59), fill=(30, 60, 20))
    return image


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Path:
    dark_thing().save(tmp_path / "shoe.png")
    (tmp_path / "dark.onnx").write_bytes(graph())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(text: str, folder: Path, **options):
    return plan_text(text, folder, model=FAKE_SPEC, **options)


def cut_by(data: bytes, folder: Path, picture: Image.Image, form=PLAIN) -> Image.Image:
    file = folder / "any.onnx"
    file.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    method = cutout.cutout_method(cutout.cutout_libraries(), Saliency(digest, *form))
    return cutout.cut_out(picture, method, str(file))


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_models_cut_protects_here_and_where_the_file_never_was(workspace, elsewhere):
    plan, store = planned(TEXT, workspace), LocalStore(workspace / "out")
    if elsewhere:  # as a worker of another machine has the plan
        store.prepare()
        assert put_sources(plan, store) == {}
        plan = decode_plan(encode_plan(plan), store.objects)
        (workspace / "dark.onnx").unlink()
    finished = run(plan, workspace / "out")
    manifest = finished.manifest
    assert [step.state for step in manifest.steps] == [State.DONE, State.DONE]
    with Image.open(io.BytesIO(store.read(store.find(plan.labels["cut"])))) as image:
        alpha = np.asarray(image.getchannel("A"))
    assert (alpha[24:56, 24:66] == 255).all()
    assert (alpha[:16] == 0).all()
    (sea,) = [step for step in manifest.steps if step.name == "sea"]
    kept = int((alpha == 255).sum())
    assert f"kept {kept:,} of {kept:,} pixels identical" in sea.notes
    # The model is no picture: neither the manifest nor the page shows one that is broken.
    assert [source.file for source in manifest.sources] == ["shoe.png"]
    assert "dark.onnx" not in (Path(finished.folder) / "report.html").read_text()


def test_what_decides_a_models_cut_is_in_its_key_and_its_name_is_not(workspace):
    def key(text: str, **options) -> str:
        whole = TEXT.replace("{model: dark.onnx, mean: 0}", text)
        return planned(whole, workspace, **options).labels["cut"]

    (workspace / "same.onnx").write_bytes(graph())
    (workspace / "other.onnx").write_bytes(graph(sigmoid=False))
    assert key("same.onnx") == key("{model: dark.onnx}") == key("{model: dark.onnx, mean: 0.5}")
    texts = ["dark.onnx", "other.onnx", "{model: dark.onnx, mean: [0.5, 0.5, 0.4]}",
             "{model: dark.onnx, std: 0.5}"]  # fmt: skip
    newer = {**cutout.cutout_libraries(), "onnxruntime": "9.0"}
    keys = {key(text) for text in texts} | {key("dark.onnx", libraries=newer)}
    assert len(keys) == 5
    plan = planned(TEXT, workspace, libraries=newer)
    manifest = run(plan, workspace / "out").manifest
    assert manifest.counts[State.FAILED] == 1
    assert "onnxruntime 9.0, and here is onnx 1" in manifest.steps[0].reason
    with pytest.raises(RecipeError, match=r"a model need onnxruntime.*kontext-pipeline\[cutout\]"):
        planned(TEXT, workspace, libraries={})


def test_logits_of_any_size_give_the_same_mask(workspace):
    free = ("n", 3, "h", "w")
    masks = [
        cut_by(data, workspace, dark_thing((300, 200)))
        for data in (graph(), graph(sigmoid=False), graph(sigmoid=False))
    ]
    assert masks[0].size == (300, 200)
    assert np.abs(np.diff([np.asarray(mask, int) for mask in masks], axis=0)).max() <= 1
    fine = cut_by(graph(free, ("n", 1, "h", "w")), workspace, dark_thing((300, 200)))
    edge = np.asarray(fine)[40, 15:26]
    assert (edge[:4] == 0).all()
    assert (edge[-4:] == 255).all()  # at 1,024 pixels a side


def outside(folder: Path) -> bytes:
    """A graph whose weights lie in another file, which nobody has digested."""
    model = onnx.load_from_string(graph())
    path = folder / "split.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    return path.read_bytes()


def three() -> list[onnx.NodeProto]:
    return [helper.make_node("Concat", ["logits"] * 3, ["y"], axis=1)]


def whole() -> list[onnx.NodeProto]:
    return [helper.make_node("Cast", ["logits"], ["y"], to=TensorProto.INT64)]


def nothing() -> list[onnx.NodeProto]:
    return [helper.make_node("Log", ["logits"], ["y"])]  # of what is negative: not a number


NO_MODELS = [
    (b"no graph at all", "cannot be loaded as ONNX"),
    (outside, "cannot be loaded as ONNX"),
    (graph((1, 64, 64, 3)), r"takes x tensor\(float\) \[1, 64, 64, 3\]; expected one picture"),
    (bare(takes=False), "takes nothing; expected one picture"),
    (bare(gives=False), "gives nothing; expected a mask"),
    (graph(inputs=2), r"takes x .*, x1 tensor\(float\) \[1\]; expected one picture"),
    (graph(out=(1, 3, 64, 64), last=three()), r"gives y .*3, 64, 64\]; expected a mask"),
    (graph(last=whole(), kind=TensorProto.INT64), r"gives y tensor\(int64\)"),
]


@pytest.mark.parametrize(
    ("data", "told"),
    [*NO_MODELS, (graph(last=nothing()), "gave an output of shape .* expected finite")],
)
def test_a_model_that_is_none_is_one_line(workspace, data, told):
    with pytest.raises(RequestError, match=rf"any\.onnx: {told}") as caught:
        cut_by(data(workspace) if callable(data) else data, workspace, dark_thing())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("data", "told"), NO_MODELS)
def test_a_model_that_is_none_is_told_before_anything_is_made(workspace, data, told):
    """By `kontext check`, where the recipe names it; a run goes on without its step."""
    (workspace / "dark.onnx").write_bytes(data(workspace) if callable(data) else data)
    with pytest.raises(RecipeError, match=rf"^[^\n]*:4:\d+: dark\.onnx: {told}[^\n]*$"):
        planned(TEXT, workspace, look=True)
    assert planned(TEXT, workspace).steps


def test_a_model_that_cuts_is_none_of_what_a_check_tells(workspace):
    assert not planned(TEXT, workspace, look=True).warnings


def test_another_file_than_was_planned_is_refused_and_no_subject_is_said(workspace):
    plan = planned(TEXT, workspace)
    (workspace / "dark.onnx").write_bytes(graph(sigmoid=False))
    manifest = run(plan, workspace / "out").manifest
    assert manifest.steps[0].reason.startswith("dark.onnx: is another model than it was planned")
    assert manifest.counts[State.BLOCKED] == 1
    with pytest.raises(RequestError, match="no subject was found; expected one that the model"):
        cut_by(graph(), workspace, Image.new("RGB", (64, 64), "white"))
