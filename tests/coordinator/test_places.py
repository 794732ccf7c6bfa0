"""Everything in S3: recipe, input, store; and what names and addresses mean."""

from __future__ import annotations

import pytest

from flows.coordination.shelf import Shelf, same_place
from flows.recipe.errors import RecipeError
from flows.settings import Settings, load_settings
from flows.store.address import open_objects

from .test_coordinator import artifacts, manifest

RECIPE = """\
version: 1
name: remote
inputs:
  product: {inputs}/*.png
defaults: {{steps: 2, size: 64x48}}
steps:
  place: {{op: edit, image: product, prompt: "put the {{product}} on a beach"}}
"""


def test_a_recipe_and_its_inputs_in_s3(town, s3_place, monkeypatch):
    monkeypatch.setenv("KONTEXT_LINKS", "presigned")
    town.environment = {**s3_place.environment, "KONTEXT_LINKS": "presigned"}
    town.store = f"{s3_place.url}/store"
    town.recipes = f"{s3_place.url}/recipes"
    home = open_objects(s3_place.url, load_settings())
    town.recipe()
    for picture in sorted((town.folder / "recipes/in").glob("*.png"))[:3]:
        home.create(f"inputs/{picture.name}", picture.read_bytes())
    text = RECIPE.format(inputs=f"{s3_place.url}/inputs")
    home.create("recipes/looks/remote.yaml", text.encode())
    seeds = 'version: 1\nseeds: {"place[product=p1]": 7}\n'
    home.create("recipes/looks/remote.overrides.yaml", seeds.encode())
    home.create("recipes/local.yaml", RECIPE.format(inputs="in").encode())
    town.deploy()
    town.hire()
    town.start()
    refused = town.ended(town.order("local"))
    assert refused.state.message.startswith(f"{town.recipes}/local.yaml:4:12: ")
    assert "'file' is not among inputs.schemes" in refused.state.message
    parent = town.ended(town.order("looks/remote"))
    assert (parent.state.name, parent.state.message) == ("Completed", "3 done")
    found = manifest(town, parent.name)
    assert len(found.outputs) == 3
    assert 7 in {step.params["seed"] for step in found.steps}
    assert "X-Amz-Signature" in artifacts(town, parent.id)["markdown"]
    assert town.ended(town.order(f"{town.recipes}/looks/remote.yaml")).state.message == "3 cached"


@pytest.fixture
def shelf(tmp_path) -> Shelf:
    for name in ("a.yaml", "b.yml", "b.overrides.yaml", "spring/c.yaml", ".hidden/d.yaml", "e.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("version: 1\n")
    return Shelf(str(tmp_path), Settings())


def test_recipes_have_names(shelf, tmp_path):
    assert shelf.names() == ["a", "b", "spring/c"]
    assert shelf.names("spring") == ["spring/c"]
    with shelf.fetched("spring/c") as found:
        assert found.path == tmp_path / "spring/c.yaml"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("aa", "no recipe 'aa': did you mean 'a'?"),
        ("zebra", "no recipe 'zebra'; expected 'a', 'b' or 'spring/c' or s3://bucket/recipe.yaml"),
        ("../a", "no recipe '../a'"),
        ("/etc/passwd", "no recipe '/etc/passwd'"),
        ("s3://elsewhere/x.yaml", "lies where the coordinator may not read"),
        ("s3://elsewhere/x.txt", "is no recipe"),
    ],
)
def test_what_is_no_recipe(shelf, name, told):
    with pytest.raises(RecipeError) as caught, shelf.fetched(name):
        pass
    assert told in str(caught.value)


def test_folders_that_hold_none(shelf, tmp_path):
    with pytest.raises(
        RecipeError, match="no recipe in its folder 'autumn'; expected one: 'spring'"
    ):
        shelf.names("autumn")
    with pytest.raises(RecipeError, match="no such folder"):
        Shelf(str(tmp_path / "nowhere"), Settings()).names()


def test_stores_are_the_same_by_what_they_mean(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert same_place("out", str(tmp_path / "out"))
    assert same_place("s3://bucket/a/", "s3://bucket/a")
    assert not same_place("s3://bucket/a", "s3://bucket/b")
    assert not same_place("ftp://x", "ftp://x")
