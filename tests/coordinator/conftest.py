"""A town on the session's Prefect server."""

from __future__ import annotations

import pytest

from .town import Town, Zygote


@pytest.fixture(scope="session")
def prefect_client(prefect_on_postgres):
    """The session's Prefect server is this process's, and here is a client of it."""
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        temporary_settings({PREFECT_API_URL: prefect_on_postgres.api}),
        SyncPrefectClient(prefect_on_postgres.api) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def zygote():
    one = Zygote()
    yield one
    one.close()


@pytest.fixture
def town(tmp_path, zygote, prefect_client):
    one = Town(tmp_path, zygote, prefect_client)
    yield one
    one.close()
