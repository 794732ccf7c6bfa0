"""Prefect's server, asked until it answers; its clock; its errors in one line without a secret.

Connection trouble and 5xx are waited out, all else is raised: a server that is away loses nothing,
and a body that waits for it may be stopped meanwhile (``attempt.pause``).
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar, cast
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL

from flows.scheduling.attempt import pause
from flows.settings.secrecy import masked

log = logging.getLogger(__name__)

EVERY = 3.0  # seconds between two tries while the server is away
TOLD_EVERY = 60.0  # seconds between two lines about that
WAIT_TOLD = 10.0  # the same where somebody stands there and waits
PAGE = 200  # flow runs that the server gives for one question
MOST_SKEW = 3.0  # seconds; a smaller one is an answer's own way
LIVING = (
    StateType.SCHEDULED,
    StateType.PENDING,
    StateType.RUNNING,
    StateType.PAUSED,
    StateType.CANCELLING,
)

T = TypeVar("T")
Pause = Callable[[float], None]

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
            "http://127.0.0.1:4200/api; 'kontext up' starts one with "
            "workers and writes it into .kontext/environment; or set that of your own"
        )
    with get_client(sync_client=True) as client:
        yield client


class _Insisting:
    """A client that asks each question until it is answered."""

    def __init__(self, client: SyncPrefectClient, **how: Any) -> None:
        self._client = client
        self._how = how

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def ask(*given: Any, **named: Any) -> Any:
            bound = functools.partial(method, *given, **named)
            return insist(bound, name.replace("_", " "), **self._how)

        return ask


def insisting(
    client: SyncPrefectClient,
    *,
    pause: Pause = pause,
    within: float | None = None,
    say: Callable[[str], None] | None = None,
) -> SyncPrefectClient:
    """``client``, each question asked as ``insist`` does."""
    return cast(SyncPrefectClient, _Insisting(client, pause=pause, within=within, say=say))


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
    say: Callable[[str], None] | None = None,
) -> T:
    """What ``ask`` returns, asked again while the server is away.

    A body that must stop stops in ``pause``. ``ask`` must be harmless twice. ``say`` is for
    somebody who stands there and waits; else the log tells now and then.

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
            if now - told >= (TOLD_EVERY if say is None else WAIT_TOLD):
                told = now
                if say is None:
                    log.warning("%s (%s): asking again", in_words(error), what)
                else:
                    say(f"waiting for the server: {in_words(error)}")
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


def those(
    *, flows: Iterable[str] = (), states: Iterable[StateType] = (), pool: str = "", **of_runs: Any
) -> dict[str, Any]:
    """Which flow runs are asked for: the filters that ``read_flow_runs`` takes.

    ``of_runs`` are fields of ``FlowRunFilter``, in plain values.
    """
    if states:
        of_runs["state"] = {"type": {"any_": list(states)}}
    found: dict[str, Any] = {"flow_run_filter": FlowRunFilter.model_validate(of_runs)}
    if flows:
        found["flow_filter"] = FlowFilter.model_validate({"name": {"any_": list(flows)}})
    if pool:
        found["work_pool_filter"] = WorkPoolFilter.model_validate({"name": {"any_": [pool]}})
    return found


def pages(client: SyncPrefectClient, **filters: Any) -> Iterator[FlowRun]:
    """All flow runs that there are of ``those``."""
    offset = 0
    while True:
        page = client.read_flow_runs(sort=FlowRunSort.ID_DESC, limit=PAGE, offset=offset, **filters)
        yield from page
        offset += len(page)
        if len(page) < PAGE:
            return


def read(client: SyncPrefectClient, flow_run: UUID) -> FlowRun | None:
    """A flow run; ``None`` when somebody has deleted it."""
    try:
        return client.read_flow_run(flow_run)
    except ObjectNotFound:
        return None


def read_many(client: SyncPrefectClient, flow_runs: Iterable[UUID]) -> dict[UUID, FlowRun]:
    """Those of these that there are; one question for 200."""
    ids = list(flow_runs)
    found: dict[UUID, FlowRun] = {}
    for start in range(0, len(ids), PAGE):
        page = those(id={"any_": ids[start : start + PAGE]})
        runs = client.read_flow_runs(sort=FlowRunSort.ID_DESC, limit=PAGE, **page)
        found.update((run.id, run) for run in runs)
    return found


def history(client: SyncPrefectClient, flow_run: UUID) -> list[State[object]]:
    """All states that a flow run has had, the oldest first."""
    return sorted(client.read_flow_run_states(flow_run), key=lambda state: state.timestamp)
