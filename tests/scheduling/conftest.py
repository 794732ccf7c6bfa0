"""A Prefect server with a password for each module, and what ``kontext deploy`` makes there."""

from __future__ import annotations

import contextlib

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows.scheduling.deploy import Deployed, Deployment, deploy
from flows.scheduling.names import CHUNKS_POOL, MAKE_CHUNK, NIGHTLY, PARENTS_POOL, RUN_RECIPE
from flows.scheduling.names import deployment as full_name
from flows.scheduling.pools import FORMER_POOL
from tests.servers.prefect import Prefect

PASSWORD = "hush-hush-1234"  # noqa: S105 - of a server of the tests
AUTH = f"kontext:{PASSWORD}"


class Board:
    """What Prefect knows of us, empty at first."""

    store = "/srv/out"

    def __init__(self, client: SyncPrefectClient) -> None:
        self.client = client
        for pool in (CHUNKS_POOL, PARENTS_POOL, FORMER_POOL):
            with contextlib.suppress(ObjectNotFound):
                client.delete_work_pool(pool)
        for flow in (RUN_RECIPE, NIGHTLY, MAKE_CHUNK):
            with contextlib.suppress(ObjectNotFound):
                client.delete_deployment(self.deployment(flow).id)

    def deploy(self, *recipes: str, **changes) -> Deployed:
        return deploy(Deployment(recipes or ("ten",), (self.store,), **changes))

    def deployment(self, flow: str):
        return self.client.read_deployment_by_name(full_name(flow))

    def schedule(self):
        (found,) = self.deployment(NIGHTLY).schedules
        return found

    def queues(self, pool: str) -> dict[str, object]:
        return {queue.name: queue for queue in self.client.read_work_queues(work_pool_name=pool)}


@pytest.fixture(scope="module")
def prefect(tmp_path_factory):
    with Prefect(tmp_path_factory.mktemp("prefect"), auth=AUTH) as server:
        yield server


@pytest.fixture
def client(prefect):
    """The module's server is this process's, and here is a client of it."""
    here = {PREFECT_API_URL: prefect.api, PREFECT_API_AUTH_STRING: AUTH}
    with (
        temporary_settings(here),
        SyncPrefectClient(prefect.api, auth_string=AUTH) as client,
    ):
        yield client


@pytest.fixture
def board(client):
    return Board(client)
