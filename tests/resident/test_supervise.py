"""One command kept running, on real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .samples import environment, eventually, gone

SUPERVISOR = """\
import sys
from flows.resident.backoff import Backoff
from flows.supervise import supervise
first, stop_limit, *argv = sys.argv[1:]
limit = float(stop_limit) if stop_limit else None
sys.exit(supervise(argv, name="worker", backoff=Backoff(first=float(first)), stop_limit=limit))
"""
# Writes a line for each life into its folder, then does what it is told for that life.
LIVES = """\
import os, signal, sys, time
from pathlib import Path
folder, *deeds = sys.argv[1:]
def drain(number, frame):
    Path(folder, "drained").write_text(str(number))
    time.sleep(0.2)
    sys.exit(0)
lives = Path(folder, "lives")
with lives.open("a") as file:
    file.write(f"{os.getpid()}\\n")
life = len(lives.read_text().splitlines())
deed = deeds[min(life, len(deeds)) - 1]
if deed == "drains":
    signal.signal(signal.SIGTERM, drain)
    signal.signal(signal.SIGINT, drain)
if deed == "hangs":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if deed in ("drains", "hangs"):
    Path(folder, "up").touch()
    while True:
        time.sleep(0.05)
if deed == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(int(deed))
"""


class Kept:
    """A supervisor over a command with a script of lives."""

    def __init__(self, folder: Path, *deeds: str, first: float = 0.01, stop_limit: str = ""):
        self.folder = folder
        command = [sys.executable, "-c", LIVES, str(folder), *deeds]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, str(first), stop_limit, *command],
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )

    def lives(self) -> list[int]:
        path = self.folder / "lives"
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []

    def ended(self) -> tuple[int, str]:
        """Its exit code and what it said."""
        said = self.process.communicate(timeout=120)[1]
        return self.process.returncode, said


@pytest.fixture
def keep(tmp_path):
    kept = []

    def start(*deeds, **how):
        kept.append(Kept(tmp_path, *deeds, **how))
        return kept[-1]

    yield start
    for one in kept:
        with one.process as process:
            process.kill()


def test_what_dies_is_started_again_until_it_is_done(keep):
    kept = keep("1", "dies", "0")
    code, said = kept.ended()
    assert code == 0
    first, second, _third = kept.lives()
    assert said.splitlines() == [
        f"worker (pid {first}) ended with exit code 1; started again in 0.01 s",
        f"worker (pid {second}) died of signal 9 (killed; out of memory?); started again in 0.02 s",
    ]


def test_a_usage_error_is_not_repeated(keep):
    kept = keep("2", "0")
    assert kept.ended() == (2, "")
    assert len(kept.lives()) == 1


def test_what_cannot_be_started_is_said_once():
    command = [sys.executable, "-c", SUPERVISOR, "0.01", "", "/nowhere/kontext"]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=120, check=False
    )
    assert ended.returncode == 127
    assert ended.stderr == "/nowhere/kontext: cannot be started (No such file or directory)\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_handed_on_and_the_drain_waited_for(keep, number):
    kept = keep("drains")
    assert eventually((kept.folder / "up").exists)
    kept.process.send_signal(number)
    assert kept.ended() == (0, "")
    assert (kept.folder / "drained").read_text() == str(int(number))
    assert len(kept.lives()) == 1
    assert gone(kept.lives()[0])


def test_a_drain_without_end_is_ended(keep):
    kept = keep("hangs", stop_limit="0.1")
    assert eventually((kept.folder / "up").exists)
    kept.process.terminate()
    (pid,) = kept.lives()
    assert kept.ended() == (
        128 + signal.SIGKILL,
        f"worker (pid {pid}) has not ended in time, and is killed\n",
    )


def test_told_to_stop_between_two_lives_there_is_no_other(keep):
    kept = keep("1", first=600.0)
    assert "started again in 30 s" in kept.process.stderr.readline()
    kept.process.terminate()
    assert kept.ended() == (0, "")
    assert len(kept.lives()) == 1


def test_kill_9_of_the_command_is_answered_with_another(keep):
    kept = keep("hangs", "drains")
    assert eventually((kept.folder / "up").exists)
    (kept.folder / "up").unlink()
    os.kill(kept.lives()[0], signal.SIGKILL)
    assert eventually((kept.folder / "up").exists)
    kept.process.terminate()
    assert kept.ended()[0] == 0
    assert len(kept.lives()) == 2
