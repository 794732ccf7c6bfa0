"""Recipes, a coordinator that may be killed, and a worker that is a thread; Prefect is real."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Pending, Running

from flows.coordination.duty import Station, do_chunk
from flows.coordination.ledger import AttemptName
from flows.coordination.shelf import Shelf
from flows.deploy import Deployed, Deployment, deploy
from flows.orchestration.api import PrefectApi
from flows.orchestration.names import CHUNKS_POOL, RUN_RECIPE, deployment
from flows.settings import load_settings
from flows.store.address import open_store
from kontext_engine.fake import FakeEngine, FakeFaults
from tests.run.conftest import RECIPE
from tests.run.samples import ten_products

SCRIPT = Path(__file__).with_name("zygote.py")


class Zygote:
    """Forks coordinators."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"},
        )

    def ask(self, order: dict) -> dict:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Town:
    """One store, its recipes, its coordinators and its worker."""

    def __init__(self, folder: Path, zygote: Zygote, client: SyncPrefectClient) -> None:
        self.folder = folder
        self.store = str(folder / "store")
        self.recipes = str(folder / "recipes")
        self.environment: dict[str, str] = {}
        self.api = PrefectApi(client)
        self.log = folder / "coordinator.log"
        self.living: dict[str, int] = {}
        self.made: Counter[str] = Counter()
        self.seconds = 0.01
        self._zygote = zygote
        self._stop = threading.Event()
        self._worker = threading.Thread(target=self._work, daemon=True)
        self.failures: list[str] = []
        (folder / "recipes").mkdir()

    @property
    def client(self) -> SyncPrefectClient:
        return self.api._client

    def recipe(self, name: str = "ten", text: str = RECIPE) -> Path:
        folder = self.folder / "recipes"
        if not (folder / "in").exists():
            ten_products(folder / "in")
        path = folder / f"{name}.yaml"
        path.write_text(text.replace("ten products", name))
        return path

    def said(self) -> str:
        """What the coordinators have said."""
        return self.log.read_text() if self.log.exists() else ""

    def start(self, name: str = "first", *, die: int = 0, lease: float = 2.0) -> int:
        order = {
            "store": self.store,
            "recipes": self.recipes,
            "name": name,
            "api": str(self.client.api_url),
            "log": str(self.log),
            "lease": lease,
            "die": die,
            "env": self.environment,
        }
        self.living[name] = self._zygote.ask(order)["pid"]
        return self.living[name]

    def wait(self, name: str) -> int:
        return self._zygote.ask({"wait": self.living.pop(name)})["status"]

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        os.kill(self.living[name], number)
        return self.wait(name)

    def close(self) -> None:
        self._stop.set()
        for name in list(self.living):
            self.kill(name)
        if self._worker.is_alive():
            self._worker.join()

    # --- what people do

    def deploy(self, **changes) -> Deployed:
        names = Shelf(self.recipes, load_settings()).names()
        return deploy(Deployment(tuple(names), (self.store,), **changes))

    def order(self, recipe: str = "ten", **parameters) -> UUID:
        found = self.client.read_deployment_by_name(deployment(RUN_RECIPE)).id
        asked = {"recipe": recipe, "store": self.store, **parameters}
        return self.client.create_flow_run_from_deployment(found, parameters=asked).id

    def flow_run(self, id_: UUID) -> FlowRun:
        return self.client.read_flow_run(id_)

    def until(self, what, seconds: float = 60.0):
        """Wait for something true, and return it."""
        deadline = time.monotonic() + seconds
        while not (found := what()):
            told = f"in vain; the coordinator said:\n{self.said()[-3000:]}"
            assert time.monotonic() < deadline, told
            time.sleep(0.2)  # each look is a question to a server that has other work
        return found

    def ended(self, id_: UUID, seconds: float = 60.0) -> FlowRun:
        return self.until(lambda: (run := self.flow_run(id_)).state.is_final() and run, seconds)

    # --- the worker

    def hire(self) -> None:
        self._worker.start()

    def _work(self) -> None:
        with contextlib.suppress(Exception):
            while not self._stop.wait(0.2):
                found = self.client.get_scheduled_flow_runs_for_work_pool(CHUNKS_POOL)
                mine = [f.flow_run for f in found if f.flow_run.parameters["store"] == self.store]
                for flow_run in mine:
                    self._chunk(flow_run)

    def _chunk(self, flow_run: FlowRun) -> None:
        self.client.set_flow_run_state(flow_run.id, Pending())
        self.client.set_flow_run_state(flow_run.id, Running())
        asked = flow_run.parameters
        attempt = AttemptName(asked["run"], asked["chunk"], asked["attempt"])
        station = Station(
            "thread", self._engine, self._stop.is_set, lambda: False, renew_every=0.2
        )  # fmt: skip
        do_chunk(open_store(self.store), attempt, station)
        self.client.set_flow_run_state(flow_run.id, Completed())

    def _engine(self, plan, batch):
        town = self

        class Counted(FakeEngine):
            def run(self, requests, on_step=None):
                town.made.update(request.id for request in requests)
                yield from super().run(requests, on_step)

        faults = FakeFaults(prompts=("FAIL",))
        return lambda: Counted(plan.model, faults=faults, seconds_per_edit=town.seconds)
