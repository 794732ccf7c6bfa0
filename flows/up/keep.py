"""Supervisor keeps the programs: its configuration, its start, what it says of them, its end."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from flows.store.words import may_live
from flows.up import UpError
from flows.up.folder import StateFolder
from flows.up.launch import rotate
from flows.up.programs import KONTEXT, Program

CONF = "supervisord.conf"
SOCKET = "supervisor.sock"
START_SECONDS = 10  # who ends sooner has not started, and waits a second longer each time
MOST = 240.0  # seconds for all of them to end in order, each within its grace
LAST = 10.0  # seconds for what is left of a set when its supervisor is gone
OWN = ("PREFECT_", "KONTEXT_")  # variables that programs get from the state folder alone


@dataclass(frozen=True, slots=True)
class Kept:
    """What supervisor says of a program: its state in a word, since when in words."""

    name: str
    state: str
    words: str

    @property
    def fails(self) -> bool:
        """Whether it does not come up, or not again."""
        return self.state in {"BACKOFF", "FATAL", "UNKNOWN"}


def configuration(folder: StateFolder, programs: Iterable[Program]) -> str:
    """The text of ``supervisord.conf``. Later programs end first."""
    parts = [
        "[supervisord]",
        "nodaemon=true",
        "silent=true",
        f"logfile={_plain(folder.logs / 'supervisor.log')}",
        "logfile_maxbytes=5MB",
        "logfile_backups=2",
        f"pidfile={_plain(folder.run / 'supervisord.pid')}",
        "nocleanup=true",
        "minfds=256",
        *(["user=root"] if os.geteuid() == 0 else []),
        "",
        "[unix_http_server]",
        f"file={_plain(folder.run / SOCKET)}",
        "chmod=0700",
        "",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for number, program in enumerate(programs):
        parts += [
            "",
            f"[program:{program.name}]",
            f"command={_command(folder, program)}",
            f"priority={number}",
            "autorestart=true",
            f"startsecs={START_SECONDS}",
            "startretries=1000000",
            f"stopsignal={program.signal}",
            f"stopwaitsecs={program.grace}",
            "killasgroup=true",
            "redirect_stderr=true",
            # Its own log it opens itself; here is what was wrong before that.
            f"stdout_logfile={_plain(folder.logs / 'starting.log')}",
            "stdout_logfile_maxbytes=0",
        ]
    return "\n".join(parts) + "\n"


def _command(folder: StateFolder, program: Program) -> str:
    line = [
        *(*KONTEXT, "wait-for", *program.waits),
        *("--log", str(folder.logs / f"{program.name}.log")),
        *("--pid", str(folder.run / f"{program.name}.pid")),
        *(("--environment", str(folder / program.environment)) if program.environment else ()),
        *(("--user", program.user) if program.user else ()),
        *("--", *program.command),
    ]
    return _plain(shlex.join(line))


def _plain(text: object) -> str:
    return str(text).replace("%", "%%")


def start(folder: StateFolder, programs: Iterable[Program], variables: Mapping[str, str]) -> int:
    """Start the supervisor, and with it all of them; its number. It outlives this process.

    ``variables`` are what programs read from the state folder.

    Raises:
        UpError: it is not installed, or does not start.
    """
    if importlib.util.find_spec("supervisor") is None:
        raise UpError(
            "supervisor is not installed; expected the one of the extra 'up'; "
            "pip install 'kontext-pipeline[up]'"
        )
    conf = folder / CONF
    conf.write_text(configuration(folder, programs))
    rotate(folder.logs / "starting.log")
    with (folder.logs / "starting.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(conf)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=inherited(variables),
            start_new_session=True,  # Ctrl-C is for us, who then stop it in order
        )
    while folder.supervisor() != process.pid or told(folder) is None:
        if process.poll() is not None:
            raise UpError(
                f"supervisor does not start: {folder.last_words('starting')}; expected a state "
                f"folder with room that this user may write to; look into {folder.logs}"
            )
        time.sleep(0.05)
    return process.pid


def inherited(variables: Mapping[str, str]) -> dict[str, str]:
    """Of this process's variables those that a set with such ``variables`` may see."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(OWN)
        # Who has keys of its own must not hear of others: boto3 would find them.
        and not (name.startswith("AWS_") and "AWS_ACCESS_KEY_ID" in variables)
    }


def told(folder: StateFolder) -> list[Kept] | None:
    """What the supervisor says of each program; ``None``: it does not answer."""
    from supervisor.xmlrpc import SupervisorTransport

    way = SupervisorTransport(None, None, f"unix://{folder.run / SOCKET}")
    try:
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=way) as proxy:
            answer = proxy.supervisor.getAllProcessInfo()
    except (OSError, xmlrpc.client.Error, ValueError):
        return None
    assert isinstance(answer, list)  # noqa: S101 - as supervisor's page of its API says
    found = [Kept(one["name"], one["statename"], one["description"]) for one in answer]
    numbers = {one["name"]: one["start"] for one in answer}
    return sorted(found, key=lambda one: (numbers[one.name], one.name))


def stop(folder: StateFolder, say: Callable[[str], None]) -> bool:
    """End the supervisor and all of its programs, in order; whether there was anything.

    What a killed supervisor has left is ended, too; nothing but what the folder lists is touched.
    """
    supervisor, living = folder.supervisor(), folder.processes()
    if supervisor is not None:
        _send(supervisor, signal.SIGTERM)
        end = time.monotonic() + MOST
        while may_live(supervisor):
            if time.monotonic() > end:
                kill(folder)
            living = _tell_ended(folder, living, say)
            _reap(supervisor)
            time.sleep(0.1)
    left = folder.processes()
    for pid in left.values():
        _send(pid, signal.SIGTERM)
    end = time.monotonic() + LAST
    while (left := folder.processes()) and time.monotonic() < end:
        living = _tell_ended(folder, living, say)
        time.sleep(0.1)
    for pid in left.values():
        _send(pid, signal.SIGKILL)
    _tell_ended(folder, living, say, left)
    return supervisor is not None or bool(living)


def kill(folder: StateFolder) -> None:
    """End the supervisor at once; the kernel ends its programs with it."""
    if (pid := folder.supervisor()) is not None:
        _send(pid, signal.SIGKILL)


def _tell_ended(
    folder: StateFolder,
    living: Mapping[str, int],
    say: Callable[[str], None],
    killed: Iterable[str] = (),
) -> dict[str, int]:
    """Name those of ``living`` that have ended since the last look, in the order of their end."""
    now = folder.processes()
    if gone := [name for name in living if name not in now or name in killed]:
        started = _started(folder)
        for name in sorted(gone, key=lambda one: started.get(one, -1), reverse=True):
            say(f"{name} has ended")
    return now


def _started(folder: StateFolder) -> dict[str, int]:
    """The programs' places in the order of their start; the supervisor ends the last one first."""
    try:
        written = (folder / CONF).read_text()
    except OSError:
        return {}
    names = re.findall(r"^\[program:(.+)\]$", written, re.MULTILINE)
    return {name: place for place, name in enumerate(names)}


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _reap(pid: int) -> None:
    # Where this process has started it, it stays a zombie until somebody asks.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
