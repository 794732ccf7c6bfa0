"""Nothing stays behind: kill -9 anywhere in the chain, and all below are gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from .samples import environment, eventually, gone

HOLDER = [sys.executable, "-m", "tests.resident.holder"]
SUPERVISED = [
    sys.executable,
    "-c",
    "import sys; from flows.supervise import supervise; sys.exit(supervise(sys.argv[1:]))",
    *HOLDER,
]


def started(command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())


@pytest.mark.parametrize("command", [HOLDER, SUPERVISED], ids=["worker", "supervisor"])
def test_whoever_is_killed_takes_its_engines_along(command):
    with started(command) as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 3
        assert not any(gone(pid) for pid in pids)
        process.kill()
        assert eventually(lambda: all(gone(pid) for pid in pids))


def test_under_a_supervisor_a_killed_worker_comes_back_with_new_engines():
    with started(SUPERVISED) as process:
        first = [int(pid) for pid in process.stdout.readline().split()]
        os.kill(first[0], signal.SIGKILL)
        assert eventually(lambda: all(gone(pid) for pid in first))
        second = [int(pid) for pid in process.stdout.readline().split()]
        assert not set(first) & set(second)
        assert not any(gone(pid) for pid in second)
        process.kill()
        assert eventually(lambda: all(gone(pid) for pid in second))


def test_an_engine_whose_parent_was_faster_in_dying_does_not_start():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        nobody = "1" if os.getpid() != 1 else "2"
        command = [sys.executable, "-m", "flows.resident.child", "--parent", nobody]
        command += ["--channel", str(theirs.fileno())]
        ended = subprocess.run(
            command, pass_fds=[theirs.fileno()], env=environment(), timeout=120, check=False
        )
    assert ended.returncode == 1
