"""What ``docs/recipes.md`` shows is carried out, and what the format has is in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flows.cli.check import summary
from flows.plan import presets as presets_module
from flows.plan.filing import DEFAULT_QUALITY
from flows.plan.plan import make_plan
from flows.recipe.entries import AxisEntry, InputEntry, Matrix
from flows.recipe.errors import RecipeError
from flows.recipe.fields import keys_of
from flows.recipe.handout import OutputSpec, SheetSpec
from flows.recipe.inputs import MAX_FILES
from flows.recipe.matrix import MAX_VARIANTS
from flows.recipe.recipe import load_recipe
from flows.recipe.schema import RecipeFile
from flows.recipe.source import MAX_BYTES, read_source
from flows.recipe.stepspec import MAX_GUIDANCE, MAX_STEPS, MAX_TRUE_CFG, Settings, StepSpec
from kontext_engine.geometry import MAX_PIXELS
from tests.recipe.workspace import make_samples, plan_file

TEXT = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text("utf-8")
# (kind of block, its text, the text block that follows it, if one does)
BLOCKS = re.findall(
    r"```(yaml(?: wrong)?)\n(.*?)```(?:\n[^`]*?```text\n(.*?)```)?", TEXT, re.DOTALL
)
RIGHT = [(text, told) for kind, text, told in BLOCKS if kind == "yaml"]
WRONG = [(text, told) for kind, text, told in BLOCKS if kind == "yaml wrong"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    make_samples(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_example_is_found():
    assert TEXT.count("```yaml") == len(BLOCKS) == len(RIGHT) + len(WRONG)
    assert len(RIGHT) >= 5
    assert len(WRONG) == 1


@pytest.mark.parametrize(("text", "told"), RIGHT)
def test_an_example_plans_without_a_warning(text, told, folder):
    path = Path("autumn.yaml")
    path.write_text(text)
    plan = make_plan(load_recipe(path))  # with the default model, as a reader has it
    assert plan.warnings == ()
    if told:
        assert told == f"{path}: ok, {summary(plan)}\n"


@pytest.mark.parametrize(("text", "told"), WRONG)
def test_a_wrong_example_is_told_as_the_page_says(text, told, folder):
    Path("wrong.yaml").write_text(text)
    with pytest.raises(RecipeError) as error:
        plan_file(Path("wrong.yaml"))
    assert f"{error.value}\n" == told


def test_the_page_names_every_key_of_the_format():
    parts = (
        RecipeFile, StepSpec, Settings, OutputSpec, SheetSpec, InputEntry, AxisEntry, Matrix,
    )  # fmt: skip
    keys = {key for part in parts for key in keys_of(part)}
    assert {key for key in keys if f"`{key}`" not in TEXT} == set()


def test_what_the_page_shows_of_briefs_is_theirs():
    whole = TEXT.partition("\n## Ten briefs\n")[2].partition("\n## ")[0]
    shown = dict(re.findall(r"^### `(.+?)`\n(.*?)(?=^### |\Z)", whole, re.DOTALL | re.MULTILINE))
    briefs = Path(__file__).parents[1] / "recipes" / "briefs"
    assert set(shown) == {path.name for path in briefs.glob("[!_]*.yaml")}
    for name, text in shown.items():
        lines = iter((briefs / name).read_text().splitlines())
        quoted = re.findall(r"^    (.+)$", text, re.MULTILINE)
        assert quoted
        # In their order: what is looked for goes on where the last was found.
        assert [line for line in quoted if line not in lines] == [], name


def test_the_page_names_every_preset():
    presets = read_source(Path(presets_module.__file__).parent / presets_module.FILE).root.fields
    assert {name for name in presets if f"`{name}`" not in TEXT} == set()


def test_the_limits_on_the_page_are_the_codes():
    for told in (
        f"1 to {MAX_STEPS} denoise steps",
        f"0 to {MAX_GUIDANCE:g};",
        f"1 to {MAX_TRUE_CFG:g};",
        f"Default: {DEFAULT_QUALITY}.",
        f"{MAX_BYTES // 1024} KiB, {MAX_VARIANTS:,} variants and {MAX_FILES:,} files",
        f"{MAX_PIXELS // 1_000_000} million pixels",
    ):
        assert told in TEXT


def test_the_worked_example_tells_what_it_says(folder):
    Path("autumn.yaml").write_text(RIGHT[0][0])
    plan = plan_file(Path("autumn.yaml"))
    names = [step.name for step in plan.steps.values()]
    assert (names.count("clean"), names.count("on_scene")) == (3, 5)
    assert {item.path for item in plan.outputs} >= {"beach/shoe.png", "clean/camera.webp"}
