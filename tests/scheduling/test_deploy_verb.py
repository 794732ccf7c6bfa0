"""``kontext deploy`` as people call it: its lines, and never a password in them."""

from __future__ import annotations

import socket

import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows.scheduling import spoken
from flows.scheduling.deploy import Deployment, deploy
from flows.scheduling.names import NIGHTLY
from flows.scheduling.server import ServerError
from tests.servers.process import free_port
from tests.shell import kontext

from .board import AUTH, MADE, PASSWORD


@pytest.fixture
def deploying(capsys, monkeypatch, prefect, tmp_path):
    """The verb, in a folder with a recipe; an address or a password that is None is not set."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "ten.yaml").write_text("version: 1\n")
    monkeypatch.chdir(tmp_path)

    def deploy(address, auth, *arguments):
        # Prefect reads its environment when a process begins; here it is told again.
        here = {PREFECT_API_URL: address, PREFECT_API_AUTH_STRING: auth}
        with temporary_settings(here):
            return kontext(capsys, "deploy", *arguments)

    return deploy


def test_the_verb_tells_what_it_changed_and_no_password(deploying, prefect, board):
    address = prefect.api.replace("://", f"://{AUTH}@")
    code, out, err = deploying(address, None, "--concurrency", "3")
    assert (code, err) == (0, "")
    assert tuple(out.splitlines()[:-1]) == MADE
    assert out.splitlines()[-1].startswith("dashboard  http://***@127.0.0.1:")
    assert board.deployment(NIGHTLY).parameters["concurrency"] == 3
    _, again, said = deploying(address, None)
    assert again.splitlines()[0] == "nothing to change"
    assert PASSWORD not in out + again + said


@pytest.mark.parametrize(
    ("address", "auth", "code", "told"),
    [
        ("{api}", "kontext:wrong", 1, "(401); expected the server's own user:password in PREFECT"),
        (f"http://{AUTH}@127.0.0.1:{{port}}/api", None, 1, "does not answer"),
        (f"http://{AUTH}@no.invalid/api", None, 1, "does not answer"),
        ("{ipa}", AUTH, 2, "is no Prefect server; expected the address of its API"),
        (None, AUTH, 2, "PREFECT_API_URL is not set"),
    ],
)
def test_what_is_wrong_with_a_server_is_one_line(deploying, prefect, address, auth, code, told):
    if address is not None:
        ipa = prefect.api.replace("/api", "/ipa")
        address = address.format(api=prefect.api, ipa=ipa, port=free_port())
    ended, out, err = deploying(address, auth, "--wait", "0")
    assert (ended, out) == (code, "")
    (line,) = err.splitlines()
    assert told in line
    assert PASSWORD not in line and "wrong" not in line


def test_a_server_that_says_nothing_is_given_up(client, monkeypatch):
    """It takes the connection and is silent: longer than anybody wants to stand there."""
    monkeypatch.setattr(spoken, "ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.listen()
        port = silent.getsockname()[1]
        here = {
            PREFECT_API_URL: f"http://{AUTH}@127.0.0.1:{port}/api",
            PREFECT_API_AUTH_STRING: None,
        }
        with (
            temporary_settings(here),
            pytest.raises(ServerError, match=r"does not answer \(ReadTimeout\)") as caught,
        ):
            deploy(Deployment(("ten",), ("/out",)), 0.0)
    assert PASSWORD not in str(caught.value)
    assert caught.value.__suppress_context__
