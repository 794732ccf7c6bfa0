"""The Prefect worker type ``kontext``: takes flow runs from a pool, each into a thread of its own.

Bodies outlive the worker object: one that falls over while the server is away is replaced, and what
is in hand goes on. The base class's own loop gives up when the server stays away, so the two things
that it does are done here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, ClassVar

import anyio
import anyio.abc
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.workers.base import (
    BaseJobConfiguration,
    BaseVariables,
    BaseWorker,
    BaseWorkerResult,
)

from flows.scheduling.fence import execute
from flows.scheduling.flows import FLOWS
from flows.scheduling.names import CHUNKS_POOL, MAKE_CHUNK, WORKER_TYPE
from flows.scheduling.pools import JOB_TEMPLATE
from flows.scheduling.server import connected, in_words, is_passing, measure_skew, read_many
from flows.scheduling.site import Site
from flows.scheduling.states import people_say

log = logging.getLogger(__name__)

POLL = 2.0  # seconds between two looks into the pool, unless a body has ended meanwhile
SYNC = 15.0  # seconds between two heartbeats
WATCH = 2.0  # seconds between two looks at what people say
AGAIN = 3.0  # seconds until a fallen worker object is replaced
DRAIN = 28.0  # seconds; a supervisor's grace is 30


class Ended(BaseWorkerResult):
    """A body has ended; its run's state tells how."""


class KontextWorker(BaseWorker[BaseJobConfiguration, BaseVariables, Ended]):
    """One for each pool that a process serves; ``seat`` is what the process shares with it."""

    type = WORKER_TYPE
    _description = "Carries out kontext's flows: parents, and chunks on engines that stay loaded."
    seat: ClassVar[dict[str, Seat]] = {}  # by pool

    @classmethod
    def get_default_base_job_template(cls) -> dict[str, Any]:
        """What ``kontext deploy`` gives the pools."""
        return deepcopy(JOB_TEMPLATE)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: BaseJobConfiguration,  # noqa: ARG002 - the base class's signature
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> Ended:
        """Carry it out in a thread that nothing but its own end ends."""
        if task_status is not None:
            task_status.started(os.getpid())
        await self.seat[self.work_pool.name].carry_out(flow_run)
        return Ended(identifier=str(flow_run.id), status_code=0)


class Seat:
    """A process's place in one pool: how much it takes, and whether it takes anything now."""

    def __init__(self, site: Site, pool: str, slots: int) -> None:
        self.site = site
        self.pool = pool
        self.slots = slots
        self.heard: float | None = None  # when the server last answered (time.monotonic)
        self.beat: float | None = None  # when its loop last turned; it has not begun
        self.trouble = ""
        self._bodies: set[object] = set()
        self._flows: dict[Any, str] = {}
        self._moved = asyncio.Event()

    @property
    def bodies(self) -> int:
        """How many are being carried out."""
        return len(self._bodies)

    def may_take(self) -> bool:
        """Whether there is room, and nothing speaks against it."""
        site, bodies = self.site, self.bodies
        if bodies >= self.slots or site.draining.is_set():
            return False
        return self.pool != CHUNKS_POOL or site.setbacks.may_take(bodies)

    async def carry_out(self, flow_run: FlowRun) -> None:
        """Start its body, and wait for its end."""
        done, loop = anyio.Event(), asyncio.get_running_loop()
        body = object()  # of one run there may be two, for a moment
        self._bodies.add(body)

        def work() -> None:
            try:
                self._execute(flow_run)
            except Exception:
                log.exception("flow run %s", flow_run.name)
            finally:
                self._bodies.discard(body)
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(done.set)
                    loop.call_soon_threadsafe(self._moved.set)

        threading.Thread(target=work, name=f"body {flow_run.name}", daemon=True).start()
        await done.wait()

    def _execute(self, flow_run: FlowRun) -> None:
        if flow_run.flow_id not in self._flows:
            with connected() as client:
                self._flows[flow_run.flow_id] = client.read_flow(flow_run.flow_id).name
        name = self._flows[flow_run.flow_id]
        if name not in FLOWS or (name == MAKE_CHUNK) != (self.pool == CHUNKS_POOL):
            log.error("flow run %s: '%s' is no flow of pool '%s'", flow_run.name, name, self.pool)
            return
        flow, form = FLOWS[name]
        execute(self.site, flow, form, flow_run)

    # --- its loop

    async def serve(self) -> None:
        """Take what there is until the process drains; a fallen worker object is replaced."""
        while not self.site.draining.is_set():
            self.beat = time.monotonic()
            try:
                await self._serve_once()
            except Exception as error:
                self._complain(error)
                await self._until_moved(AGAIN)

    async def _serve_once(self) -> None:
        KontextWorker.seat[self.pool] = self
        skew = await anyio.to_thread.run_sync(_skew)
        self.beat = time.monotonic()
        async with KontextWorker(
            work_pool_name=self.pool,
            name=self.site.worker,
            limit=self.slots,
            prefetch_seconds=skew,
            heartbeat_interval_seconds=int(SYNC),
        ) as worker:
            synced = float("-inf")
            while not self.site.draining.is_set():
                self.beat = turned = time.monotonic()
                try:
                    if turned - synced > SYNC:
                        await worker.sync_with_backend()
                        synced = turned
                        self._hear()
                    if self.may_take():
                        await worker.get_and_submit_flow_runs()
                        self._hear()
                except Exception as error:
                    self._complain(error)
                await self._until_moved(POLL)
            while self.bodies:
                await anyio.sleep(0.1)

    def _hear(self) -> None:
        self.heard, self.trouble = time.monotonic(), ""

    def _complain(self, error: Exception) -> None:
        """Once for each kind of trouble."""
        words = in_words(error)
        if words != self.trouble:
            self.trouble = words
            log.warning("%s", words)

    async def _until_moved(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._moved.wait()
        self._moved.clear()


def _skew() -> float:
    with connected() as client:
        return measure_skew(client)


def watch(site: Site, client: SyncPrefectClient) -> None:
    """What people say about what is in hand, and about all that stands above it: one question."""
    found = [one for one in list(site.attempts.values()) if not one.closing]
    runs = read_many(client, {id_ for one in found for id_ in (one.run, *one.above)})
    for attempt in found:
        said = people_say(runs, attempt.run, attempt.above)
        if said is not None and attempt.said is None:
            log.info("%s: people say: %s", attempt.name, said.value)
            attempt.said = said


def stop_at_once(site: Site) -> None:
    """Engines at work for what must end stop at their next denoise step."""
    for attempt in list(site.attempts.values()):
        if attempt.stopped is not None and attempt.at_once():
            stopped, attempt.stopped = attempt.stopped, None
            stopped()


def again_and_again(
    site: Site, seconds: float, work: Callable[[SyncPrefectClient], object], name: str
) -> None:
    """A thread does it every so many seconds until the process drains."""

    def go() -> None:
        told = ""
        while not site.draining.wait(seconds):
            try:
                with connected() as client:
                    while not site.draining.wait(seconds):
                        work(client)
                        told = ""
            except Exception as error:  # silence is nobody's word
                words = in_words(error) if is_passing(error) else f"{type(error).__name__}: {error}"
                if words != told:
                    told = words
                    log.warning("%s: %s", name, words)

    threading.Thread(target=go, name=name, daemon=True).start()


async def serve_all(seats: Sequence[Seat], site: Site) -> bool:
    """Serve until the process drains; whether everything in hand has ended in time."""
    async with anyio.create_task_group() as group:
        for seat in seats:
            group.start_soon(seat.serve)
        while not site.draining.is_set():
            await anyio.sleep(0.2)
        with anyio.move_on_after(DRAIN):
            while any(seat.bodies for seat in seats):
                stop_at_once(site)
                await anyio.sleep(0.1)
        group.cancel_scope.cancel()
    return not any(seat.bodies for seat in seats)
