"""Nothing stays behind: kill -9 anywhere in the chain, and all below are gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from .samples import environment, eventually, gone

HOLDER = [sys.executable, "-m", "tests.engines.holder"]


def started(command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())


def test_whoever_is_killed_takes_its_engines_along():
    with started(HOLDER) as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 3
        assert not any(gone(pid) for pid in pids)
        process.kill()
        assert eventually(lambda: all(gone(pid) for pid in pids))


def test_an_engine_whose_parent_was_faster_in_dying_does_not_start():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        nobody = "1" if os.getpid() != 1 else "2"
        command = [sys.executable, "-m", "flows.engines.child", nobody, str(theirs.fileno())]
        ended = subprocess.run(
            command, pass_fds=[theirs.fileno()], env=environment(), timeout=120, check=False
        )
    assert ended.returncode == 1
