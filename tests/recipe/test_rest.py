"""What hangs on a mistake is not told with it, and all else is, whatever the mistake is in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.plan.plan import make_plan
from flows.plan.reading import read_recipe
from flows.recipe.errors import RecipeError
from flows.recipe.node import to_plain
from flows.recipe.source import read_source

ROOT = Path(__file__).parents[2]
RECIPES = ("exact-product", "house-style", "localisation")
OTHER = {"op": "generate", "prompt": "{other}"}


def broken(document: dict[str, Any]) -> Iterator[tuple[str, str | int]]:
    """The place of a mistake, of form or of meaning, made in each part of the recipe by turns."""
    for section in ("variables", "parameters", "inputs", "matrix", "steps", "outputs", "defaults"):
        parts = document.get(section, {})
        for name in parts if isinstance(parts, dict) else range(len(parts)):
            for value in ({"no": {"such": "kind"}}, {"table": "no.csv"}):
                yield from _with(parts, name, value, (section, name))
            if isinstance(part := parts[name], dict):
                for field in [*part, "nonsense"]:
                    for value in ({"no": {"such": "kind"}}, "nothing", "{nothing}"):
                        yield from _with(part, field, value, (section, name))


def _with(part: Any, name: Any, value: Any, loc: Any) -> Iterator[Any]:
    before = part.copy()
    part[name] = value
    yield loc
    part.clear()
    part.update(before) if isinstance(part, dict) else part.extend(before)


@pytest.mark.parametrize("name", RECIPES)
def test_all_else_is_told_and_nothing_that_follows(name: str, tmp_path, monkeypatch) -> None:
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    path = tmp_path / "recipes" / "briefs" / f"{name}.yaml"
    monkeypatch.chdir(tmp_path)
    document = to_plain(read_source(path).root)
    seen = set()
    for loc in broken(document):
        whole = {**document, "steps": {**document["steps"], "other": OTHER}}
        path.write_text(json.dumps(whole, ensure_ascii=False))
        with pytest.raises(RecipeError) as error:
            make_plan(read_recipe(path))
        told = {one.loc[:2] for one in error.value.problems}
        assert told <= {loc, ("steps", "other")}, error.value
        assert ("steps", "other") in told or loc == ("defaults", "true_cfg"), error.value
        seen |= told
    assert len(seen) > len(document["steps"])


@pytest.mark.parametrize(
    ("sets", "places"),
    [
        (["sesaon=autumn", "count=many"], ["--set count=many", "--set sesaon=autumn", "7:30"]),
        (["season=autumn", "nonsense=1"], ["--set nonsense=1", "5:39", "7:30"]),
        (["count=2"], ["3:13", "7:30"]),
    ],
)
def test_options_with_mistakes_hide_no_others(sets, places, tmp_path, monkeypatch) -> None:
    """An option that means nothing may have been meant for a variable that has no value."""
    monkeypatch.chdir(tmp_path)
    path = Path("r.yaml")
    path.write_text(
        "version: 1\nparameters: {count: {type: number, default: 1}}\nvariables: {season: }\n"
        'steps:\n  a: {op: generate, prompt: "{season} {wrong}"}\n'
        '  b: {op: generate, prompt: "{count}"}\n  c: {op: generate, prompt: "{other}"}\n'
    )
    with pytest.raises(RecipeError) as error:
        read_recipe(path, sets)
    told = [str(one).split(": ")[0].removeprefix("r.yaml:") for one in error.value.problems]
    assert told == places, error.value


@pytest.mark.parametrize("name", RECIPES)
def test_a_section_of_a_wrong_name_hides_no_other_mistake(name: str, tmp_path, monkeypatch) -> None:
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    path = tmp_path / "recipes" / "briefs" / f"{name}.yaml"
    monkeypatch.chdir(tmp_path)
    document = to_plain(read_source(path).root)
    other = {**document, "steps": {**document["steps"], "other": OTHER}}
    for section in [
        section for section in document if section not in ("version", "extends", "steps")
    ]:
        named = {(f"{one}s" if one == section else one): part for one, part in other.items()}
        path.write_text(json.dumps(named, ensure_ascii=False))
        with pytest.raises(RecipeError) as error:
            make_plan(read_recipe(path))
        found = {one.loc[:2] for one in error.value.problems}
        rest = set() if section in ("model", "zip", "defaults") else {("steps", "other")}
        assert found == {(f"{section}s",)} | rest, error.value
