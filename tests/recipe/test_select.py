"""Selectors, --only and re-roll."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows.plan.reroll import reroll
from flows.plan.select import make_label, parse_label, select, select_exact
from flows.plan.step import Plan
from flows.recipe.errors import RecipeError
from flows.recipe.overrides import load_overrides, overrides_path
from flows.recipe.recipe import load_recipe
from tests.recipe.workspace import MODEL, plan_file

RECIPE = """\
version: 1
inputs: {p: [samples/shoe.png, samples/camera.png]}
matrix:
  scene: [beach, snow]
  exclude: [{p: camera, scene: snow}]
steps:
  hero: {op: generate, prompt: hi}
  clean: {op: edit, image: p, prompt: clean it}
  on_scene: {op: edit, image: [clean, hero], prompt: 'put it {scene}'}
"""


@pytest.fixture
def recipe(folder: Path) -> Path:
    path = folder / "r.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def plan(recipe: Path) -> Plan:
    return plan_file(recipe)


def wrong(error: pytest.ExceptionInfo[RecipeError]) -> list[str]:
    return [str(problem) for problem in error.value.problems]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("hero", ["hero"]),
        ("hero[scene=snow]", ["hero"]),
        ("clean", ["clean[p=shoe]", "clean[p=camera]"]),
        ("clean[shoe,snow]", ["clean[p=shoe]"]),
        ("clean[ p = camera ]", ["clean[p=camera]"]),
        ("on_scene[p=shoe,scene=snow]", ["on_scene[p=shoe,scene=snow]"]),
        ("on_scene[scene=beach,p=shoe]", ["on_scene[p=shoe,scene=beach]"]),
        (
            "on_scene[scene=beach]",
            ["on_scene[p=shoe,scene=beach]", "on_scene[p=camera,scene=beach]"],
        ),
        ("scene=snow", ["hero", "clean[p=shoe]", "on_scene[p=shoe,scene=snow]"]),
        ("scene=snow,p=shoe", ["hero", "clean[p=shoe]", "on_scene[p=shoe,scene=snow]"]),
    ],
)
def test_select(text: str, labels: list[str], plan: Plan) -> None:
    assert list(select(plan, text, "--only").labels) == labels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("on_scen", "unknown step 'on_scen' in the recipe: did you mean 'on_scene'?"),
        ("scnee=beach", "unknown axis 'scnee' in the recipe: did you mean 'scene'?"),
        ("hero[scene=beech]", "unknown value 'beech' in axis 'scene': did you mean 'beach'?"),
        (
            "hero[x]",
            "unknown variant 'x' in the recipe; expected 'shoe,beach', 'shoe,snow' or "
            "'camera,beach'; name one of these",
        ),
        (
            "on_scene[p=camera,scene=snow]",
            "no variant has p=camera and scene=snow together; expected one; see 'exclude'",
        ),
        (
            "hero[[x]]",
            "cannot be read; expected STEP, STEP[axis=value] or axis=value; mend it",
        ),
        ("hero[p=shoe,x]", "'x' has no '='; expected axis=value; write x=..."),
    ],
)
def test_a_wrong_selector_names_the_option(text: str, message: str, plan: Plan) -> None:
    with pytest.raises(RecipeError) as error:
        select(plan, text, "--only")
    assert wrong(error) == [f"--only {text}: {message}"]


def test_labels_are_selectors_of_themselves(plan: Plan) -> None:
    for label in plan.labels:
        assert make_label(*parse_label(label)) == label
        assert select_exact(plan, label, "--reroll") == (label,)


def test_only_keeps_what_is_selected_and_its_ancestors(recipe: Path, plan: Plan) -> None:
    part = plan_file(recipe, only=["on_scene[camera,beach]"])
    assert set(part.labels) == {"hero", "clean[p=camera]", "on_scene[p=camera,scene=beach]"}
    assert set(part.steps) == set(part.labels.values())
    assert part.steps.keys() < plan.steps.keys()
    assert [variant.id for variant in part.variants] == ["camera,beach"]
    assert part.steps[part.labels["hero"]].variants == ("camera,beach",)
    assert [output.path for output in part.outputs] == ["on_scene/camera-beach.png"]
    assert part.digest != plan.digest


def test_only_leaves_descendants_out_and_several_add_up(recipe: Path) -> None:
    part = plan_file(recipe, only=["clean"])
    assert set(part.labels) == {"clean[p=shoe]", "clean[p=camera]"}
    assert part.outputs == ()
    assert all(set(variant.keys) <= set(part.steps) for variant in part.variants)
    both = plan_file(recipe, only=["hero", "clean[p=shoe]"])
    assert set(both.labels) == {"hero", "clean[p=shoe]"}


def test_a_shared_output_is_told_of_a_variant_that_is_kept(folder: Path) -> None:
    path = folder / "r.yaml"
    path.write_text(RECIPE + "outputs: [{step: hero}]\n")
    part = plan_file(path, only=["scene=snow"])
    assert [(output.path, output.variant) for output in part.outputs] == [("hero.png", "shoe,snow")]


def test_reroll_changes_one_frame_and_stays(recipe: Path, plan: Plan) -> None:
    (done,) = reroll(load_recipe(recipe), ["on_scene[shoe,snow]"], model=MODEL)
    assert done.label == "on_scene[p=shoe,scene=snow]"
    assert done.before == plan.steps[plan.labels[done.label]].params.seed != done.seed
    after = plan_file(recipe)
    assert {label for label, key in after.labels.items() if plan.labels[label] != key} == {
        done.label
    }
    assert after.steps[after.labels[done.label]].params.seed == done.seed
    assert plan_file(recipe).labels == after.labels

    (again,) = reroll(load_recipe(recipe), [done.label], model=MODEL)
    assert again.before == done.seed != again.seed
    assert load_overrides(recipe).seeds == {done.label: again.seed}


def test_rerolling_a_parent_changes_its_descendants(recipe: Path, plan: Plan) -> None:
    reroll(load_recipe(recipe), ["clean[p=shoe]"], model=MODEL)
    after = plan_file(recipe)
    changed = {label for label, key in after.labels.items() if plan.labels[label] != key}
    assert changed == {label for label in plan.labels if "p=shoe" in label}


def test_rerolls_are_the_same_on_any_machine(recipe: Path) -> None:
    one = reroll(load_recipe(recipe), ["hero"], model=MODEL)
    overrides_path(recipe).unlink()
    assert reroll(load_recipe(recipe), ["hero"], model=MODEL) == one


def test_a_reroll_overrides_a_seed_that_the_recipe_gives(folder: Path) -> None:
    path = folder / "r.yaml"
    path.write_text("version: 1\nsteps:\n  s: {op: generate, prompt: hi, seed: 7}\n")
    (done,) = reroll(load_recipe(path), ["s"], model=MODEL)
    (step,) = plan_file(path).steps.values()
    assert (done.before, step.params.seed) == (7, done.seed)


def test_rerolls_are_kept_all_or_none(recipe: Path) -> None:
    loaded = load_recipe(recipe)
    with pytest.raises(RecipeError, match="unknown step 'hreo'"):
        reroll(loaded, ["hero", "hreo"], model=MODEL)
    with pytest.raises(RecipeError, match="--only hreo: unknown step"):
        reroll(loaded, ["hero"], only=["hreo"], model=MODEL)
    assert not overrides_path(recipe).exists()
    one, two, three = reroll(loaded, ["hero", "clean[p=shoe]", "hero"], only=["hero"], model=MODEL)
    assert (one.label, one.seed) == (three.label, three.before)
    assert load_overrides(recipe).seeds == {"hero": three.seed, "clean[p=shoe]": two.seed}


def test_concurrent_rerolls_lose_none(recipe: Path) -> None:
    labels = list(plan_file(recipe).labels)
    loaded = load_recipe(recipe)
    # A lock holds between descriptors, so also between threads.
    with ThreadPoolExecutor(len(labels)) as pool:
        done = list(pool.map(lambda label: reroll(loaded, [label], model=MODEL)[0], labels))
    assert load_overrides(recipe).seeds == {change.label: change.seed for change in done}
    assert len(done) == len(labels) > 4


def test_the_overrides_file_reads_well(recipe: Path) -> None:
    (done,) = reroll(load_recipe(recipe), ["on_scene[shoe,snow]"], model=MODEL)
    assert overrides_path(recipe) == recipe.with_name("r.overrides.yaml")
    assert overrides_path(recipe).read_text() == (
        "# Seeds that 'kontext run --reroll' chose; 'kontext decide RECIPE undo' takes one back.\n"
        f'version: 1\nseeds:\n  "on_scene[p=shoe,scene=snow]": {done.seed}\n'
    )
    assert [item.name for item in recipe.parent.iterdir() if item.name.startswith(".")] == []


def test_a_stale_override_is_noted_and_changes_nothing(recipe: Path, plan: Plan) -> None:
    path = overrides_path(recipe)
    path.write_text('version: 1\nseeds: {"clean[p=sho]": 1, "zzz": 2}\n')
    after = plan_file(recipe)
    assert after.labels == plan.labels
    assert after.warnings == (
        f"{path}: no step 'clean[p=sho]' any more: did you mean 'clean[p=shoe]'?",
        f"{path}: no step 'zzz' any more: remove it from the file",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "version: 1\n",
            ":1:1: expected 'seeds:' with a seed for each label; write 'seeds: {}' for none",
        ),
        ("version: 2\nseeds: {}\n", ":1:1: expected 'version: 1'; write it"),
        (
            "version: 1\nseeds:\n  hero: many\n",
            ":3:9: the seed is the text 'many'; expected a whole number from 0; write one",
        ),
        (
            "version: 1\nseeds: {}\nsead: {}\n",
            ":3:1: unknown key 'sead' in the overrides: did you mean 'seeds'?",
        ),
        (
            "seeds: [\n",
            ":1:8: not valid YAML; what opens here is not closed before the file ends; close it",
        ),
    ],
)
def test_a_wrong_overrides_file_is_told_with_its_place(
    text: str, message: str, recipe: Path
) -> None:
    path = overrides_path(recipe)
    path.write_text(text)
    with pytest.raises(RecipeError) as error:
        plan_file(recipe)
    assert f"{path}{message}" in wrong(error)


def test_a_hexadecimal_seed_by_hand_is_fine(recipe: Path) -> None:
    overrides_path(recipe).write_text("version: 1\nseeds: {hero: 0x10}\n")
    plan = plan_file(recipe)
    assert plan.steps[plan.labels["hero"]].params.seed == 16


def test_a_seed_that_was_drawn_is_synced_before_it_counts(tmp_path, monkeypatch):
    """It is nowhere else: file first, then its name in the folder."""
    import os

    from flows.recipe.overrides import Overrides, save_overrides

    synced = []
    real = os.fsync

    def fsync(descriptor):
        synced.append(os.path.realpath(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    path = tmp_path / "a.overrides.yaml"
    save_overrides(Overrides(path, {"hero": 7}))
    assert [one.endswith(".part") for one in synced] == [True, False]
    assert synced[-1] == str(tmp_path)
