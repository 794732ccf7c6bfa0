"""Servers of this folder's tests: one with a password, and a quick city."""

from __future__ import annotations

import shutil

import pytest

from tests.chaos.city import ROOT, City

from .quick import EDIT, TEMPO, write_night


@pytest.fixture(scope="session")
def quick(tmp_path_factory):
    """Servers, a parents' worker and one chunks' worker, for all tests of what people do."""
    folder = tmp_path_factory.mktemp("quick")
    recipes = folder / "recipes"
    shutil.copytree(ROOT / "recipes", recipes)
    write_night(recipes)
    with City(folder / "city", tempo=TEMPO) as city:
        city.deploy("--recipes", str(recipes))
        city.start_parents("parents", "--recipes", str(recipes))
        city.start_worker("worker-1", engine="swift", seconds=EDIT)
        yield city
