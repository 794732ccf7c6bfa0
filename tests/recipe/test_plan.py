"""Plans: what is shared, what changes when something changes, and what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from flows.plan import plan as plan_module
from flows.plan.keys import step_key
from flows.plan.plan import make_plan
from flows.plan.planfile import decode_plan, encode_plan
from flows.plan.step import ParentStep, Plan, SourceImage
from flows.recipe.recipe import parse_recipe
from kontext_engine.geometry import Fit, Size
from kontext_engine.spec import ModelSpec, NumericsProfile
from tests.recipe.workspace import MODEL, plan_text

RECIPE = """\
version: 1
inputs:
  product:
    - {file: samples/handbag.png, noun: handbag}
    - {file: samples/shoe.png, noun: red shoe}
matrix:
  scene:
    - {name: beach, words: on a sunny beach}
    - {name: snow, words: in the snow}
steps:
  clean: {op: edit, image: product, prompt: remove the cover}
  on_scene:
    op: edit
    image: clean
    prompt: put the {product.noun} {scene.words}
  night: {op: edit, image: on_scene, prompt: make it night}
"""


def keys(plan: Plan) -> dict[str, str]:
    return dict(plan.labels)


def changed(before: Plan, after: Plan) -> set[str]:
    """Labels of both plans whose keys differ."""
    both = before.labels.keys() & after.labels.keys()
    return {label for label in both if before.labels[label] != after.labels[label]}


def test_a_step_is_shared_by_variants_on_axes_it_does_not_depend_on(folder: Path) -> None:
    plan = plan_text(RECIPE, folder)
    assert set(plan.labels) == {
        "clean[product=handbag]",
        "clean[product=shoe]",
        *(
            f"{step}[product={product},scene={scene}]"
            for step in ("on_scene", "night")
            for product in ("handbag", "shoe")
            for scene in ("beach", "snow")
        ),
    }
    shared = plan.steps[plan.labels["clean[product=shoe]"]]
    assert shared.variants == ("shoe,beach", "shoe,snow")
    assert isinstance(shared.contexts[0], SourceImage)
    child = plan.steps[plan.labels["on_scene[product=shoe,scene=snow]"]]
    assert child.contexts == (ParentStep(shared.key),)
    assert child.params.prompt == "put the red shoe in the snow"


def test_steps_come_after_their_parents_and_variants_list_keys_in_recipe_order(
    folder: Path,
) -> None:
    backwards = RECIPE.replace("steps:\n", "steps:\n  last: {op: edit, image: night, prompt: x}\n")
    plan = plan_text(backwards, folder)
    seen: set[str] = set()
    for key, step in plan.steps.items():
        assert set(step.parents) <= seen
        seen.add(key)
    variant = plan.variants[0]
    assert [plan.steps[key].name for key in variant.keys] == ["last", "clean", "on_scene", "night"]
    assert variant.values == {"product": "handbag", "scene": "beach"}


def test_parameters_fall_from_step_to_defaults_to_model(folder: Path) -> None:
    plan = plan_text(
        """\
version: 1
inputs: {p: samples/shoe.png}
defaults: {steps: 8, fit: pad, size: 64x96}
steps:
  a: {op: generate, prompt: " hi "}
  b: {op: edit, image: p, prompt: hi, steps: 4, size: match, guidance: 3, seed: 7}
""",
        folder,
    )
    a, b = plan.steps.values()
    assert (a.params.steps, b.params.steps) == (8, 4)
    assert (a.params.guidance, b.params.guidance) == (2.5, 3.0)
    assert (a.params.size, b.params.size) == (Size(64, 96), None)
    assert b.params.fit is Fit.PAD
    assert b.params.seed == 7
    assert a.params.prompt == "hi"


def test_generate_without_a_size_takes_the_models(folder: Path) -> None:
    text = "version: 1\ndefaults: {size: match}\nsteps:\n  s: {op: generate, prompt: hi}\n"
    (step,) = plan_text(text, folder).steps.values()
    assert step.params.size == Size(128, 128)


SCENES = "  scene:\n"
PRODUCTS = "  product:\n"


@pytest.mark.parametrize(
    ("old", "new", "moved", "gone"),
    [
        (SCENES, SCENES + "    - {name: forest, words: in a forest}\n", (), ()),
        (PRODUCTS, PRODUCTS + "    - {file: samples/camera.png, noun: camera}\n", (), ()),
        ("    - {name: snow, words: in the snow}\n", "", (), ("scene=snow",)),
        ("name: snow", "name: winter", (), ("scene=snow",)),
        ("put the", "place the", ("on_scene", "night"), ()),
        ("in the snow", "in deep snow", ("scene=snow",), ()),
        ("matrix:\n", "matrix:\n  mood: [calm, wild]\n", (), ()),
    ],
)
def test_a_change_moves_the_keys_of_what_it_changes_alone(
    old: str, new: str, moved: tuple[str, ...], gone: tuple[str, ...], folder: Path
) -> None:
    before, after = plan_text(RECIPE, folder), plan_text(RECIPE.replace(old, new), folder)

    def named(parts: tuple[str, ...]) -> set[str]:
        return {label for label in before.labels if any(part in label for part in parts)}

    assert changed(before, after) == named(moved)
    assert before.labels.keys() - after.labels.keys() == named(gone)
    # The seeds stay, so that a new wording can be compared with the old.
    for label in before.labels.keys() & after.labels.keys():
        one, other = before.steps[before.labels[label]], after.steps[after.labels[label]]
        assert one.params.seed == other.params.seed


def test_the_order_of_values_changes_no_key(folder: Path) -> None:
    lines = RECIPE.splitlines(keepends=True)
    swapped = "".join([*lines[:6], lines[6], lines[8], lines[7], *lines[9:]])
    assert swapped != RECIPE
    assert keys(plan_text(swapped, folder)) == keys(plan_text(RECIPE, folder))


def test_an_axis_that_no_step_uses_is_noted(folder: Path) -> None:
    plan = plan_text(RECIPE.replace("matrix:\n", "matrix:\n  mood: [calm, wild]\n"), folder)
    assert len(plan.variants) == 8
    assert plan.warnings == (
        f"{folder / 'r.yaml'}:7:3: no step uses 'mood'; its values change no picture",
    )


def test_the_order_of_keys_and_the_spelling_of_numbers_are_irrelevant(folder: Path) -> None:
    text = "version: 1\nsteps:\n  s:\n    op: generate\n    prompt: hi\n    guidance: {}\n"
    integer = plan_text(text.format("2"), folder)
    assert keys(integer) == keys(plan_text(text.format("2.0"), folder))
    assert keys(integer) == keys(plan_text(text.format("20e-1"), folder))
    assert keys(integer) != keys(plan_text(text.format("2.5"), folder))
    swapped = "steps: {s: {guidance: 2, prompt: hi, op: generate}}\nversion: 1\n"
    assert keys(integer) == keys(plan_text(swapped, folder))


def test_names_of_recipe_files_and_unused_settings_are_not_in_the_key(folder: Path) -> None:
    text = "version: 1\ninputs: {p: samples/shoe.png}\n" + (
        "steps:\n  s: {op: edit, image: p, prompt: hi, seed: 3}\n"
    )
    before = set(plan_text(text, folder).steps)
    (folder / "samples" / "shoe.png").rename(folder / "samples" / "boot.png")
    renamed = text.replace("shoe", "boot").replace("  s: {", "  other: {") + "name: another\n"
    assert set(plan_text(renamed, folder).steps) == before


def test_new_bytes_in_a_file_give_a_new_key(folder: Path) -> None:
    before = plan_text(RECIPE, folder)
    shoe = folder / "samples" / "shoe.png"
    shoe.write_bytes(shoe.read_bytes() + b"\x00")
    assert changed(before, plan_text(RECIPE, folder)) == {
        label for label in before.labels if "product=shoe" in label
    }


def test_a_single_file_is_no_axis_in_labels_and_a_list_gives_the_same_seeds(folder: Path) -> None:
    text = "version: 1\ninputs:\n  p: {}\nsteps:\n  s: {{op: edit, image: p, prompt: hi}}\n"
    single = plan_text(text.format("samples/shoe.png"), folder)
    listed = plan_text(text.format("[samples/shoe.png, samples/camera.png]"), folder)
    assert list(single.labels) == ["s"]
    assert single.variants[0].id == "default"
    assert single.labels["s"] == listed.labels["s[p=shoe]"]


def test_steps_with_the_same_pixels_share_one_key(folder: Path) -> None:
    plan = plan_text(
        "version: 1\nsteps:\n"
        "  a: {op: generate, prompt: hi, seed: 1}\n  b: {op: generate, prompt: hi, seed: 1}\n",
        folder,
    )
    assert len(plan.steps) == 1
    assert plan.labels["a"] == plan.labels["b"]
    assert len(plan.outputs) == 2


def test_numerics_and_weights_are_in_every_key(folder: Path) -> None:
    usual = set(plan_text(RECIPE, folder).steps)
    half = set(plan_text(RECIPE, folder, numerics=NumericsProfile(dtype="bfloat16")).steps)
    assert usual.isdisjoint(half)


def test_classifier_free_guidance_uses_the_negative_prompt(folder: Path) -> None:
    text = (
        "version: 1\nmatrix: {thing: [hat, cat]}\n"
        "defaults: {negative_prompt: 'no {thing}', true_cfg: 2}\n"
        "steps:\n  s: {op: generate, prompt: hi}\n  t: {op: generate, prompt: hi, true_cfg: 1}\n"
    )
    plan = plan_text(text, folder)
    assert plan.steps[plan.labels["s[thing=hat]"]].params.negative_prompt == "no hat"
    off = plan.steps[plan.labels["t[thing=hat]"]]
    assert off.params.negative_prompt is None


def test_several_contexts_keep_their_order(folder: Path) -> None:
    text = (
        "version: 1\ninputs: {{a: samples/shoe.png, b: samples/camera.png}}\n"
        "steps:\n  s: {{op: edit, image: [{}], prompt: hi, seed: 1}}\n"
    )
    (one,) = plan_text(text.format("a, b"), folder).steps.values()
    (other,) = plan_text(text.format("b, a"), folder).steps.values()
    assert [ref.input for ref in one.contexts if isinstance(ref, SourceImage)] == ["a", "b"]
    assert one.key != other.key


def test_set_changes_variables_and_settings(folder: Path) -> None:
    text = (
        "version: 1\nvariables: {season: summer, year:}\n"
        "steps:\n  s: {op: generate, prompt: '{season} {year}'}\n"
    )
    plan = plan_text(text, folder, sets=("year=007", "defaults.steps=3", "steps.s.seed=5"))
    (step,) = plan.steps.values()
    assert step.params.prompt == "summer 007"
    assert (step.params.steps, step.params.seed) == (3, 5)
    assert plan.sets == ("year=007", "defaults.steps=3", "steps.s.seed=5")


def test_a_setting_that_the_model_ignores_is_noted_and_not_in_the_key(folder: Path) -> None:
    deaf = replace(MODEL, guidance_embedded=False)
    text = "version: 1\ndefaults: {{guidance: {}}}\nsteps:\n  s: {{op: generate, prompt: hi}}\n"
    two, three = (plan_text(text.format(n), folder, model=deaf) for n in (2, 3))
    assert set(two.steps) == set(three.steps)
    assert two.warnings == (f"{folder / 'r.yaml'}:2:12: model 'kontext-mini' ignores 'guidance'",)


def test_a_large_matrix_is_planned_with_one_key_each(folder: Path) -> None:
    numbers = ", ".join(map(str, range(1000)))
    steps = "steps:\n  s: {op: generate, prompt: 'a {n}'}\n"
    plan = plan_text(f"version: 1\nmatrix: {{n: [{numbers}]}}\n{steps}", folder)
    assert len(plan.steps) == len(plan.outputs) == 1000
    assert len({step.params.seed for step in plan.steps.values()}) == 1000


def test_a_model_folder_is_named_from_the_recipes_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def resolve(name: str) -> ModelSpec:
        asked.append(str(name))
        return MODEL

    monkeypatch.setattr(plan_module, "resolve_model", resolve)
    (folder / "campaign" / "ours").mkdir(parents=True)
    text = "version: 1\nmodel: {}\nsteps: {{hero: {{op: generate, prompt: hi}}}}\n"
    for written, sets in (("ours", ()), ("kontext-mini", ()), ("kontext-mini", ("model=ours",))):
        recipe = parse_recipe(text.format(written), Path("campaign/r.yaml"), sets)
        make_plan(recipe)
    # One that the command line names lies where the command is given.
    assert asked == ["campaign/ours", "kontext-mini", "ours"]


CHAIN = """\
version: 1
inputs: {p: p.png}
steps:
  one: {op: edit, image: p, prompt: snow}
  two: {op: edit, image: one, prompt: rain}
  padded: {op: edit, image: two, prompt: night, fit: pad}
  asked: {op: edit, image: padded, prompt: day, size: 128x128}
"""


@pytest.mark.parametrize(
    ("size", "moved"),
    [
        ((64, 64), set()),
        ((210, 70), {"two", "padded"}),  # made 224x80, of which a second edit once made 208x80
        ((224, 80), {"one", "two", "padded"}),  # once 208x80
    ],
)
def test_a_key_names_the_rules_of_sizes_where_they_moved(
    size: tuple[int, int], moved: set[str], folder: Path
) -> None:
    Image.new("RGB", size).save(folder / "p.png")
    plan = plan_text(CHAIN, folder)
    assert {step.name for step in plan.steps.values() if step.geometry > 1} == moved
    for step in plan.steps.values():
        plain = step_key(step.operation, step.params, step.contexts, plan.model, plan.numerics)
        assert (plain == step.key) is (step.name not in moved)
    assert decode_plan(encode_plan(plan)).digest == plan.digest
