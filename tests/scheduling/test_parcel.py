"""A recipe in a store: what travels with it, and what comes out on another machine."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from flows.plan.fonts import SHIPPED
from flows.plan.plan import make_plan
from flows.recipe.errors import RecipeError
from flows.recipe.matrix import build_axes
from flows.recipe.recipe import load_recipe
from flows.recipe.review import Review
from flows.scheduling.parcel import ORDERS, is_parcel, put_parcel, unpacked
from flows.settings import Settings
from flows.store.local import LocalStore
from kontext_engine.fake import FAKE_SPEC

TEXT = """\
version: 1
inputs:
  product: pictures/*.png
  logo: {name: logo, file: ../../brand/logo.png}
  near: near.png
  above: ../above.png
steps:
  scene: {op: edit, image: product, prompt: on the beach}
  other: {op: edit, image: logo, prompt: at night}
  kept: {op: edit, image: product, prompt: on sand, keep: "masks/{product}.png"}
  cut: {op: cutout, image: product, cutout: ../../brand/any.onnx}
"""


@pytest.fixture
def recipe(tmp_path) -> Path:
    folder = tmp_path / "studio" / "spring"
    (folder / "pictures").mkdir(parents=True)
    (tmp_path / "brand").mkdir()
    for n in range(3):
        Image.new("RGB", (64, 64), (n, 0, 0)).save(folder / "pictures" / f"p{n}.png")
    Image.new("RGB", (64, 64), "blue").save(tmp_path / "brand" / "logo.png")
    for path in (folder / "near.png", folder.parent / "above.png"):
        Image.new("RGB", (64, 64), "red").save(path)
    (folder / "masks").mkdir()
    for n in range(3):
        Image.new("L", (64, 64), n).save(folder / "masks" / f"p{n}.png")
    (tmp_path / "brand" / "any.onnx").write_bytes(b"a model")
    path = folder / "r.yaml"
    path.write_text(TEXT)
    (folder / "r.overrides.yaml").write_text("version: 1\nseeds: {other: 3}\n")
    return path


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(inputs={"roots": [str(tmp_path)]})


@pytest.fixture
def store(tmp_path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def values(path: Path, settings: Settings) -> dict[str, dict[str, tuple[str, str]]]:
    """By their names the digests of all pictures, and what their folders are called."""
    review = Review(load_recipe(path), settings)
    axes = build_axes(review)
    assert review.problems == []
    return {
        name: {
            v.name: (hashlib.sha256(v.path.read_bytes()).hexdigest(), v.attributes["folder"])
            for v in axis.values
        }
        for name, axis in axes.items()
    }


def test_the_same_pictures_are_found_where_the_recipe_never_was(
    recipe, settings, store, tmp_path, monkeypatch
):
    before = values(recipe, settings)
    name = put_parcel(load_recipe(recipe), settings, store)
    assert is_parcel(name)
    for folder in ("studio", "brand"):
        shutil.rmtree(tmp_path / folder)
    monkeypatch.chdir("/")
    with unpacked(name, store.objects, Settings()) as found:
        assert values(found.path, found.settings) == before
        assert found.path.read_text() == TEXT
        assert (found.path.parent / "r.overrides.yaml").is_file()
        assert sorted(path.name for path in (found.path.parent / "masks").iterdir()) == [
            "p0.png", "p1.png", "p2.png",
        ]  # fmt: skip
        assert (found.path.parents[2] / "brand" / "any.onnx").read_bytes() == b"a model"
        place = found.path
    assert not place.exists()


def test_presets_and_fonts_beside_it_go_along(recipe, settings, store):
    text = "outputs: [{step: other, name: a, preset: shop}, {sheet: scene, font: type/own.ttf}]\n"
    recipe.write_text(TEXT + text)
    (recipe.parent / "presets.yaml").write_text("shop: {size: 90x60}\n")
    (recipe.parent / "type").mkdir()
    shutil.copy(SHIPPED, recipe.parent / "type" / "own.ttf")
    order = put_parcel(load_recipe(recipe), settings, store)
    shutil.rmtree(recipe.parent)
    with unpacked(order, store.objects, settings) as found:
        loaded = load_recipe(found.path, (), found.settings)
        plan = make_plan(loaded, model=FAKE_SPEC, settings=found.settings)
    assert plan.outputs[0].shape.size == (90, 60)
    (sheet,) = plan.sheets
    assert sheet.font.digest == hashlib.sha256(SHIPPED.read_bytes()).hexdigest()


def test_the_same_recipe_is_one_order(recipe, settings, store):
    first = put_parcel(load_recipe(recipe), settings, store)
    assert put_parcel(load_recipe(recipe), settings, store) == first
    assert len(list(store.objects.list(ORDERS))) == 1
    recipe.write_text(TEXT.replace("night", "dawn"))
    assert put_parcel(load_recipe(recipe), settings, store) != first


def other(store, name, recipe):
    return f"order:{'0' * 64}"


def damaged(store, name, recipe):
    place = f"{ORDERS}{name.partition(':')[2]}"
    store.objects.replace(place, store.objects.get(place).data.replace(b"r.yaml", b"x.yaml"))
    return name


def without_a_picture(store, name, recipe):
    logo = hashlib.sha256((recipe.parents[2] / "brand" / "logo.png").read_bytes()).hexdigest()
    store.objects.remove(f"blobs/{logo}")
    return name


def escaping(store, name, recipe):
    body = b'{"recipe": "r.yaml", "files": {"r.yaml": "x", "/etc/passwd": "y"}}'
    digest = hashlib.sha256(body).hexdigest()
    store.objects.create(f"{ORDERS}{digest}", body)
    return f"order:{digest}"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (other, "is not in this store"),
        (damaged, "is not in this store"),
        (without_a_picture, r"lacks \.\./\.\./brand/logo\.png"),
        (escaping, r"outside of itself|lacks r\.yaml"),
    ],
)
def test_what_cannot_be_trusted_is_not_used(recipe, settings, store, wrong, told):
    name = wrong(store, put_parcel(load_recipe(recipe), settings, store), recipe)
    with pytest.raises(RecipeError, match=told), unpacked(name, store.objects, Settings()):
        pass


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            "masks/{product}.png",
            "/masks/m.png",
            r"r\.yaml:10:59: '/masks/m.png' means nothing on an",
        ),
        ("masks/{product}.png", "masks/{product}.jpg", r"r\.yaml:10:59: no file 'masks/p0.jpg'"),
        (
            "../../brand/any.onnx",
            "/any.onnx",
            r"r\.yaml:11:45: '/any.onnx' means nothing on another",
        ),
    ],
)
def test_what_is_named_beside_inputs_is_found_elsewhere_or_refused(
    recipe, settings, store, before, after, told
):
    recipe.write_text(TEXT.replace(before, after))
    with pytest.raises(RecipeError, match=told):
        put_parcel(load_recipe(recipe), settings, store)


def test_a_name_that_is_not_utf_8_is_the_same_elsewhere(recipe, settings, store):
    odd = Path(os.fsdecode(b"caf\xe9.png"))
    recipe.write_text("version: 1\ninputs: {p: pictures/*}\nsteps: {s: {op: edit, image: p, "
                      "prompt: hi}}\n")  # fmt: skip
    Image.new("RGB", (64, 64), "red").save(recipe.parent / "pictures" / odd)
    before = values(recipe, settings)
    assert len(before["p"]) == 4
    name = put_parcel(load_recipe(recipe), settings, store)
    with unpacked(name, store.objects, Settings()) as found:
        assert values(found.path, found.settings) == before
        assert (found.path.parent / "pictures" / odd).is_file()
