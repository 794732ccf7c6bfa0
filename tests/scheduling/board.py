"""What Prefect knows of ``kontext``, on a server with a password."""

from __future__ import annotations

import contextlib

from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound

from flows.scheduling.deploy import Deployed, Deployment, deploy
from flows.scheduling.names import CHUNKS_POOL, MAKE_CHUNK, NIGHTLY, PARENTS_POOL, RUN_RECIPE
from flows.scheduling.names import deployment as full_name
from flows.scheduling.pools import FORMER_POOL
from flows.settings import NightSettings

PASSWORD = "hush-hush-1234"  # noqa: S105 - of a server of the tests
AUTH = f"kontext:{PASSWORD}"

# A server that has only just come up, on a busy machine, may take long for any answer.
PATIENCE = 120.0

MADE = (
    "work pool kontext-parents created",
    "work pool kontext created",
    "queue kontext/nightly created",
    "queue kontext/urgent created",
    "deployment run-recipe/run-recipe created",
    "deployment nightly/nightly created",
    "deployment make-chunk/make-chunk created",
)


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

    def deploy(self, *recipes: str, parameters=None, **night) -> Deployed:
        wanted = Deployment(
            recipes or ("ten",), (self.store,), NightSettings(**night), parameters or {}
        )
        return deploy(wanted, PATIENCE)

    def deployment(self, flow: str):
        return self.client.read_deployment_by_name(full_name(flow))

    def schedule(self):
        (found,) = self.deployment(NIGHTLY).schedules
        return found

    def queues(self, pool: str) -> dict[str, object]:
        return {queue.name: queue for queue in self.client.read_work_queues(work_pool_name=pool)}
