"""Prefect's API as the coordinator asks it: quickly, and never for long while it is away."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

# Before prefect is imported, which reads its settings then.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import LogCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_UI_URL,
    temporary_settings,
)
from pydantic import ValidationError

from flows.coordination.dispatch import DispatchError

TIMEOUT = 15.0  # seconds without an answer
AWAY = 2.0  # seconds that a server which did not answer is left alone
PAGE = 200  # what the server gives at most for one question

LIVING = (
    StateType.SCHEDULED,
    StateType.PENDING,
    StateType.RUNNING,
    StateType.PAUSED,
    StateType.CANCELLING,
)


class NoServerError(Exception):
    """No Prefect server is named; the message says what to set."""


class PrefectApi:
    """One client; whatever goes wrong becomes ``DispatchError``.

    Not retried here: the coordinator comes by again in a second, and must not wait meanwhile.
    """

    def __init__(
        self, client: SyncPrefectClient, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._clock = clock
        self._away_until = 0.0
        self._why = ""

    @property
    def url(self) -> str:
        """The API's address."""
        return str(self._client.api_url).rstrip("/")

    @property
    def dashboard(self) -> str:
        """Where people look."""
        return str(PREFECT_UI_URL.value() or "") or self.url.removesuffix("/api")

    @contextmanager
    def asked(self) -> Iterator[SyncPrefectClient]:
        """The client, for one question.

        Raises:
            DispatchError: the server is away, or refuses.
            ObjectNotFound: it knows no such thing.
        """
        if self._clock() < self._away_until:
            raise DispatchError(self._why)
        try:
            yield self._client
        except ObjectNotFound:
            raise
        except httpx.TransportError as error:
            self._why = f"Prefect at {self.url} does not answer ({type(error).__name__})"
            self._away_until = self._clock() + AWAY
            raise DispatchError(self._why) from error
        except httpx.HTTPStatusError as error:
            raise DispatchError(f"Prefect at {self.url}: {_refusal(error.response)}") from error
        except (PrefectException, httpx.HTTPError, ValidationError, ValueError) as error:
            what = str(error).partition("\n")[0] or type(error).__name__
            raise DispatchError(f"Prefect at {self.url}: {what}") from error

    def flow_run(self, flow_run: UUID) -> FlowRun | None:
        """One flow run, or ``None``."""
        try:
            with self.asked() as client:
                return client.read_flow_run(flow_run)
        except ObjectNotFound:
            return None

    def flow_runs(self, ids: Sequence[UUID]) -> dict[UUID, FlowRun]:
        """Those of these that there are; one question for 200."""
        found: dict[UUID, FlowRun] = {}
        for some in batched_ids(ids):
            with self.asked() as client:
                runs = client.read_flow_runs(
                    flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=some)),
                    sort=FlowRunSort.ID_DESC,
                    limit=PAGE,
                )
            found.update((run.id, run) for run in runs)
        return found

    def flow_runs_of(
        self,
        *,
        pool: str | None = None,
        tag: str | None = None,
        types: Sequence[StateType] | None = None,
    ) -> list[FlowRun]:
        """All flow runs of a pool or with a tag, in any of these types of states."""
        wanted = FlowRunFilter(
            tags=FlowRunFilterTags(all_=[tag]) if tag else None,
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)))
            if types
            else None,
        )
        of_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])) if pool else None
        found: list[FlowRun] = []
        while True:
            with self.asked() as client:
                page = client.read_flow_runs(
                    flow_run_filter=wanted,
                    work_pool_filter=of_pool,
                    sort=FlowRunSort.ID_DESC,
                    limit=PAGE,
                    offset=len(found),
                )
            found += page
            if len(page) < PAGE:
                return found

    def log(self, flow_run: UUID, texts: Sequence[str], level: int = logging.INFO) -> None:
        """Lines into a flow run's log."""
        now = datetime.now(UTC)
        lines = [
            LogCreate(
                name="kontext.coordinator",
                level=level,
                message=text,
                timestamp=now,  # type: ignore[arg-type]
                flow_run_id=flow_run,
                task_run_id=None,
            )
            for text in texts
        ]
        if lines:
            with self.asked() as client:
                client.create_logs(lines)

    def set_state(self, flow_run: UUID, state: State[Any], *, force: bool = False) -> bool:
        """Ask for a state; whether it is the flow run's now. ``False`` for one that is not there.

        With ``force`` the server's own rules are passed over.
        """
        try:
            with self.asked() as client:
                answer = client.set_flow_run_state(flow_run, state, force=force)
        except ObjectNotFound:
            return False
        return answer.state is not None and answer.state.type == state.type


@contextmanager
def open_api() -> Iterator[PrefectApi]:
    """The API that this process is set to use.

    Raises:
        NoServerError: none is set.
    """
    if not PREFECT_API_URL.value():
        raise NoServerError(
            "PREFECT_API_URL is not set; expected the address of a Prefect server, such as "
            "http://127.0.0.1:4200/api; start one with 'prefect server start' and set it"
        )
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(httpx_settings={"timeout": TIMEOUT}, sync_client=True) as client,
    ):
        yield PrefectApi(client)


def batched_ids(ids: Sequence[UUID]) -> Iterator[list[UUID]]:
    """Pages of ids."""
    for start in range(0, len(ids), PAGE):
        yield list(ids[start : start + PAGE])


def _refusal(response: httpx.Response) -> str:
    try:
        detail = response.json()
    except ValueError:
        detail = response.text
    if isinstance(detail, dict):
        named = ("detail", "exception_detail", "exception_message")
        detail = next((detail[name] for name in named if detail.get(name)), detail)
    if isinstance(detail, list):  # what pydantic finds wrong with the request
        detail = "; ".join(f"{item.get('loc')}: {item.get('msg')}" for item in detail)
    return f"{response.status_code}: {str(detail)[:500]}"
