"""Servers, a parents' worker and chunks' workers as real processes; Prefect's API to order runs by.

``kontext worker`` is started as a service manager starts it, and started again a second after it
has died, however. Servers are the operator's, and are brought back by ``restore`` alone. A worker
``away`` has a host name of its own (a UTS namespace), so that its death must be waited out.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling

from flows.scheduling.names import NIGHTLY, RUN_RECIPE, deployment
from tests.servers.postgres import Postgres
from tests.servers.prefect import Prefect
from tests.servers.process import Server
from tests.servers.seaweed import BUCKET, Seaweed

from .calls import CallBook
from .engines import CALLS, SECONDS
from .processes import child_of, is_alive, until
from .verdict import Home

ROOT = Path(__file__).parents[2]
# On PYTHONPATH it keeps a process from importing what only engines need.
TORCHLESS = os.pathsep.join((str(ROOT / "tests" / "torchless"), str(ROOT)))
KONTEXT = str(Path(sys.executable).with_name("kontext"))
PATIENCE = 420.0  # seconds for what takes ten on a machine with time to spare
PREFIX = "studio"
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"  # Debian's libfaketime


class Kept:
    """A ``kontext worker`` that is started again whenever it ends, until it is told to stop."""

    def __init__(
        self, name: str, folder: Path, command: list[str], environment: dict[str, str]
    ) -> None:
        self.name = name
        self.starts = 0
        self._command, self._environment = command, environment
        self._folder = folder
        self._stopping = threading.Event()
        self._server = Server(name, folder / f"{name}.log")
        self._launch()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    @property
    def pid(self) -> int | None:
        """The process that does the work; none while it is being started again."""
        process = self._server._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def engine(self) -> int | None:
        pid = self.pid
        return None if pid is None else child_of(pid, "flows.engines.child")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._server._process is not None
        return self._server._process

    def stop(self) -> int:
        """SIGTERM, as systemd would; the exit code. It is not started again."""
        self._stopping.set()
        self._keeper.join()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self._server.end()
        return code

    def start(self) -> None:
        """Again, after ``stop``."""
        self._stopping.clear()
        self._launch()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def end(self) -> None:
        """Kill it for good."""
        self._stopping.set()
        self._keeper.join()
        self._server.end(signal.SIGKILL)

    @property
    def log(self) -> str:
        return self._server.log_file.read_text("utf-8", "replace")

    def _launch(self) -> None:
        self.starts += 1
        self._server.launch(self._command, self._environment, ROOT)

    def _keep(self) -> None:
        while not self._stopping.wait(0.2):
            if self.process.poll() is not None:
                if self._stopping.wait(1.0):
                    return
                self._server.end(signal.SIGKILL)  # it is over; the handle is let go
                self._launch()


class City:
    """One of everything, and two workers."""

    def __init__(self, folder: Path, *, tempo: str = "", ui: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.tempo = tempo
        self._ui = ui
        self.seaweed = Seaweed(folder / "seaweed")
        self.postgres = Postgres()
        self.prefect: Prefect
        self.kept: dict[str, Kept] = {}
        self.ahead: dict[str, int] = {}  # seconds that a worker's clock is ahead of everyone's
        self.home: Home
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> City:
        try:
            self._stack.enter_context(self.postgres)
            self.prefect = Prefect(self.folder / "prefect", self.postgres.url, ui=self._ui)
            self._stack.enter_context(self.seaweed)
            self._stack.enter_context(self.prefect)
            self.seaweed.make_bucket(BUCKET)
            self.home = Home(self.seaweed, BUCKET, PREFIX)
            self.client = SyncPrefectClient(self.prefect.api)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *ended: object) -> None:
        for one in self.kept.values():
            one.end()
        with contextlib.suppress(AttributeError):
            self.client._client.close()
        self._stack.close()

    # --- what the operator does

    @property
    def store(self) -> str:
        return f"s3://{BUCKET}/{PREFIX}"

    @property
    def environment(self) -> dict[str, str]:
        dropped = ("PREFECT_", "KONTEXT_", "AWS_", "TEST_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        return {
            **kept,
            **self.seaweed.environment,
            **self.prefect.environment,
            "KONTEXT_STORE": self.store,
            "OMP_NUM_THREADS": "1",
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "PYTHONUNBUFFERED": "1",
        }

    def kontext(self, *arguments: str, **extra: str) -> str:
        """Run ``kontext`` to its end, with ``extra`` in its environment; what it printed."""
        done = self._carry_out(*arguments, **extra)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _carry_out(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [KONTEXT, *arguments],
            cwd=ROOT,
            env=self.environment | extra,
            capture_output=True,
            text=True,
            check=False,
        )

    def start_parents(self, name: str = "parents", *options: str, away: bool = False) -> Kept:
        command = ("worker", "--serve", "parents", "--name", f"{name}-{self.salt}", *options)
        return self._keep(name, *command, away=away, PYTHONPATH=TORCHLESS)

    def start_worker(
        self,
        name: str,
        *options: str,
        engine: str = "logged",
        seconds: float = 0.0,
        away: bool = False,
        **extra: str,
    ) -> Kept:
        return self._keep(
            name,
            *("worker", "--serve", "chunks", "--engines", "1", "--threads", "1"),
            *("--name", f"{name}-{self.salt}", "--engine", f"tests.chaos.engines:{engine}"),
            *options,
            away=away,
            **{CALLS: str(self.folder / f"calls-{name}.jsonl"), SECONDS: str(seconds), **extra},
        )

    @property
    def salt(self) -> str:
        """Workers' names are one for a machine."""
        return str(self.prefect.port)

    def open(self, *, away: bool = False, apart: int = 0) -> None:
        """Deploy, and start a parents' worker and two chunks' workers.

        The first one's clock is ``apart`` seconds ahead, the second one's as far behind.
        """
        self.deploy()
        self.start_parents()
        for name, ahead in (("worker-1", apart), ("worker-2", -apart)):
            self.start_worker(name, away=away, **self._clock(name, ahead))

    def _clock(self, name: str, ahead: int) -> dict[str, str]:
        """What makes a process's wall clock wrong, and leaves its stopwatch alone."""
        self.ahead[name] = ahead
        if not ahead:
            return {}
        assert Path(FAKETIME).exists(), "install the package libfaketime"
        return {
            "LD_PRELOAD": FAKETIME,
            "FAKETIME": f"{ahead:+d}",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def deploy(self, *options: str) -> None:
        """Again while the server does not answer: a busy machine in its first minute."""

        def deployed() -> bool:
            return self._carry_out("deploy", *options, PYTHONPATH=TORCHLESS).returncode == 0

        until(deployed, PATIENCE, self.prefect.log)

    def _keep(self, name: str, *command: str, away: bool = False, **extra: str) -> Kept:
        line = [KONTEXT, *command, "--tempo", self.tempo]
        if away:
            script = f'hostname {name}-away && exec "$@"'
            line = ["unshare", "--uts", "sh", "-c", script, "sh", *line]
        self.kept[name] = Kept(name, self.folder, line, {**self.environment, **extra})
        return self.kept[name]

    # --- what people do

    def order(self, recipe: str, *overrides: str, only: tuple[str, ...] = ()) -> UUID:
        """Start ``run-recipe``, as the form does; asked again while Prefect is away."""
        parameters = {
            "recipe": recipe,
            "overrides": list(overrides),
            "only": list(only),
            "store": self.store,
        }
        return self._start(RUN_RECIPE, parameters)

    def night(self, **parameters: object) -> UUID:
        return self._start(NIGHTLY, {"store": self.store, **parameters})

    def _start(self, flow: str, parameters: dict[str, object]) -> UUID:
        def create() -> UUID:
            found = self.client.read_deployment_by_name(deployment(flow)).id
            return self.client.create_flow_run_from_deployment(found, parameters=parameters).id

        return self._asked(create)

    def flow_run(self, id_: UUID) -> FlowRun:
        return self._asked(lambda: self.client.read_flow_run(id_))

    def cancel(self, id_: UUID) -> None:
        self._asked(lambda: self.client.set_flow_run_state(id_, Cancelling()))

    def ended(self, id_: UUID, seconds: float = PATIENCE) -> FlowRun:
        """The flow run once its state is final."""

        def final() -> FlowRun | None:
            run = self.flow_run(id_)
            return run if run.state is not None and run.state.is_final() else None

        return until(final, seconds, self.said)

    def _asked(self, ask):
        """Whoever clicks again until the page answers."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return ask()
            except httpx.HTTPError as error:
                answered = isinstance(error, httpx.HTTPStatusError)
                refused = answered and 400 <= error.response.status_code < 500
                if refused or time.monotonic() > end:
                    raise
                time.sleep(0.5)

    # --- what is to be seen

    @property
    def workers(self) -> list[Kept]:
        return [one for name, one in self.kept.items() if name.startswith("worker")]

    @property
    def calls(self) -> CallBook:
        return CallBook.read(self.folder.glob("calls-*.jsonl"), self.ahead)

    def said(self) -> str:
        return "\n".join(f"--- {one.name}\n{one.log[-2500:]}" for one in self.kept.values())

    def victim(self, name: str) -> int | None:
        """The process id behind a name: ``engine-1``, ``worker-2``, ``parents``, ``s3`` …"""
        servers = {"prefect": self.prefect, "postgres": self.postgres, "s3": self.seaweed}
        if name in servers:
            return servers[name].pid
        if name.startswith("engine-"):
            return self.kept[name.replace("engine", "worker")].engine
        return self.kept[name].pid

    def strike(self, name: str) -> int | None:
        """SIGKILL; the id of the process that is dead now, none if there was none at the moment."""
        servers = {"prefect": self.prefect, "postgres": self.postgres, "s3": self.seaweed}
        pid = self.victim(name)
        if pid is None:
            return None
        if name in servers:
            servers[name].kill9()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert until(lambda: not is_alive(pid), PATIENCE)
        return pid

    def stand_still(self, name: str, seconds: float) -> int:
        """SIGSTOP it and its engine, and SIGCONT after so long; its process id."""
        pids = [pid for pid in (self.kept[name].pid, self.kept[name].engine) if pid]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        for pid in reversed(pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        return pids[0]

    def restore(self, name: str) -> None:
        """Bring a server back."""
        {"prefect": self.prefect, "postgres": self.postgres, "s3": self.seaweed}[name].start()
