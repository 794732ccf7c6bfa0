"""Real briefs as recipes: short, as their authors would write them, and they run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from flows.plan.plan import make_plan
from flows.plan.select import narrow
from flows.recipe.node import to_plain
from flows.recipe.recipe import load_recipe
from flows.recipe.schema import json_schema
from flows.recipe.source import read_source
from flows.run.outcome import State
from kontext_engine.fake import FAKE_SPEC
from kontext_engine.geometry import Size
from tests.run.samples import run

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "recipes" / "briefs"
# Each brief: its steps, its outputs, and a few of them to run.
BRIEFS = {
    "catalogue": (1800, 1800, "product=0000?"),
    "exact-product": (4, 4, "exact"),
    "house-style": (7, 4, "mood=day"),
    "localisation": (25, 12, "best[language=de]"),
    "nightly-folder": (32, 32, "picture=b*"),
    "red-box": (3, 3, "placed"),
    "remake": (4, 4, "again"),
    "social-pack": (8, 8, "post[platform=banner]"),
    "storyboard": (50, 38, "chosen[shot=09]"),
    "style-comparison": (24, 24, "strength.cfg=1.5"),
}


# Quick, and of the miniature's size, which the recipes' own sizes are for.
SPEC = replace(FAKE_SPEC, pixel_area=128 * 128, default_size=Size(128, 128))


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_every_brief_is_in_the_table() -> None:
    assert {path.stem for path in FOLDER.glob("[!_]*.yaml")} == set(BRIEFS)


@pytest.mark.parametrize("name", BRIEFS)
def test_a_brief_is_short_plans_without_a_note_and_runs(name: str, tmp_path: Path) -> None:
    path = FOLDER / f"{name}.yaml"
    steps, outputs, few = BRIEFS[name]
    assert len(path.read_text().splitlines()) <= 60
    jsonschema.validate(to_plain(read_source(path).root), json_schema())
    plan = make_plan(load_recipe(path))
    assert (len(plan.steps), len(plan.outputs), plan.warnings) == (steps, outputs, ())
    part = narrow(make_plan(load_recipe(path), model=SPEC), [few])
    assert 0 < len(part.steps) <= 40
    manifest = run(part, tmp_path / "out", spec=SPEC).manifest
    assert manifest.counts[State.DONE] == len(part.steps)
    assert (manifest.whole, manifest.only) == (True, (few,))
    assert len(manifest.outputs) == len((*part.outputs, *part.sheets)) > 0


def test_shoes_get_scenes_of_shoes_and_discontinued_products_none() -> None:
    plan = make_plan(load_recipe(FOLDER / "catalogue.yaml"))
    products = {step.label.partition("[")[2].partition(",")[0].rstrip("]") for step in
                plan.steps.values()}  # fmt: skip
    assert len(products) == 450
    assert not any("street" in variant.id and "bags" in variant.details.values()
                   for variant in plan.variants)  # fmt: skip
