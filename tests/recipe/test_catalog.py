"""Recipes by their names in a folder or a bucket, and what names and addresses mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.plan.plan import make_plan
from flows.plan.reading import read_recipe
from flows.recipe.catalog import Catalog
from flows.recipe.errors import RecipeError
from flows.recipe.recipe import load_parameters
from flows.settings import Settings
from flows.settings.load import load_settings
from flows.store.address import open_objects
from tests.recipe.workspace import MODEL

TEXT = "version: 1\n"


@pytest.fixture
def catalog(tmp_path) -> Catalog:
    for name in ("a.yaml", "b.yml", "b.overrides.yaml", "spring/c.yaml", ".hidden/d.yaml", "e.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(TEXT)
    return Catalog(str(tmp_path), Settings())


def test_recipes_have_names(catalog, tmp_path):
    assert catalog.names() == ["a", "b", "spring/c"]
    assert catalog.names("spring") == ["spring/c"]
    with catalog.fetched("spring/c") as found:
        assert found.path == tmp_path / "spring/c.yaml"


SHIPPED = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("name", Catalog(str(SHIPPED), Settings()).names())
def test_a_recipe_of_a_folder_reads_what_lies_in_that_folder(name, tmp_path, monkeypatch):
    """Wherever the worker that looks it up runs."""
    monkeypatch.chdir(tmp_path)
    with Catalog(str(SHIPPED), Settings()).fetched(name) as found:
        recipe = read_recipe(found.path, (), found.settings, found.fetch)
        assert make_plan(recipe, model=MODEL, settings=found.settings).steps


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("aa", "no recipe 'aa': did you mean 'a'?"),
        ("zebra", "no recipe 'zebra'; expected 'a', 'b' or 'spring/c' or s3://bucket/recipe.yaml"),
        ("../a", "no recipe '../a'"),
        ("/etc/passwd", "no recipe '/etc/passwd'"),
        ("s3://elsewhere/x.yaml", "lies where recipes may not be read from"),
        ("s3://elsewhere/x.txt", "is no recipe"),
    ],
)
def test_what_is_no_recipe(catalog, name, told):
    with pytest.raises(RecipeError) as caught, catalog.fetched(name):
        pass
    assert told in str(caught.value)


def test_folders_that_hold_none(catalog, tmp_path):
    with pytest.raises(
        RecipeError, match="no recipe in its folder 'autumn'; expected one: 'spring'"
    ):
        catalog.names("autumn")
    with pytest.raises(RecipeError, match="no such folder"):
        Catalog(str(tmp_path / "nowhere"), Settings()).names()


def test_recipes_in_a_bucket_and_what_a_reroll_kept_beside_one(s3_place):
    home = open_objects(s3_place.url, load_settings())
    for name in ("recipes/looks/spring.yaml", "recipes/looks/spring.overrides.yaml"):
        home.create(name, f"{TEXT}# {name}\n".encode())
    home.create("recipes/plain.yaml", TEXT.encode())
    catalog = Catalog(f"{s3_place.url}/recipes", load_settings())
    assert catalog.names() == ["looks/spring", "plain"]
    address = f"{s3_place.url}/recipes/looks/spring.yaml"
    assert catalog.addresses() == [address, f"{s3_place.url}/recipes/plain.yaml"]
    for name in ("looks/spring", address):
        with catalog.fetched(name) as found:
            assert found.shown == address
            kept = found.path.with_name("spring.overrides.yaml")
            assert "spring.overrides" in kept.read_text()
            # What lies on this machine was not put there for a recipe of others.
            assert found.settings.inputs.schemes == ("s3",)


def test_a_recipe_in_a_bucket_reads_what_lies_beside_it(s3_place):
    home = open_objects(s3_place.url, load_settings())
    head = "extends: house/style.yaml\nmatrix:\n"
    tail = 'steps: {s: {op: generate, prompt: "{shot.words}, {look}"}}\n'
    files = {
        "looks/spring.yaml": f"{head}  shot: {{table: shots.csv}}\n{tail}",
        "looks/wrong.yaml": (
            f"{head}  shot: {{table: shotz.csv}}\n  a: {{table: ../sets.csv}}\n"
            f"  b: {{table: /etc/passwd.csv}}\n  c: {{table: plain.txt}}\n"
            f'  d: {{table: "s3://{s3_place.url[5:]}/sets.csv"}}\n{tail}'
        ),
        "looks/house/style.yaml": "version: 1\nextends: ../base.yaml\nvariables: {look: warm}\n",
        "looks/base.yaml": "parameters: {format: {type: choice, choices: [a, b], default: a}}\n",
        "looks/shots.csv": "name,words\none,a shoe\ntwo,a bag\n",
        "sets.csv": "name\nx\n",
    }
    for name, text in files.items():
        home.create(f"recipes/{name}", text.encode())
    where = f"{s3_place.url}/recipes/looks"
    catalog = Catalog(f"{s3_place.url}/recipes", load_settings())
    with catalog.fetched("looks/spring") as found:
        recipe = read_recipe(found.path, (), found.settings, found.fetch)
        assert [step.params.prompt for step in make_plan(recipe, model=MODEL).steps.values()] == [
            "a shoe, warm", "a bag, warm"
        ]  # fmt: skip
        assert "format" in load_parameters(found.path, found.settings, found.fetch)
    with pytest.raises(RecipeError) as caught, catalog.fetched("looks/wrong") as found:
        read_recipe(found.path, (), found.settings, found.fetch)
    outside = (
        f"lies outside {where}/, where the recipe is; expected a file below that; put it there"
    )
    assert str(caught.value).splitlines() == [
        f"{where}/wrong.yaml:3:17: 'shotz.csv' below {where}/ is not there: did you mean "
        "'shots.csv'?",
        f"{where}/wrong.yaml:4:14: '../sets.csv' {outside}",
        f"{where}/wrong.yaml:5:14: '/etc/passwd.csv' {outside}",
        f"{where}/wrong.yaml:6:14: 'plain.txt' is no table; expected .csv, .tsv, .yaml, .yml, "
        ".json, .jsonl or .ndjson; save it as one of these",
        f"{where}/wrong.yaml:7:14: '{s3_place.url}/sets.csv' is no file; expected a table beside "
        "this one; download it first",
    ]
