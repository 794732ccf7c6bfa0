"""Prefect's server, asked until it answers; its clock; its errors in one line without a secret.

Connection trouble and 5xx are waited out, all else is raised: a server that is away loses nothing,
and a body that waits for it may be stopped meanwhile (``hand.pause``).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeVar
from uuid import UUID

# Before prefect is imported, which reads its settings then.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL

from flows.scheduling.hand import Pause, pause
from flows.settings.secrecy import masked

log = logging.getLogger(__name__)

EVERY = 3.0  # seconds between two tries while the server is away
TOLD_EVERY = 60.0  # seconds between two lines about that
PAGE = 200  # flow runs that the server gives for one question
MOST_SKEW = 3.0  # seconds; a smaller one is an answer's own way

T = TypeVar("T")

_skew = timedelta(0)


class NoServerError(Exception):
    """No Prefect server is named; the message says what to set."""


class ServerError(Exception):
    """The server does not answer in time, or refuses; the message says what to do."""


@contextmanager
def connected() -> Iterator[SyncPrefectClient]:
    """A client of the server that ``PREFECT_API_URL`` names.

    Raises:
        NoServerError: it names none.
    """
    if not PREFECT_API_URL.value():
        raise NoServerError(
            "PREFECT_API_URL is not set; expected the address of a Prefect server, such as "
            "http://127.0.0.1:4200/api; start one with 'prefect server start' and set it"
        )
    with get_client(sync_client=True) as client:
        yield client


def server_name() -> str:
    """What people call the server: its address, without a password."""
    return masked(str(PREFECT_API_URL.value() or "no server"))


def dashboard() -> str:
    """Where people look."""
    ui = PREFECT_UI_URL.value()
    return masked(str(ui)) if ui else server_name().rstrip("/").removesuffix("/api")


def insist(
    ask: Callable[[], T],
    what: str,
    *,
    pause: Pause = pause,
    within: float | None = None,
) -> T:
    """What ``ask`` returns, asked again while the server is away.

    A body that must stop stops in ``pause``. ``ask`` must be harmless twice.

    Raises:
        ServerError: it was away for ``within`` seconds.
        httpx.HTTPStatusError, ObjectNotFound: the server's own answer.
    """
    began, told = time.monotonic(), float("-inf")
    while True:
        try:
            return ask()
        except (httpx.HTTPStatusError, httpx.TransportError) as error:
            if not is_passing(error):
                raise
            now = time.monotonic()
            if within is not None and now - began >= within:
                raise ServerError(in_words(error)) from error
            if now - told > TOLD_EVERY:
                told = now
                log.warning("%s (%s): asking again", in_words(error), what)
        pause(EVERY)


def is_passing(error: Exception) -> bool:
    """Whether it may be otherwise in a moment: no answer, or the server's own trouble."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500 or error.response.status_code in {408, 429}
    return isinstance(error, httpx.TransportError)


def in_words(error: Exception) -> str:
    """What the server, or the way to it, has said; one line for people."""
    where = f"Prefect at {server_name()}"
    if isinstance(error, httpx.HTTPStatusError):
        code = error.response.status_code
        if code in {401, 403}:
            return (
                f"{where}: does not let us in ({code}); expected the server's own user:password "
                "in PREFECT_API_AUTH_STRING; set it"
            )
        return f"{where}: {_refusal(error.response)}"
    if isinstance(error, httpx.TransportError):
        return f"{where} does not answer ({type(error).__name__}); start it, or mend the address"
    lines = str(error).strip().splitlines()
    what = masked(lines[0][:300]) if lines else ""
    return f"{where}: {type(error).__name__}: {what}".rstrip(": ")


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
    return f"{response.status_code}: {masked(str(detail)[:500])}"


# --- the server's clock


def measure_skew(client: SyncPrefectClient) -> float:
    """How far the server's clock is before ours (seconds), by its answers; kept for ``at``."""
    global _skew  # noqa: PLW0603 - one process, one server
    answer = client.request("GET", "/health")
    ahead = parsedate_to_datetime(answer.headers["date"]) - datetime.now(UTC)
    # The header tells whole seconds.
    _skew = ahead if abs(ahead.total_seconds()) > MOST_SKEW else timedelta(0)
    return _skew.total_seconds()


def at(seconds: float = 0.0) -> datetime:
    """So many seconds from now, by the server's clock: times for Prefect are told by it."""
    return datetime.now(UTC) + _skew + timedelta(seconds=seconds)


# --- flow runs


def read(client: SyncPrefectClient, flow_run: UUID) -> FlowRun | None:
    """A flow run; ``None`` when somebody has deleted it."""
    try:
        return insist(lambda: client.read_flow_run(flow_run), "a flow run")
    except ObjectNotFound:
        return None


def read_many(client: SyncPrefectClient, flow_runs: Iterable[UUID]) -> dict[UUID, FlowRun]:
    """Those of these that there are; one question for 200."""
    ids = list(flow_runs)
    found: dict[UUID, FlowRun] = {}
    for start in range(0, len(ids), PAGE):
        page = FlowRunFilter(id=FlowRunFilterId(any_=ids[start : start + PAGE]))

        def ask(page: FlowRunFilter = page) -> list[FlowRun]:
            return client.read_flow_runs(flow_run_filter=page, sort=FlowRunSort.ID_DESC, limit=PAGE)

        found.update((run.id, run) for run in insist(ask, "flow runs"))
    return found


def history(client: SyncPrefectClient, flow_run: UUID) -> list[State[object]]:
    """All states that a flow run has had, the oldest first."""
    states = insist(lambda: client.read_flow_run_states(flow_run), "its states")
    return sorted(states, key=lambda state: state.timestamp)
