"""Settings per value, takes, parameters, and what a recipe builds on."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.plan.keys import take_seed
from flows.plan.reroll import reroll
from flows.plan.select import narrow
from flows.recipe.errors import RecipeError
from flows.recipe.overrides import load_overrides
from flows.recipe.recipe import load_recipe, parse_recipe
from kontext_engine.geometry import Fit, Size
from tests.recipe.workspace import MODEL, plan_file, plan_text

SHOTS = """\
version: 1
inputs: {one: samples/shoe.png, two: samples/camera.png}
matrix:
  shot:
    - {name: s1, seed: 7, steps: 4, cfg: 2, from: one, fit: pad, size: 64x64}
    - {name: s2, seed: 8, steps: 6, cfg: 1, from: base, fit: crop, size: match}
steps:
  base: {op: generate, prompt: a hill}
  frame:
    op: edit
    image: "{shot.from}"
    prompt: "shot {shot}"
    seed: "{shot.seed}"
    steps: "{shot.steps}"
    true_cfg: "{shot.cfg}"
    negative_prompt: text
    fit: "{shot.fit}"
    size: "{shot.size}"
"""


def test_settings_of_each_value(folder: Path) -> None:
    plan = plan_text(SHOTS, folder)
    one, two = (plan.steps[plan.labels[f"frame[shot={name}]"]] for name in ("s1", "s2"))
    assert (one.params.seed, one.params.steps, one.params.true_cfg) == (7, 4, 2)
    assert (one.params.fit, one.params.size) == (Fit.PAD, Size(64, 64))
    assert (two.params.fit, two.params.size, two.params.steps) == (Fit.CROP, None, 6)
    assert (one.parents, two.parents) == ((), (plan.labels["base"],))
    assert one.contexts[0].path.name == "shoe.png"
    same = SHOTS.replace('"{shot.steps}"', "4").replace("steps: 6", "steps: 4")
    assert plan_text(same, folder).labels["frame[shot=s1]"] == one.key


TAKES = """\
version: 1
matrix: {shot: [s1, s2]}
steps:
  frame: {op: generate, prompt: "shot {shot}"}
  night: {op: edit, image: frame, prompt: at night}
outputs:
  - {step: night, name: "{shot}"}
"""
WITH_TAKES = TAKES.replace('{shot}"}\n  night', '{shot}", takes: 3}\n  night').replace(
    'name: "{shot}"', 'name: "{shot}-{take}"'
)


def test_more_takes_change_nothing_that_was(folder: Path) -> None:
    before, plan = plan_text(TAKES, folder), plan_text(WITH_TAKES, folder)
    assert before.labels.items() <= plan.labels.items()
    assert len(plan.steps) == 3 * len(before.steps)
    second = plan.steps[plan.labels["frame[shot=s1,take=2]"]]
    first = plan.steps[plan.labels["frame[shot=s1]"]]
    assert second.params.seed == take_seed(first.params.seed, 2) != first.params.seed
    below = plan.steps[plan.labels["night[shot=s1,take=2]"]]
    assert below.parents == (second.key,)
    assert [item.path for item in plan.outputs][:3] == ["s1-1.png", "s1-2.png", "s1-3.png"]
    assert len(plan.variants) == 2
    assert len(plan.variants[0].keys) == 6


@pytest.mark.parametrize(
    ("only", "labels"),
    [
        ("frame[take=2]", ["frame[shot=s1,take=2]", "frame[shot=s2,take=2]"]),
        ("frame[shot=s1,take=3]", ["frame[shot=s1,take=3]"]),
        ("fr*[shot=s?,take=1]", ["frame[shot=s1]", "frame[shot=s2]"]),
        ("frame[shot=s1,take=1,take=2]", ["frame[shot=s1]", "frame[shot=s1,take=2]"]),
        ("frame[shot=s1,shot=s2,take=1]", ["frame[shot=s1]", "frame[shot=s2]"]),
        ("night[shot=s1,take=1]", ["frame[shot=s1]", "night[shot=s1]"]),
    ],
)
def test_selectors_know_takes_patterns_and_several_values(
    only: str, labels: list[str], folder: Path
) -> None:
    assert list(narrow(plan_text(WITH_TAKES, folder), [only]).labels) == labels


def test_selectors_know_variables_of_values(folder: Path) -> None:
    plan = plan_text(SHOTS, folder)
    assert list(narrow(plan, ["shot.from=one"]).labels) == ["base", "frame[shot=s1]"]
    with pytest.raises(RecipeError, match=r"unknown axis 'shot\.form'.*did you mean 'shot\.from'"):
        narrow(plan, ["shot.form=one"])
    with pytest.raises(RecipeError, match=r"unknown value 'three' in variable 'shot\.from'"):
        narrow(plan, ["shot.from=three"])


def test_a_take_is_rerolled_alone_and_many_at_once(folder: Path) -> None:
    path = folder / "r.yaml"
    path.write_text(WITH_TAKES)
    before = plan_file(path)
    (done,) = reroll(load_recipe(path), ["frame[shot=s1]"], model=MODEL)
    assert done.label == "frame[shot=s1]"
    after = plan_file(path)
    moved = {label for label, key in after.labels.items() if before.labels[label] != key}
    assert moved == {"frame[shot=s1]", "night[shot=s1]"}
    changed = reroll(load_recipe(path), ["frame[shot=s2]", "night[take=1]"], model=MODEL)
    labels = [change.label for change in changed]
    assert labels == ["frame[shot=s2]", "night[shot=s1]", "night[shot=s2]"]
    assert set(load_overrides(path).seeds) == {"frame[shot=s1]", *labels}


PARAMETERS = """\
version: 1
parameters:
  season: {type: choice, choices: [spring, autumn], default: spring}
  strength: {type: number, min: 1, max: 20, default: 2}
  dark: {type: boolean, default: false}
  photo: {type: file, default: samples/shoe.png}
  looks: {type: list, default: [sepia, neon]}
  engine: {type: text, default: mini}
variables: {mood: "calm {season}", headline: "{mood} {unknown}"}
model: "kontext-{engine}"
inputs: {product: "{photo}"}
matrix: {look: "{looks}"}
defaults: {true_cfg: "{strength}"}
steps:
  s: {op: edit, image: product, prompt: "{headline}, {look}, dark: {dark}"}
"""


def test_parameters_variables_in_variables_and_lists_as_axes(folder: Path) -> None:
    plan = plan_text(PARAMETERS, folder)
    steps = list(plan.steps.values())
    assert [step.params.prompt for step in steps] == [
        "calm spring {unknown}, sepia, dark: false",
        "calm spring {unknown}, neon, dark: false",
    ]
    assert steps[0].params.true_cfg == 2
    sets = ("season=autumn", "looks=fog", "dark=TRUE", "strength=3.5", "photo=samples/camera.png")
    (step,) = plan_text(PARAMETERS, folder, sets=sets).steps.values()
    assert step.params.prompt == "calm autumn {unknown}, fog, dark: true"
    assert (step.params.true_cfg, step.contexts[0].path.name) == (3.5, "camera.png")


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        (
            "season=winter",
            "'season' is 'winter'; expected 'spring' or 'autumn'; write one of these",
        ),
        ("strength=30", "'strength' is 30; expected at least 1 and at most 20; choose one in"),
        ("strength=strong", "'strength' is 'strong'; expected a number; write one"),
        ("dark=maybe", "'dark' is 'maybe'; expected true or false; write one of these"),
        ("looks=", "'looks' is empty; expected at least one text; write them as a,b,c"),
        ("photo=", "'photo' is empty; expected a file; name one"),
    ],
)
def test_a_bad_parameter_is_refused_by_its_name(pair: str, told: str, folder: Path) -> None:
    with pytest.raises(RecipeError) as error:
        parse_recipe(PARAMETERS, folder / "r.yaml", [pair])
    assert str(error.value).startswith(f"--set {pair}: {told}")


def test_what_a_recipe_extends_and_its_folders_defaults(folder: Path) -> None:
    (folder / "house").mkdir()
    (folder / "house" / "style.yaml").write_text(
        "version: 1\nname: style\nx-words: &words {look: sepia}\n"
        "variables: {look: plain, place: a hill}\ninputs: {logo: ../samples/shoe.png}\n"
        "defaults: {steps: 4, true_cfg: 2}\nsteps:\n"
        "  s: {op: edit, image: logo, prompt: '{look} on {place}'}\n"
    )
    (folder / "kontext.toml").write_text(
        "batch = 2\n[recipe]\nmodel = 'none'\n[recipe.defaults]\nsteps = 9\nguidance = 3.0\n"
        "[recipe.variables]\nmood = 'calm'\n"
    )
    text = (
        "extends: house/style.yaml\nx-more: {a: b}\nmodel: kontext-mini\n"
        "variables: {place: '{mood} sea'}\nsteps:\n  s: {seed: 5}\n"
        "  t: {op: generate, prompt: hi}\n"
    )
    path = folder / "r.yaml"
    path.write_text(text)
    recipe = load_recipe(path)
    assert (recipe.name, recipe.document.model) == ("r", "kontext-mini")
    assert [file.name for file in recipe.files] == ["style.yaml", "kontext.toml"]
    plan = plan_file(path)
    step = plan.steps[plan.labels["s"]].params
    assert (step.prompt, step.seed) == ("plain on calm sea", 5)
    assert (step.steps, step.true_cfg, step.guidance) == (4, 2, 3)

    (folder / "house" / "style.yaml").write_text("version: 1\nsteps:\n  s: {op: edti}\n")
    (folder / "kontext.toml").write_text("[recipe]\nsteps = 1\n")
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    assert str(error.value) == (
        "kontext.toml:2:1: unknown key 'steps' in [recipe]; expected 'model', 'defaults' or "
        "'variables'; remove or rename it"
    )
    (folder / "kontext.toml").unlink()
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    assert (
        "house/style.yaml:3:11: 'op' is the text 'edti'; expected 'generate', 'edit', 'cutout' or"
        in str(error.value)
    )
