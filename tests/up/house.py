"""``kontext up`` as somebody starts it: a process of its own, in a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from prefect.client.orchestration import SyncPrefectClient

from flows.scheduling.names import RUN_RECIPE, deployment
from flows.up.folder import StateFolder
from flows.up.launch import read_variables
from tests.chaos.processes import child_of, is_alive, until

ROOT = Path(__file__).parents[2]
PATIENCE = 400.0  # seconds for what takes 15 on a machine with time to spare
RECIPE = "version: 1\nname: {name}\nsteps:\n  s: {{op: generate, prompt: a shoe}}\n"


class House:
    """One folder, and the ``kontext up`` in it; ``options`` are given to each start.

    Engines are fake ones that take ``seconds`` for an edit.
    """

    def __init__(self, folder: Path, *options: str, seconds: float = 0.0) -> None:
        self.folder = folder
        (folder / "recipes").mkdir(parents=True, exist_ok=True)
        self.state = StateFolder(folder / "state")
        self.options = ("--engine", "tests.chaos.engines:sleeping", *options)
        self.seconds = seconds
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        if (pid := self.state.supervisor()) is not None:
            os.kill(pid, signal.SIGKILL)
        for pid in self.state.processes().values():
            os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @property
    def environment(self) -> dict[str, str]:
        """As that of a shell in which nothing is set."""
        dropped = ("PREFECT_", "KONTEXT_", "AWS_", "TEST_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        return {
            **kept,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
            "TEST_CALLS": str(self.folder / "calls.jsonl"),
            "TEST_SECONDS_PER_EDIT": str(self.seconds),
        }

    def kontext(
        self, verb: str, *arguments: str, variables: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A verb to its end."""
        state = ("--state", str(self.state.path)) if verb in {"up", "down", "status"} else ()
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", verb, *state, *arguments],
            cwd=self.folder,
            env=self.environment | (variables or {}),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def start(self) -> float:
        """Start it in the foreground; the seconds until it says that all is up."""
        began = time.monotonic()
        log = self.folder / "up.log"
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.cli", "up", "--state", str(self.state.path),
                 *self.options],
                cwd=self.folder,
                env=self.environment,
                stdout=out,
                stderr=out,
                text=True,
                start_new_session=True,
            )  # fmt: skip
        until(lambda: "stop  " in log.read_text() or self._over(), PATIENCE, self.said)
        assert "all is up" in self.said(), self.said()
        return time.monotonic() - began

    def _over(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    def said(self) -> str:
        return (self.folder / "up.log").read_text()

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)

    def victim(self, name: str) -> int | None:
        """The number of a program of it, of an engine, or of the command itself."""
        if name == "up":
            return self.process.pid if self.process is not None else None
        if name == "supervisor":
            return self.state.supervisor()
        living = self.state.processes()
        if name == "engine":
            return child_of(living["worker"], "flows.engines.child") if "worker" in living else None
        return living.get(name)

    @property
    def variables(self) -> dict[str, str]:
        """What its file of variables says to a shell."""
        return read_variables(self.state / "environment")

    @property
    def client(self) -> SyncPrefectClient:
        return SyncPrefectClient(self.variables["PREFECT_API_URL"])

    def order(self, recipe: str, *overrides: str) -> str:
        """Order a run as the dashboard's form does; its number."""
        parameters = {
            "recipe": recipe,
            "overrides": list(overrides),
            "store": self.variables["KONTEXT_STORE"],
        }
        with self.client as client:
            found = client.read_deployment_by_name(deployment(RUN_RECIPE)).id
            run = client.create_flow_run_from_deployment(found, parameters=parameters)
        return str(run.id)

    def state_of(self, run: str) -> str:
        try:
            with self.client as client:
                found = client.read_flow_run(run).state
        except Exception as error:  # the server may be the one that was killed
            return type(error).__name__
        return found.name if found is not None else ""

    def gone(self, pids: list[int]) -> bool:
        return not any(is_alive(pid) for pid in pids)
