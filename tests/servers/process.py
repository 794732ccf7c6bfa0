"""A server's process: its log in a file, and it goes when this process goes, however that ends.

``with`` starts and stops a ``Service``; ``kill9`` and ``start`` again keep its ports and data.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

HOST = "127.0.0.1"
PORTS = range(22_000, 32_000)  # below the ephemeral ones, above the S3 server's


class Server:
    """One process that can be killed and started again; ``user`` needs root to be another's."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log_file = log
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def launch(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        user: tuple[int, int] | None = None,
    ) -> None:
        assert self._process is None, f"{self.name} is already running"
        identity = {} if user is None else {"user": user[0], "group": user[1], "extra_groups": []}
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=dict(environment),
                start_new_session=True,  # Ctrl-C is for pytest, which then stops it
                **identity,
            )
        # Reads until this process is gone (the pipe closes), then takes the server along.
        self._guard = subprocess.Popen(
            ["sh", "-c", f"read line; kill -9 {self._process.pid}"],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def await_ready(self, is_ready: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not is_ready():
            if not self.is_running:
                raise RuntimeError(f"{self.name} has ended: {self.log()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} not ready after {seconds:.0f} s: {self.log()}")
            time.sleep(0.1)  # asking takes what a busy machine has little of

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal and wait for the end; nothing when it is not running."""
        process, self._process = self._process, None
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.kill()
            guard.wait()
            assert guard.stdin is not None
            guard.stdin.close()
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            process.wait()

    def log(self) -> str:
        """The end of what it wrote."""
        text = self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""
        return re.sub(r"\x1b\[[0-9;]*m", "", text)[-3000:]


class Service(Server):
    """A server on ports of its own. Kinds of it say how it is launched, and when it is ready."""

    PORTS: tuple[str, ...] = ("",)
    READY_SECONDS = 60.0

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder / f"{name}.log")
        self.folder = folder
        self.ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """Its first, or only one."""
        return self.ports[self.PORTS[0]]

    def start(self) -> None:
        """Start, or start again with the same ports and data; returns when it is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        again = bool(self.ports)
        for attempt in range(1, 7):
            if not again:
                self.ports = self._free_ports()
            self._launch()
            try:
                self.await_ready(self._is_ready, self.READY_SECONDS)
            except BaseException as error:
                self.kill9()
                if attempt == 6 or not isinstance(error, RuntimeError):
                    raise
                time.sleep(0.2 * attempt)  # ports may be others', or still of one that was killed
            else:
                return

    def kill9(self) -> None:
        """SIGKILL; whatever it had not written is lost."""
        self.end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop for good: its data are the test's own, so there is nothing to wait for."""
        self.end(signal.SIGKILL)

    def freeze(self) -> None:
        """It keeps its connections and answers nothing, until ``thaw``."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    def _free_ports(self) -> dict[str, int]:
        return {name: free_port() for name in self.PORTS}

    def _launch(self) -> None:
        raise NotImplementedError

    def _is_ready(self) -> bool:
        raise NotImplementedError


def free_port(ports: range = PORTS, *neighbours: int) -> int:
    """A port that is free now, its neighbours too; a race is lost at start, and redone."""
    chooser = random.Random()
    while True:
        port = chooser.choice(ports)
        if all(_is_free(port + apart) for apart in (0, *neighbours)):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return True
    return False
