"""A yard for workers: a store with a run under way, its chunks as flow runs, worker processes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from flows.coordination.ledger import AttemptName, ChunkList, ChunkSheet, Ledger, Order, Result
from flows.orchestration.names import CHUNKS_POOL_TYPE, MAKE_CHUNK
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import LogSort
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import Cancelling
from prometheus_client.parser import text_string_to_metric_families

from flows.recipe.keys import plan_digest
from flows.store.local import LocalStore

from ..run.samples import PlanMaker
from ..servers.process import Server
from .engines import SECONDS

ROOT = Path(__file__).parents[2]
PATIENCE = 600.0  # seconds: nothing here takes five on a machine with time to spare


def until(wanted: Callable[[], object], seconds: float = PATIENCE, pause: float = 0.1):
    """The first true answer."""
    end = time.monotonic() + seconds
    while not (found := wanted()):
        assert time.monotonic() < end, f"not within {seconds:.0f} s"
        time.sleep(pause)
    return found


class Bench:
    """One run under way in a store of its own, cut into chunks of ``size`` steps."""

    def __init__(self, folder: Path, steps: int, size: int, *, fail: Sequence[int] = ()) -> None:
        maker = PlanMaker()
        for number in range(steps):
            words = "FAIL" if number in fail else "a hat"
            made = maker.step("hat", f"{words} {number}", (), f"v{number}", steps=20)
            maker.variant(f"v{number}", {}, [made])
        plan = maker.plan()
        self.plan = replace(plan, digest=plan_digest(plan.steps, plan.outputs))
        self.store = LocalStore(folder)
        self.store.prepare()
        self.ledger = Ledger(self.store.objects)
        self.run = f"2026-01-02-hats-{uuid.uuid4().hex[:6]}"
        keys = tuple(self.plan.steps)
        self.chunks = [
            ChunkSheet(name=f"c{start // size + 1}", keys=keys[start : start + size])
            for start in range(0, steps, size)
        ]
        order = Order(run=self.run, recipe="hats", plan=self.plan.digest, created="now")
        assert self.ledger.open(order, self.plan)
        self.ledger.cut(self.run, ChunkList(chunks=tuple(self.chunks)))

    def issue(self, chunk: int = 1, number: int = 1) -> AttemptName:
        attempt = AttemptName(self.run, f"c{chunk}", number)
        assert self.ledger.issue(attempt)
        return attempt

    def parameters(self, attempt: AttemptName) -> dict[str, object]:
        where = str(self.store.objects.root)
        return {
            "store": where,
            "run": attempt.run,
            "chunk": attempt.chunk,
            "attempt": attempt.number,
        }

    def leased(self, attempt: AttemptName) -> bool:
        return self.store.objects.stat(attempt.at("lease")) is not None

    def result(self, attempt: AttemptName) -> Result:
        return until(lambda: self.ledger.result(attempt))

    def made(self) -> int:
        return sum(found for _, found in self.store.has_all(self.plan.steps))


class Board:
    """A Prefect server as those see it who send chunks and look at them."""

    def __init__(self, api: str, pool: str) -> None:
        self.pool = pool
        self._client = SyncPrefectClient(api)
        with contextlib.suppress(ObjectAlreadyExists):
            self._client.create_work_pool(WorkPoolCreate(name=pool, type=CHUNKS_POOL_TYPE))
        flow = self._client.create_flow_from_name(MAKE_CHUNK)
        self._deployment = self._client.create_deployment(
            flow, name=pool, work_pool_name=pool, enforce_parameter_schema=False
        )

    def close(self) -> None:
        self._client._client.close()

    def send(self, parameters, queue: str | None = None) -> uuid.UUID:
        return self._client.create_flow_run_from_deployment(
            self._deployment, parameters=dict(parameters), work_queue_name=queue
        ).id

    def flow_run(self, flow_run: uuid.UUID) -> FlowRun:
        return self._client.read_flow_run(flow_run)

    def state(self, flow_run: uuid.UUID) -> str:
        return self.flow_run(flow_run).state.name

    def ended(self, flow_run: uuid.UUID):
        """Its last state."""

        def final():
            state = self.flow_run(flow_run).state
            return state if state.is_final() else None

        return until(final)

    def cancel(self, flow_run: uuid.UUID) -> None:
        self._client.set_flow_run_state(flow_run, Cancelling())

    def queues(self) -> dict[str, int]:
        found = self._client.request(
            "POST", "/work_pools/{name}/queues/filter", path_params={"name": self.pool}, json={}
        )
        return {queue["name"]: queue["priority"] for queue in found.json()}

    def logs(self, flow_run: uuid.UUID) -> str:
        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run]))
        found = self._client.read_logs(wanted, limit=200, offset=0, sort=LogSort.TIMESTAMP_ASC)
        return "\n".join(log.message for log in found)


class WorkerProcess:
    """``kontext worker`` with the fake engine, as a process of its own."""

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        *options: str,
        seconds_per_edit: float = 0.01,
        engine: str = "slow",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            *(sys.executable, "-m", "flows.cli", "worker", "--metrics-port", "0"),
            *("--engine", f"tests.worker.engines:{engine}", "--name", f"w-{uuid.uuid4().hex[:8]}"),
            *options,
        ]
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("PREFECT_", "KONTEXT_"))}
        self.process = Server("worker", folder / "worker.log")
        self.process.launch(command, {**kept, **environment, SECONDS: str(seconds_per_edit)}, ROOT)

    @property
    def log(self) -> str:
        return self.process.log_file.read_text("utf-8", "replace")

    def matched(self, pattern: str, after: int = 0) -> re.Match[str]:
        """The first match in what it writes from place ``after`` on."""

        def look():
            found = re.search(pattern, self.log[after:])
            assert found or self.process.is_running, self.log[-3000:]
            return found

        return until(look)

    @property
    def pid(self) -> int:
        """The worker's own, which under supervision is not the process that was started."""
        self.matched(r"\(pid (\d+)\)")
        return int(re.findall(r"worker '[^']+' \(pid (\d+)\)", self.log)[-1])

    @property
    def page(self) -> str:
        self.matched(r"metrics http")
        return re.findall(r"metrics (http\S+)/metrics", self.log)[-1]

    def get(self, path: str) -> tuple[int, str]:
        try:
            url = f"{self.page}{path}"
            with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metrics(self) -> dict[str, float]:
        """All samples; labels in braces, as in the text."""
        found = {}
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                labels = ",".join(
                    f"{name}={value}" for name, value in sorted(sample.labels.items())
                )
                found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
        return found

    def engines(self) -> list[int]:
        """The process ids of its engines."""
        return children_of(self.pid)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; the exit code."""
        self.process.send(number)
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        self.process.end()


def children_of(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == pid:
                found.append(int(folder.name))
    return found


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
