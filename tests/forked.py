"""Processes of ``kontext`` forked off ``zygote``: what ``subprocess.Popen`` offers, in short."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

ZYGOTE = Path(__file__).with_name("zygote.py")


class Forked:
    """One ``kontext``. What it prints goes to files, so that nobody has to read it meanwhile."""

    def __init__(self, zygote: Zygote, pid: int, out: Path, err: Path) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._zygote = zygote
        self._out, self._err = out, err
        self._read = 0  # of stderr, in bytes

    def poll(self) -> int | None:
        """The exit code, or minus the number of the signal that ended it; none while it runs."""
        if self.returncode is None:
            self.returncode = self._zygote.ask({"ended": self.pid})["status"]
        return self.returncode

    def wait(self, timeout: float = 250.0) -> int:
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("kontext", timeout)
            time.sleep(0.01)
        return code

    @property
    def stderr(self) -> Iterator[str]:
        """Its lines as they come, until it has ended; each is told once."""
        over = False
        while not over:
            over = self.poll() is not None
            with self._err.open("rb") as file:
                file.seek(self._read)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._read += len(line)
                    yield line.decode()
            time.sleep(0.0 if over else 0.01)

    def communicate(self, timeout: float = 250.0) -> tuple[str, str]:
        """Wait for its end: what it printed on stdout, and the rest of stderr."""
        self.wait(timeout)
        return self._out.read_text(), self._err.read_bytes()[self._read :].decode()

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is not None:
            with contextlib.suppress(ProcessLookupError):
                self.send_signal(signal.SIGKILL)
        self.wait()


class Zygote:
    """The process that forks them; it goes when this one goes. One thread may ask at a time."""

    def __init__(self, files: Path) -> None:
        self._files = files
        self._process = subprocess.Popen(
            [sys.executable, str(ZYGOTE)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(
        self,
        arguments: Sequence[object],
        folder: Path,
        environment: Mapping[str, str],
        *,
        engine: str | None = None,
        die: int = 0,
    ) -> Forked:
        """``kontext`` in a folder; ``engine`` and ``die``: see ``zygote``."""
        name = uuid.uuid4().hex
        out, err = self._files / f"{name}.out", self._files / f"{name}.err"
        err.touch()
        asked = {
            "run": list(map(str, arguments)),
            "cwd": str(folder),
            "environment": dict(environment),
            "stdout": str(out),
            "stderr": str(err),
            "die": die,
            "engine": engine,
        }
        return Forked(self, self.ask(asked)["pid"], out, err)

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        _pipe(self._process.stdin).write(json.dumps(order) + "\n")
        _pipe(self._process.stdin).flush()
        answer: dict[str, Any] = json.loads(_pipe(self._process.stdout).readline())
        return answer

    def close(self) -> None:
        with self._process as process:
            _pipe(process.stdin).close()


def _pipe(found: IO[str] | None) -> IO[str]:
    assert found is not None
    return found
