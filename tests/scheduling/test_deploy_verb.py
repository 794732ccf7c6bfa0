"""``kontext deploy`` as people call it: its lines, and never a password in them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows.scheduling import deploy as module
from flows.scheduling.names import NIGHTLY
from flows.scheduling.server import ServerError
from tests.servers.process import free_port

from .board import AUTH, MADE, PASSWORD


def kontext(prefect, folder, url=None, auth=AUTH, *arguments):
    """The verb in a process of its own; ``url`` empty: none is set."""
    environment = {**os.environ, **prefect.environment}
    if url is not None:
        environment["PREFECT_API_URL"] = url
    environment.pop("PREFECT_API_AUTH_STRING", None)
    if auth:
        environment["PREFECT_API_AUTH_STRING"] = auth
    (folder / "recipes").mkdir(exist_ok=True)
    (folder / "recipes" / "ten.yaml").write_text("version: 1\n")
    command = [sys.executable, "-W", "error", "-m", "flows.cli", "deploy", *arguments]
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_verb_tells_what_it_changed_and_no_password(prefect, board, tmp_path):
    address = prefect.api.replace("://", f"://{AUTH}@")
    done = kontext(prefect, tmp_path, address, None, "--concurrency", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert tuple(done.stdout.splitlines()[:-1]) == MADE
    assert done.stdout.splitlines()[-1].startswith("dashboard  http://***@127.0.0.1:")
    assert board.deployment(NIGHTLY).parameters["concurrency"] == 3
    again = kontext(prefect, tmp_path, address, None)
    assert again.stdout.splitlines()[0] == "nothing to change"
    assert PASSWORD not in done.stdout + again.stdout + again.stderr


@pytest.mark.parametrize(
    ("address", "auth", "code", "told"),
    [
        ("{api}", "kontext:wrong", 1, "(401); expected the server's own user:password in PREFECT"),
        (f"http://{AUTH}@127.0.0.1:{{port}}/api", None, 1, "does not answer"),
        (f"http://{AUTH}@no.invalid/api", None, 1, "does not answer"),
        ("{ipa}", AUTH, 2, "is no Prefect server; expected the address of its API"),
        ("", AUTH, 2, "PREFECT_API_URL is not set"),
    ],
)
def test_what_is_wrong_with_a_server_is_one_line(prefect, tmp_path, address, auth, code, told):
    given = address.format(
        api=prefect.api, ipa=prefect.api.replace("/api", "/ipa"), port=free_port()
    )
    done = kontext(prefect, tmp_path, given, auth, "--wait", "0")
    assert (done.returncode, done.stdout) == (code, "")
    (line,) = done.stderr.splitlines()
    assert told in line
    assert PASSWORD not in line and "wrong" not in line


def test_a_server_that_says_nothing_is_given_up(client, monkeypatch):
    """It takes the connection and is silent: longer than anybody wants to stand there."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.5)
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
            module.deploy(module.Deployment(("ten",), ("/out",)), 0.0)
    assert PASSWORD not in str(caught.value)
    assert caught.value.__suppress_context__
