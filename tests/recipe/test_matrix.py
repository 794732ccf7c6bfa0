"""Inputs, matrix, exclude and include."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.plan.step import Plan, SourceImage
from flows.recipe.errors import RecipeError
from tests.recipe.workspace import plan_text

STEP = "steps:\n  s: {op: edit, image: p, prompt: 'a {p} {scene}'}\n"


def ids(plan: Plan) -> list[str]:
    return [variant.id for variant in plan.variants]


def with_matrix(matrix: str, inputs: str = "[samples/shoe.png, samples/camera.png]") -> str:
    return f"version: 1\ninputs: {{p: {inputs}}}\nmatrix:\n  scene: [beach, snow]\n{matrix}{STEP}"


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ("[samples/shoe.png, samples/camera.png]", ["shoe", "camera"]),
        ("samples/*", ["camera", "handbag", "shoe"]),  # in order of names, pictures only
        ("samples/sh*.png", ["shoe"]),  # an axis all the same
    ],
)
def test_the_product_runs_in_the_order_of_the_recipe(inputs, expected, folder: Path) -> None:
    scenes = [f"{name},{scene}" for name in expected for scene in ("beach", "snow")]
    assert ids(plan_text(with_matrix("", inputs), folder)) == scenes


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ("exclude: [{p: shoe, scene: snow}]", "shoe,beach camera,beach camera,snow"),
        ("exclude: [{scene: [beach, snow], p: camera}]", "shoe,beach shoe,snow"),
        (
            "exclude: [{scene: snow}]\n  include: [{scene: snow, p: shoe}]",
            "shoe,beach camera,beach shoe,snow",
        ),
        (  # an axis that is left out runs over all its values
            "include: [{scene: {name: night, value: at night}}]",
            "shoe,beach shoe,snow camera,beach camera,snow shoe,night camera,night",
        ),
        (  # a file, and used again
            "include:\n    - {p: {file: other/shoe.png, name: boot}, scene: beach}\n"
            "    - {p: boot, scene: snow}",
            "shoe,beach shoe,snow camera,beach camera,snow boot,beach boot,snow",
        ),
    ],
)
def test_exclude_takes_out_and_include_adds(matrix, expected, folder: Path) -> None:
    plan = plan_text(with_matrix(f"  {matrix}\n"), folder)
    assert ids(plan) == expected.split(" ")
    for variant in plan.variants:
        scene = {"night": "at night"}.get(variant.values["scene"], variant.values["scene"])
        (key,) = variant.keys
        assert plan.steps[key].params.prompt == f"a {variant.values['p']} {scene}"


def test_a_glob_leaves_listed_files_their_variables(folder: Path) -> None:
    text = """\
version: 1
inputs:
  p:
    - samples/*.png
    - {file: samples/shoe.png, name: boot, kind: x}
steps:
  s: {op: edit, image: p, prompt: 'a {p}'}
"""
    assert sorted(ids(plan_text(text, folder))) == ["boot", "camera", "handbag"]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(folder: Path) -> None:
    (folder / "samples" / "shoe.png").rename(folder / "samples" / "shoe[1].png")
    plan = plan_text(
        "version: 1\ninputs: {p: 'samples/shoe[1].png'}\n"
        "steps:\n  s: {op: edit, image: p, prompt: hi}\n",
        folder,
    )
    (step,) = plan.steps.values()
    (source,) = step.contexts
    assert isinstance(source, SourceImage)
    assert source.path == folder / "samples" / "shoe[1].png"


def test_files_may_lie_below_the_current_folder_also_by_dots(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = folder / "recipes"
    recipes.mkdir()
    text = "version: 1\ninputs: {p: ../samples/*.png}\n" + STEP.replace("{scene}", "")
    assert len(plan_text(text, recipes).variants) == 3
    monkeypatch.chdir(recipes)
    with pytest.raises(RecipeError, match="lies outside the recipe's folder"):
        plan_text(text, recipes)


def test_an_included_value_without_a_variable_that_a_prompt_needs_is_refused(folder: Path) -> None:
    text = """\
version: 1
matrix:
  scene: [{name: beach, words: x}]
  include: [{scene: {name: night}}]
steps:
  s: {op: generate, prompt: 'a {scene.words}'}
"""
    with pytest.raises(RecipeError, match=r"'scene' has no '\.words' for 'night' in prompt"):
        plan_text(text, folder)


def test_entries_without_effect_are_noted(folder: Path) -> None:
    matrix = (
        "  exclude:\n    - {scene: snow}\n    - {scene: snow, p: shoe}\n"
        "  include:\n    - {scene: beach}\n"
    )
    path = folder / "r.yaml"
    assert plan_text(with_matrix(matrix), folder).warnings == (
        f"{path}:7:7: this entry excludes nothing",
        f"{path}:9:7: this entry includes nothing new",
    )


def test_plain_texts_are_named_by_themselves(folder: Path) -> None:
    text = (
        "version: 1\nmatrix: {scene: [on a beach, no]}\n"
        "steps:\n  s: {op: generate, prompt: '{scene}'}\n"
    )
    plan = plan_text(text, folder)
    assert list(plan.labels) == ["s[scene=on-a-beach]", "s[scene=no]"]
    assert [step.params.prompt for step in plan.steps.values()] == ["on a beach", "no"]
