"""What is handed out, and under which names."""

from __future__ import annotations

from pathlib import Path

from flows.plan.step import Plan, PlannedOutput
from tests.recipe.workspace import plan_text

RECIPE = """\
version: 1
name: Autumn & Winter
inputs: {p: [samples/shoe.png, samples/camera.png]}
matrix:
  scene: [{name: beach, words: "../on a beach"}, {name: snow, words: x/y}]
steps:
  clean: {op: edit, image: p, prompt: clean it}
  on_scene: {op: edit, image: clean, prompt: "put it {scene.words}"}
  note: {op: generate, prompt: hi}
"""


def paths(plan: Plan) -> list[str]:
    return [output.path for output in plan.outputs]


def test_by_default_every_step_that_no_other_uses_named_by_what_it_depends_on(
    folder: Path,
) -> None:
    assert paths(plan_text(RECIPE, folder)) == [
        "on_scene/shoe-beach.png",
        "on_scene/shoe-snow.png",
        "on_scene/camera-beach.png",
        "on_scene/camera-snow.png",
        "note.png",
    ]


def test_names_are_templates_whose_variables_cannot_make_folders(folder: Path) -> None:
    spec = "outputs:\n  - {step: on_scene, name: 'a/{p}/{scene.words}-{step} {recipe}'}\n"
    assert paths(plan_text(RECIPE + spec, folder))[:2] == [
        "a/shoe/on-a-beach-on_scene Autumn-Winter.png",
        "a/shoe/x-y-on_scene Autumn-Winter.png",
    ]
    spec = "outputs:\n  - {step: on_scene, name: '{variant}'}\n"
    assert paths(plan_text(RECIPE + spec, folder))[0] == "shoe-beach.png"


def test_a_shared_picture_is_written_once_per_name(folder: Path) -> None:
    plan = plan_text(RECIPE + "outputs:\n  - {step: clean, name: 'clean/{p}'}\n", folder)
    assert plan.outputs == (
        PlannedOutput(plan.labels["clean[p=shoe]"], "shoe,beach", "clean/shoe.png", "png"),
        PlannedOutput(plan.labels["clean[p=camera]"], "camera,beach", "clean/camera.png", "png"),
    )


def test_the_format_is_said_by_format_or_by_the_extension(folder: Path) -> None:
    outputs = """\
outputs:
  - {step: note, name: a.jpg}
  - {step: note, name: b, format: webp, quality: 80}
  - {step: note, name: c.WEBP}
  - {step: note, name: v1.5, format: jpeg}
  - {step: note, name: d.png, format: png}
"""
    plan = plan_text(RECIPE + outputs, folder)
    assert [(item.path, item.format, item.quality) for item in plan.outputs] == [
        ("a.jpg", "jpeg", 95),
        ("b.webp", "webp", 80),
        ("c.webp", "webp", 95),
        ("v1.5.jpg", "jpeg", 95),
        ("d.png", "png", 95),
    ]


def test_the_plans_digest_names_keys_and_outputs(folder: Path) -> None:
    one = plan_text(RECIPE, folder)
    assert plan_text("# a note\n" + RECIPE, folder).digest == one.digest
    assert plan_text(RECIPE.replace("clean it", "wipe it"), folder).digest != one.digest
    renamed = RECIPE + "outputs:\n  - {step: note, name: other}\n"
    assert plan_text(renamed, folder).digest != one.digest
