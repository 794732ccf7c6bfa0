"""Recipes by their names in a folder or a bucket, and what names and addresses mean."""

from __future__ import annotations

import pytest

from flows.recipe.catalog import Catalog
from flows.recipe.errors import RecipeError
from flows.settings import Settings
from flows.settings.load import load_settings
from flows.store.address import open_objects

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
