"""Regions and cutouts in what the language has: takes, settings of each value, what is extended."""

from __future__ import annotations

from pathlib import Path

from flows.recipe.recipe import load_recipe
from flows.recipe.resolved import resolved
from tests.recipe.workspace import plan_file, plan_text

TAKES = """\
version: 1
matrix: {shot: [s1, s2]}
steps:
  frame: {op: generate, prompt: "shot {shot}", takes: 2}
  cut: {op: cutout, image: frame}
  night: {op: edit, image: frame, prompt: at night, keep: {mask: cut}}
"""


def test_each_take_is_kept_by_the_cut_of_its_own(folder: Path) -> None:
    plan = plan_text(TAKES, folder)
    for shot in ("s1", "s2"):
        for take in ("", ",take=2"):
            keys = [plan.labels[f"{name}[shot={shot}{take}]"] for name in ("frame", "cut", "night")]
            assert plan.steps[keys[1]].parents == (keys[0],)
            assert plan.steps[keys[2]].parents == (keys[0], keys[1])


def test_the_mask_alone_may_have_takes(folder: Path) -> None:
    text = TAKES.replace("mask: cut", "mask: cut, fit: crop").replace("frame, prompt", "p, prompt")
    text = text.replace("matrix:", "inputs: {p: samples/shoe.png}\nmatrix:")
    plan = plan_text(text, folder)
    second = plan.steps[plan.labels["night[shot=s1,take=2]"]]
    assert second.parents == (plan.labels["cut[shot=s1,take=2]"],)


def test_settings_of_each_value_do_not_reach_a_cutout(folder: Path) -> None:
    text = (
        "version: 1\ninputs: {p: samples/shoe.png}\n"
        "matrix: {shot: [{name: a, steps: 4}, {name: b, steps: 6}]}\n"
        "defaults: {steps: '{shot.steps}'}\nsteps:\n  cut: {op: cutout, image: p}\n"
        "  night: {op: edit, image: p, prompt: at night, keep: {mask: cut}}\n"
    )
    plan = plan_text(text, folder)
    assert sorted(plan.labels) == ["cut", "night[shot=a]", "night[shot=b]"]
    assert plan.steps[plan.labels["night[shot=b]"]].params.steps == 6


def test_masks_of_what_is_extended_lie_beside_it(folder: Path) -> None:
    house = folder / "house"
    house.mkdir()
    picture = (folder / "samples" / "shoe.png").read_bytes()
    for name in ("a", "b"):
        (house / f"{name}.png").write_bytes(picture)
    (house / "style.yaml").write_text(
        "version: 1\ninputs: {p: a.png}\nsteps:\n"
        "  one: {op: edit, image: p, prompt: hi, keep: a.png}\n"
        "  two: {op: edit, image: p, prompt: hi, region: {mask: b.png, feather: 1}}\n"
        "  cut: {op: cutout, image: p}\n"
        "  three: {op: edit, image: p, prompt: hi, keep: cut}\n"
        "  four: {op: edit, image: one, prompt: hi, keep: {mask: p}}\n"
    )
    path = folder / "r.yaml"
    path.write_text("extends: house/style.yaml\n")
    plan = plan_file(path)
    paths = [plan.steps[plan.labels[name]].contexts[-1].path.name for name in ("one", "two")]
    assert paths == ["a.png", "b.png"]
    assert plan.steps[plan.labels["three"]].parents == (plan.labels["cut"],)


def test_a_cut_prompt_is_told_in_its_own_file_and_not_of_origins(folder: Path) -> None:
    (folder / "base.yaml").write_text(
        "version: 1\nsteps:\n  s:\n    op: generate\n    prompt: a red sofa # ff0000\n"
    )
    path = folder / "r.yaml"
    path.write_text("extends: base.yaml\n")
    told = [line for line in plan_file(path).warnings if "is a comment" in line]
    assert len(told) == 1
    assert "base.yaml:5:13:" in told[0]
    whole = folder / "whole.yaml"
    whole.write_text(resolved(load_recipe(path).written))
    assert [line for line in plan_file(whole).warnings if "is a comment" in line] == []
