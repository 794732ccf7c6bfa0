"""Asking a Prefect server that goes away, is in trouble, refuses or has another clock."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)
from prefect.states import Pending, Running, StateType

from flows.scheduling import attempt, server
from flows.scheduling.names import RUN_RECIPE
from flows.scheduling.server import ServerError, at, connected, in_words, insisting
from tests.chaos.processes import until
from tests.servers.process import free_port

from .board import PASSWORD
from .scripted import Answer, Scripted

USER = f"kontext:{PASSWORD}"


def at_once(seconds: float) -> None:
    time.sleep(0.01)


@contextlib.contextmanager
def asking(api: str):
    """A client of whatever is at ``api``; nothing is tried again but by us."""
    here = {PREFECT_API_URL: api, PREFECT_API_AUTH_STRING: None, PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(here), connected() as client:
        yield client


@contextlib.contextmanager
def scripted(*answers: Answer):
    """Such a server, and a client of it."""
    with Scripted(*answers) as there, asking(there.api(USER)) as client:
        yield there, client


def insist(client: SyncPrefectClient, **how):
    """Ask it whether it is well."""
    return insisting(client, **({"pause": at_once} | how)).request("GET", "/health").json()


def error_of(client: SyncPrefectClient) -> Exception:
    with pytest.raises(httpx.HTTPError) as caught:
        client.request("GET", "/health")
    return caught.value


# --- away


def test_a_server_that_goes_away_is_asked_until_it_is_back(prefect, client):
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        before = client.read_work_pools()
        prefect.kill9()
        tries = []

        def pause(seconds: float) -> None:
            tries.append(seconds)
            time.sleep(0.1)

        back = threading.Timer(1.0, prefect.start)
        back.start()
        assert insisting(client, pause=pause).read_work_pools() == before
        back.join()
    assert len(tries) > 1  # each with three quick ones by httpx itself


@pytest.mark.parametrize(
    "trouble", [Answer(500), Answer(502), Answer(503), Answer(429), Answer(cut=True)]
)
def test_a_server_in_trouble_is_asked_again(trouble):
    with scripted(trouble, trouble, Answer()) as (there, client):
        assert insist(client) is True
    assert len(there.asked) == 3


def test_after_its_patience_it_says_so(monkeypatch):
    now = [0.0]

    def pause(_seconds: float) -> None:
        now[0] += 0.1

    monkeypatch.setattr(server, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with (
        scripted(Answer(500, {"exception_message": "database is locked"})) as (there, client),
        pytest.raises(ServerError, match="500: database is locked") as caught,
    ):
        insist(client, within=0.35, pause=pause)
    assert len(there.asked) == 5
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_its_own_answer_is_no_trouble(status):
    with scripted(Answer(status)) as (there, client), pytest.raises(httpx.HTTPStatusError):
        insist(client)
    assert len(there.asked) == 1


def test_it_tells_that_it_waits_once_a_minute(caplog):
    caplog.set_level(logging.INFO)
    with scripted(*[Answer(500)] * 9, Answer()) as (_, client):
        insist(client)
    (ours,) = [one for one in caplog.records if one.name == server.__name__]
    assert ours.levelname == "WARNING"
    assert "(request): asking again" in ours.getMessage()
    assert PASSWORD not in ours.getMessage()


def test_a_body_that_has_to_end_does_not_wait():
    site, lease = SimpleNamespace(), SimpleNamespace(lost=False)
    said = attempt.Why.CANCEL
    attempt.become(attempt.Attempt(site, uuid4(), "a body", lease, said=said))
    try:
        with scripted(Answer(500)) as (there, client), pytest.raises(attempt.Stop):
            insist(client, pause=attempt.pause)
    finally:
        attempt.become(None)
    assert len(there.asked) == 1


# --- in words


def test_who_is_not_let_in_is_told_what_to_set(prefect):
    with asking(prefect.api.replace("://", "://kontext:wrong-one@")) as client:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            client.read_work_pools()
        said = in_words(caught.value)
    assert "does not let us in (401)" in said
    assert "PREFECT_API_AUTH_STRING" in said
    assert "wrong-one" not in said


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(403, {"detail": "no"}), "does not let us in (403)"),
        (Answer(404, {"detail": "Not Found"}), "404: Not Found"),
        (Answer(409, {"exception_detail": "is there"}), "409: is there"),
        (Answer(422, {"detail": [{"loc": ["body", "x"], "msg": "is no y"}]}), "is no y"),
        (Answer(418, "a teapot"), "418: a teapot"),
        (Answer(cut=True), "does not answer (RemoteProtocolError); start it"),
    ],
)
def test_what_it_said_is_one_line_without_the_password(answer, told):
    with scripted(answer) as (_, client):
        said = in_words(error_of(client))
    assert said.startswith("Prefect at http://***@127.0.0.1:")
    assert told in said
    assert PASSWORD not in said
    assert "\n" not in said


def test_what_httpx_says_itself_holds_no_password():
    """Its words name the address as it was given; they are cut to a line and masked."""
    with scripted(Answer(500)) as (_, client):
        words = str(error_of(client))
        assert PASSWORD in words
        for error in (RuntimeError(words), httpx.DecodingError(words), ValueError(words)):
            assert PASSWORD not in in_words(error)


def test_nobody_there_is_one_line():
    with asking(f"http://{USER}@127.0.0.1:{free_port()}/api") as client:
        said = in_words(error_of(client))
        assert "does not answer (ConnectError); start it, or mend the address" in said
        assert PASSWORD not in said + server.server_name() + server.dashboard()
        assert server.dashboard().startswith("http://***@127.0.0.1:")
        assert not server.dashboard().endswith("/api")


def test_no_server_named():
    with pytest.raises(server.NoServerError, match="PREFECT_API_URL is not set"), asking(""):
        pass


# --- its clock


@pytest.mark.parametrize(("ahead", "skew"), [(600.0, 600.0), (-600.0, -600.0), (1.0, 0.0)])
def test_another_clock_is_measured_and_times_are_told_by_it(monkeypatch, ahead, skew):
    monkeypatch.setattr(server, "_skew", timedelta(0))
    with scripted(Answer(ahead=ahead)) as (_, client):
        began = time.monotonic()
        measured = server.measure_skew(client)
        took = time.monotonic() - began
    if skew:  # the header tells whole seconds, and our clock goes on while it comes
        assert ahead - 1 - took <= measured <= ahead
    else:
        assert measured == 0.0
    before, told, after = datetime.now(UTC), at(5.0), datetime.now(UTC)
    assert before <= told - timedelta(seconds=measured + 5.0) <= after


def test_a_real_server_tells_its_clock(client):
    # A busy server renews its header late.
    until(lambda: server.measure_skew(client) == 0.0, 60.0)


# --- flow runs


def test_flow_runs_and_their_states(board, monkeypatch):
    monkeypatch.setattr(server, "PAGE", 2)
    board.deploy()
    deployed, client = board.deployment(RUN_RECIPE).id, board.client
    asked = {"recipe": "ten"}
    runs = [client.create_flow_run_from_deployment(deployed, parameters=asked).id for _ in range(5)]
    assert set(server.read_many(client, [*runs, uuid4()])) == set(runs)
    scheduled = server.those(flows=[RUN_RECIPE], states=[StateType.SCHEDULED])
    assert {run.id for run in server.pages(client, **scheduled)} >= set(runs)
    # One that has only just been made: after some seconds the server calls a run late.
    one = client.create_flow_run_from_deployment(deployed, parameters=asked).id
    for state in (Pending(), Running()):
        client.set_flow_run_state(one, state)
    states = [state.type for state in server.history(client, one)]
    assert states == [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]
    assert server.read(client, one).state_type is StateType.RUNNING
    client.delete_flow_run(one)
    assert server.read(client, one) is None
