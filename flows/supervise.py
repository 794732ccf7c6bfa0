"""A tiny parent that keeps one command running: started again when it dies, never left behind.

It holds no queue, no connection and no thread, so there is little that could end it; whoever
started it (systemd, a container, a terminal) needs to watch only this one process. Works as a
container's first process too: it reaps whatever is orphaned to it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from flows.resident.backoff import Backoff
from flows.resident.obituary import signal_name
from flows.resident.tether import die_with_parent

USAGE_ERROR = 2  # starting it again would only say the same again
NOT_STARTED = 127

_Mask = set[int | signal.Signals]

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_WATCHED = frozenset({signal.SIGCHLD, *_FORWARDED})


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def supervise(
    argv: Sequence[str],
    *,
    name: str = "",
    backoff: Backoff | None = None,
    stop_limit: float | None = None,
    say: Callable[[str], None] = _tell,
) -> int:
    """Run ``argv`` until it ends by itself with 0 or a usage error, or is told to stop.

    SIGTERM, SIGINT and SIGHUP are handed on (the command runs in a process group of its own, so
    it gets each once), and its drain is waited for: at most ``stop_limit`` seconds, then it is
    killed. Dies this process itself, even of ``kill -9``, the command is killed with it.

    Call it from the main thread, before there is any other.

    Returns:
        The command's exit code; 128 + n if it died of signal n after it was told to stop.
    """
    keeper = _Keeper(argv, name or argv[0], backoff or Backoff(), stop_limit, say)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    try:
        return keeper.keep(before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Keeper:
    """One command through all its lives. Signals are blocked and taken up one by one."""

    def __init__(
        self,
        argv: Sequence[str],
        name: str,
        backoff: Backoff,
        stop_limit: float | None,
        say: Callable[[str], None],
    ) -> None:
        self._argv = list(argv)
        self._name = name
        self._backoff = backoff
        self._stop_limit = stop_limit
        self._say = say
        self._stopping = False
        self._kill_at: float | None = None

    def keep(self, mask: _Mask) -> int:
        failures = 0
        while True:
            began = time.monotonic()
            pid = _start(self._argv, mask)
            status = self._live(pid)
            code = os.waitstatus_to_exitcode(status)
            if self._stopping or code in {0, USAGE_ERROR, NOT_STARTED}:
                return 128 - code if code < 0 else code
            failures = 1 if time.monotonic() - began >= self._backoff.healthy else failures + 1
            delay = self._backoff.delay(failures)
            how = f"died of {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
            self._say(f"{self._name} (pid {pid}) {how}; started again in {delay:g} s")
            if not self._rest(delay):
                return 0

    def _live(self, pid: int) -> int:
        """The wait status of ``pid``, when it has ended; until then signals are handed on."""
        while True:
            number = self._next_signal(self._kill_at)
            if number is None:
                self._say(f"{self._name} (pid {pid}) has not ended in time, and is killed")
                os.kill(pid, signal.SIGKILL)
                self._kill_at = None
            elif number == signal.SIGCHLD:
                status = _reaped(pid)
                if status is not None:
                    return status
            else:
                self._stop()
                os.kill(pid, number)

    def _stop(self) -> None:
        self._stopping = True
        if self._kill_at is None and self._stop_limit is not None:
            self._kill_at = time.monotonic() + self._stop_limit

    def _rest(self, seconds: float) -> bool:
        """Wait between two lives; whether there is to be another."""
        until = time.monotonic() + seconds
        while (number := self._next_signal(until)) is not None:
            if number in _FORWARDED:
                return False
        return True

    def _next_signal(self, until: float | None) -> int | None:
        """The next signal; ``None`` if none came ``until`` then."""
        if until is None:
            return signal.sigwait(_WATCHED)
        come = signal.sigtimedwait(_WATCHED, max(0.0, until - time.monotonic()))
        return come.si_signo if come is not None else None


def _start(argv: Sequence[str], mask: _Mask) -> int:
    """The process id of ``argv``, started in a process group of its own, with signals unblocked.

    Forked by hand, for what must happen between fork and exec; safe, as there is one thread.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(argv, parent, mask)
    return pid


def _become(argv: Sequence[str], parent: int, mask: _Mask) -> NoReturn:
    try:
        die_with_parent(parent)
        os.setpgid(0, 0)
        for number in _FORWARDED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.execvp(argv[0], list(argv))  # noqa: S606 - the command that we were given
    except OSError as error:
        _tell(f"{argv[0]}: cannot be started ({error.strerror})")
    finally:
        os._exit(NOT_STARTED)


def _reaped(pid: int) -> int | None:
    """Reap everything that has ended; the wait status of ``pid`` if it was among it."""
    found: int | None = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if ended == 0:
            return found
        if ended == pid:
            found = status
