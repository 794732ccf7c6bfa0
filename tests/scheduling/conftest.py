"""Servers of this folder's tests: one with a password, and a quick city."""

from __future__ import annotations

import shutil

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from tests.chaos.city import PATIENCE, ROOT, City
from tests.chaos.processes import until
from tests.servers.prefect import Prefect

from .board import AUTH, Board
from .hook import hook
from .quick import EDIT, TEMPO, kontext, write_night, write_twelve

__all__ = ["hook"]


@pytest.fixture(scope="package")
def quick(tmp_path_factory):
    """Servers, a parents' worker and one chunks' worker, for all tests of what people do."""
    folder = tmp_path_factory.mktemp("quick")
    recipes = folder / "recipes"
    # Without the briefs, which are nothing for a night: one has 1,800 steps.
    shutil.copytree(ROOT / "recipes", recipes, ignore=shutil.ignore_patterns("briefs"))
    write_twelve(recipes)
    # Those that somebody stops in the middle go on for a while.
    write_night(recipes / "one", 1, pictures=40)
    write_night(recipes / "long", 4, pictures=40)
    write_night(recipes / "four", 4)
    write_night(recipes / "three", 3)
    with City(folder / "city", tempo=TEMPO, ui=True) as city:
        until(
            lambda: not kontext(city, "deploy", "--recipes", recipes, cwd=folder).returncode,
            PATIENCE,
            city.prefect.log,
        )
        city.start_parents("parents", "--recipes", str(recipes))
        city.start_worker("worker-1", engine="swift", seconds=EDIT)
        yield city


@pytest.fixture(scope="package")
def prefect(tmp_path_factory):
    """It may be killed, if it is started again."""
    with Prefect(tmp_path_factory.mktemp("prefect"), auth=AUTH) as server:
        yield server


@pytest.fixture
def client(prefect):
    """That server is this process's, and here is a client of it."""
    here = {PREFECT_API_URL: prefect.api, PREFECT_API_AUTH_STRING: AUTH}
    with (
        temporary_settings(here),
        SyncPrefectClient(prefect.api, auth_string=AUTH) as client,
    ):
        yield client


@pytest.fixture
def board(client):
    return Board(client)
