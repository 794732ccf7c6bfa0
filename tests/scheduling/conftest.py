"""Servers of this folder's tests: one with a password, and a quick city."""

from __future__ import annotations

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from tests.chaos.city import City
from tests.servers.prefect import Prefect

from .board import AUTH, Board
from .quick import EDIT, TEMPO


@pytest.fixture(scope="session")
def quick(tmp_path_factory):
    """Servers, a parents' worker and one chunks' worker, for all tests of what people do."""
    with City(tmp_path_factory.mktemp("quick"), tempo=TEMPO) as city:
        city.deploy()
        city.start_parents()
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
