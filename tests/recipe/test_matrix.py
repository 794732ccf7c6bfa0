"""Inputs, matrix, exclude and include."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.recipe.errors import RecipeError
from flows.recipe.step import Plan, SourceImage
from tests.recipe.workspace import plan_text

STEP = "steps:\n  s: {op: edit, image: p, prompt: 'a {p} {scene}'}\n"


def ids(plan: Plan) -> list[str]:
    return [variant.id for variant in plan.variants]


def with_matrix(matrix: str, inputs: str = "[samples/shoe.png, samples/camera.png]") -> str:
    return f"version: 1\ninputs: {{p: {inputs}}}\nmatrix:\n  scene: [beach, snow]\n{matrix}{STEP}"


def test_the_product_runs_in_the_order_of_the_recipe(folder: Path) -> None:
    plan = plan_text(with_matrix(""), folder)
    assert ids(plan) == ["shoe,beach", "shoe,snow", "camera,beach", "camera,snow"]


def test_a_glob_is_an_axis_in_order_of_names_and_takes_pictures_only(folder: Path) -> None:
    plan = plan_text(with_matrix("", "samples/*"), folder)
    assert ids(plan)[::2] == ["camera,beach", "handbag,beach", "shoe,beach"]


def test_a_glob_with_one_match_is_an_axis_all_the_same(folder: Path) -> None:
    plan = plan_text(with_matrix("", "samples/sh*.png"), folder)
    assert ids(plan) == ["shoe,beach", "shoe,snow"]


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


def test_exclude_takes_out_what_agrees_with_every_axis_it_names(folder: Path) -> None:
    plan = plan_text(with_matrix("  exclude: [{p: shoe, scene: snow}]\n"), folder)
    assert ids(plan) == ["shoe,beach", "camera,beach", "camera,snow"]
    plan = plan_text(with_matrix("  exclude: [{scene: [beach, snow], p: camera}]\n"), folder)
    assert ids(plan) == ["shoe,beach", "shoe,snow"]


def test_include_adds_back_and_an_axis_left_out_runs_over_all_values(folder: Path) -> None:
    matrix = "  exclude: [{scene: snow}]\n  include: [{scene: snow, p: shoe}]\n"
    assert ids(plan_text(with_matrix(matrix), folder)) == [
        "shoe,beach",
        "camera,beach",
        "shoe,snow",
    ]
    matrix = "  include: [{scene: {name: night, value: at night}}]\n"
    plan = plan_text(with_matrix(matrix), folder)
    assert ids(plan)[4:] == ["shoe,night", "camera,night"]
    assert plan.steps[plan.labels["s[p=shoe,scene=night]"]].params.prompt == "a shoe at night"


def test_include_may_define_a_file_and_use_it_again(folder: Path) -> None:
    matrix = (
        "  include:\n"
        "    - {p: {file: other/shoe.png, name: boot}, scene: beach}\n"
        "    - {p: boot, scene: snow}\n"
    )
    plan = plan_text(with_matrix(matrix), folder)
    assert ids(plan)[4:] == ["boot,beach", "boot,snow"]


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
