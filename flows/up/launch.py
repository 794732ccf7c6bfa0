"""Becoming another program, so that it writes its own log and cannot outlive who started it.

Whoever keeps it may be killed: then the kernel kills this, too, and a second set may be started.
"""

from __future__ import annotations

import os
import pwd
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.engines.guard import die_with_parent
from flows.store.words import born, may_live
from flows.up import UpError

LOG_BYTES = 10 * 2**20  # a log that is larger when its program starts is set aside
LOGS_KEPT = 3


@dataclass(frozen=True, slots=True)
class Launch:
    """How a program is started. ``user`` needs root to be another's; ``environment`` is a file."""

    command: Sequence[str]
    log: Path | None = None
    pid_file: Path | None = None
    environment: Path | None = None
    user: str = ""


def become(launch: Launch, parent: int) -> None:
    """Be that program from now on; ``parent`` is who started this process.

    Raises:
        UpError: it cannot be; this process is what it was.
    """
    variables = {**os.environ, **(read_variables(launch.environment) if launch.environment else {})}
    try:
        if launch.pid_file is not None:
            note_process(launch.pid_file)
        if launch.log is not None:
            _write_into(launch.log)
        if launch.user:
            found = pwd.getpwnam(launch.user)
            os.initgroups(found.pw_name, found.pw_gid)
            os.setgid(found.pw_gid)
            os.setuid(found.pw_uid)
        die_with_parent(parent)  # after the user, which the kernel takes for a reason to forget it
        os.execvpe(launch.command[0], list(launch.command), variables)  # noqa: S606 - our own
    except (OSError, KeyError) as error:
        why = getattr(error, "strerror", None) or error
        raise UpError(
            f"{launch.command[0]}: cannot be started ({why}); expected a program that this user "
            "may start, and room for its log; install it, or clean up"
        ) from None


def _write_into(log: Path) -> None:
    """Standard output and errors go to the end of this file."""
    rotate(log)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


def rotate(log: Path, most: int = LOG_BYTES) -> None:
    """A log of more than ``most`` bytes becomes ``<name>.1``, and that ``<name>.2``."""
    if not log.exists() or log.stat().st_size <= most:
        return
    for number in range(LOGS_KEPT - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number + 1}"))
    log.replace(log.with_name(f"{log.name}.1"))


# --- who runs


def note_process(path: Path) -> None:
    """Leave word of this process; its number alone may be another's tomorrow."""
    pid = os.getpid()
    new = path.with_name(f".{path.name}.{pid}")
    new.write_text(f"{pid} {born(pid) or ''} {_boot()}\n")
    new.replace(path)


def noted_process(path: Path) -> int | None:
    """The number of the process that left word there, if it is alive."""
    try:
        parts = path.read_text().split(" ")
        pid, started, boot = int(parts[0]), parts[1], parts[2].strip()
    except (OSError, ValueError, IndexError):
        return None
    return pid if started and boot == _boot() and may_live(pid, started) else None


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return "?"


# --- variables in a file that a shell reads, too


def write_variables(path: Path, variables: Mapping[str, str]) -> None:
    """``export NAME='value'`` on each line; for this user's eyes only."""
    text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def read_variables(path: Path) -> dict[str, str]:
    """What ``write_variables`` has written.

    Raises:
        UpError: it cannot be read.
    """
    try:
        lines = path.read_text().splitlines()
        pairs = [shlex.split(line)[1].partition("=") for line in lines if line.strip()]
    except (OSError, ValueError, IndexError) as error:
        raise UpError(
            f"{path}: cannot be read ({error}); expected lines 'export NAME=value'; remove it and "
            "start again"
        ) from None
    return {name: value for name, _, value in pairs}
