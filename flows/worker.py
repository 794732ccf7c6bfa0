"""The Prefect worker type ``kontext``: takes chunks from the pool and hands them to a workshop.

Prefect is the queue and the place where people look. The work itself hangs on the store alone: a
server that is away, for a minute or for good, stops nothing that is in hand and loses nothing.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

# Before prefect is imported, which reads its settings then.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

import anyio
import anyio.abc
import anyio.to_thread
import httpx
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import OrchestrationResult, SetStateStatus
from prefect.exceptions import ObjectNotFound
from prefect.logging.handlers import APILogHandler
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)
from prefect.states import Pending, Running
from prefect.workers.base import (
    BaseJobConfiguration,
    BaseVariables,
    BaseWorker,
    BaseWorkerResult,
)
from pydantic import ValidationError

from flows.metrics import Metrics, Scheduler
from flows.orchestration.names import CHUNKS_POOL_TYPE
from flows.workers.attempt import Attempt, End, Say, Ticket, Verdict
from flows.workers.gpus import GpuMemory
from flows.workers.health import Health, ailment_of, unready_of
from flows.workers.looks import again_and_again, complain, in_words
from flows.workers.name import Name
from flows.workers.options import WorkerOptions
from flows.workers.queues import count_waiting, find_stopped, make_queues
from flows.workers.setbacks import Setbacks
from flows.workers.teller import Teller, state_of
from flows.workers.workshop import Workshop, priority_of

log = logging.getLogger(__name__)

ANSWER_SECONDS = 15.0  # how long an answer of Prefect is waited for
SYNC_SECONDS = 15.0  # between two heartbeats
CANCEL_SECONDS = 2.0  # between two looks at whether something in hand was cancelled
QUEUE_SECONDS = 10.0  # between two looks at how long the queues are
LONGEST = 5.0  # between two tries while Prefect is away
FAREWELL_SECONDS = 10.0  # for telling Prefect how it ended, when leaving
AT_ONCE = 130  # exit code after a second signal


class ChunkEnd(BaseWorkerResult):
    """The end of a flow run; its state tells how. ``rest``: seconds until the next is taken."""

    rest: float = 0.0


class KontextWorker(BaseWorker[BaseJobConfiguration, BaseVariables, ChunkEnd]):
    """One on each host. ``serve`` it; stop it by ``stop``."""

    type = CHUNKS_POOL_TYPE
    _description = "Makes chunks of kontext runs on engines that stay loaded."

    def __init__(self, name: Name, shop: Workshop, options: WorkerOptions) -> None:
        super().__init__(
            work_pool_name=options.pool,
            work_queues=list(options.queues) or None,
            name=name.text,
            prefetch_seconds=0,  # what is due later is not taken: it might be done elsewhere
            limit=options.slots,
            heartbeat_interval_seconds=int(SYNC_SECONDS),
        )
        self.scheduler = Scheduler(slots=options.slots)
        self.metrics = Metrics(
            self.name,
            shop.counts,
            self.scheduler,
            engines=shop.pool.stats,
            waiting=lambda: shop.pool.waiting,
            leases=lambda: shop.leases,
            gpus=GpuMemory().read,
        )
        self._shop = shop
        self._options = options
        self._hands: dict[UUID, Attempt | None] = {}
        self._threads = anyio.CapacityLimiter(options.slots)
        self._teller = Teller(self._heard)
        self._setbacks = Setbacks()
        self._ailed = ""
        self._stopping = anyio.Event()
        self._moved = anyio.Event()
        self._has_queues = False
        self._beat = time.monotonic()

    @classmethod
    def get_default_base_job_template(cls) -> dict[str, Any]:
        """Nothing to be set for a single run: no process is started for it."""
        nothing: dict[str, Any] = {}
        # The server takes no configuration that is empty itself.
        return {"job_configuration": {"env": nothing}, "variables": {"properties": nothing}}

    def health(self) -> Health:
        """How it is, asked from any thread."""
        state = "draining" if self._shop.draining else "working" if self._hands else "idle"
        silence = self.scheduler.silence()
        return Health(self.name, state, len(self._hands), silence, self._ailment(), self._unready())

    def stop(self) -> None:
        """Drain and end; a second time: end at once."""
        if self._stopping.is_set():
            os._exit(AT_ONCE)
        log.info("stopping: what is in hand ends at its next denoise step and is handed back")
        self._stopping.set()

    # --- its life

    async def start(
        self,
        run_once: bool = False,  # noqa: ARG002 - the base class's signature
        with_healthcheck: bool = False,  # noqa: ARG002
        printer: Callable[..., None] = print,  # noqa: ARG002
    ) -> None:
        """The same as ``serve``: the base class's own loop gives up when Prefect stays away."""
        await self.serve()

    async def serve(self) -> bool:
        """Work until stopped; whether everything in hand was handed back in time.

        Raises:
            httpx.HTTPStatusError: the server does not let us in.
        """
        # Whatever fails is tried again here, in its own time, and often enough.
        quick = {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: ANSWER_SECONDS}
        with temporary_settings(quick):
            async with self, anyio.create_task_group() as loops:
                loops.start_soon(self._teller.work, self.client)
                loops.start_soon(self._pulse)
                for work, seconds in (
                    (self._sync, SYNC_SECONDS),
                    (self._look_for_cancelled, CANCEL_SECONDS),
                    (self._count_queued, QUEUE_SECONDS),
                ):
                    loops.start_soon(again_and_again, work, seconds)
                loops.start_soon(self._take)
                await self._stopping.wait()
                done = await self._drain()
                loops.cancel_scope.cancel()
        return done

    async def _drain(self) -> bool:
        """Hand everything back; whether that was done within the limit."""
        self._shop.drain()
        with anyio.move_on_after(self._options.drain_seconds):
            while self._hands:
                await self._until_moved(1.0)
        left = len(self._hands)
        if left:
            log.warning("%d chunks are left to their leases: they did not stop in time", left)
        with anyio.move_on_after(FAREWELL_SECONDS):
            await self._teller.settled()
            await APILogHandler.aflush()
        return not left

    # --- what it does again and again

    async def _pulse(self) -> None:
        while True:
            self._beat = time.monotonic()
            self.metrics.look()
            await anyio.sleep(1.0)

    async def _take(self) -> None:
        """Take what there is as long as a hand is free; look again as soon as one is."""
        failures = 0
        while not self._stopping.is_set():
            try:
                if self._can_take():
                    await self.get_and_submit_flow_runs()
                    self._heard()
                failures = 0
            except Exception as error:
                failures += 1
                complain(error, failures)
            pause = self._options.poll_seconds
            if failures:
                await anyio.sleep(min(LONGEST, pause * 2 ** min(failures - 1, 8)))
            else:
                await self._until_moved(pause)

    def _can_take(self) -> bool:
        ailment = self._ailment() or self._unready()
        if ailment and not self._ailed:
            log.warning("no chunk is taken while the worker is not well: %s", ailment)
        self._ailed = ailment
        return self.limiter.available_tokens >= 1 and self._has_successfully_synced and not ailment

    async def _sync(self) -> None:
        await self.sync_with_backend()
        self._heard()
        if self._has_successfully_synced and not self._has_queues:
            await make_queues(self.client, self._work_pool_name)
            self._has_queues = True
            self._moved.set()

    async def _look_for_cancelled(self) -> None:
        """One question for all in hand."""
        if not self._hands:
            return
        found = await find_stopped(self.client, list(self._hands))
        self._heard()
        for flow_run in found:
            attempt = self._hands.get(flow_run)
            if attempt is not None and not attempt.cancelled():
                attempt.say(logging.INFO, "cancelled: it stops at its next denoise step")
                attempt.cancel()

    async def _count_queued(self) -> None:
        if self._has_successfully_synced:
            self.scheduler.queued = await count_waiting(self.client, self._work_pool_name)
            self._heard()

    # --- one flow run

    async def _submit_run(self, flow_run: FlowRun) -> None:
        """From the queue to its end.

        The base class's way asks the server six times before a run begins, and an answer that
        does not come can end the whole worker, with everything in hand.
        """
        self._hand_over(flow_run.id, None)
        rest = 0.0
        with anyio.CancelScope() as scope:
            self._scheduled_task_scopes.add(scope)  # which are cancelled at the very end
            try:
                if await self._claim(flow_run):
                    rest = (await self.run(flow_run, BaseJobConfiguration())).rest
            except Exception:
                log.exception("flow run %s", flow_run.id)
            finally:
                self._scheduled_task_scopes.discard(scope)
                self._let_go(flow_run.id)
        # Its place stays taken for that long: what waits in the queue is for others, if any.
        if rest:
            with anyio.move_on_after(rest):
                await self._stopping.wait()
        self._submitting_flow_run_ids.discard(flow_run.id)
        self._release_limit_slot(flow_run.id)
        self._moved.set()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: BaseJobConfiguration,  # noqa: ARG002 - the base class's signature
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ChunkEnd:
        """Carry out a flow run of ``make-chunk``, in a thread."""
        if task_status is not None:
            task_status.started(os.getpid())
        verdict = await self._carry_out(flow_run)
        log.info("%s: %s: %s", flow_run.name, verdict.end.value, verdict.why)
        self._teller.tell(flow_run.id, state_of(verdict))
        rest = self._setbacks.rest_after(verdict)
        if rest:
            log.warning("%d chunks in a row came to nothing: rests %g s", self._setbacks.row, rest)
        return ChunkEnd(identifier=str(flow_run.id), status_code=0, rest=rest)

    async def _carry_out(self, flow_run: FlowRun) -> Verdict:
        try:
            ticket = Ticket.model_validate(flow_run.parameters)
        except ValidationError as error:
            wrong = "; ".join(f"{one['loc'][0]}: {one['msg']}" for one in error.errors())
            why = f"the flow run's parameters are wrong: {wrong}"
            return Verdict(End.FAILED, why, fruitless=True)
        priority = priority_of(flow_run.work_queue_name)
        attempt = Attempt(ticket, priority, self._say(flow_run))
        self._hand_over(flow_run.id, attempt)
        self._teller.tell(flow_run.id, Running(message=f"in hand of worker '{self.name}'"))
        return await anyio.to_thread.run_sync(
            self._shop.carry_out, attempt, abandon_on_cancel=True, limiter=self._threads
        )

    async def _claim(self, flow_run: FlowRun) -> bool:
        """Whether it is ours. Without an answer it may be: then the lease in the store decides."""
        try:
            answer: OrchestrationResult[Any] = await self.client.set_flow_run_state(
                flow_run.id, Pending()
            )
        except ObjectNotFound:
            return False
        except httpx.HTTPError as error:
            log.warning("flow run %s: claimed without an answer: %s", flow_run.id, in_words(error))
            return True
        self._heard()
        return answer.status is SetStateStatus.ACCEPT

    def _say(self, flow_run: FlowRun) -> Say:
        return self.get_flow_run_logger(flow_run).log

    def _hand_over(self, flow_run: UUID, attempt: Attempt | None) -> None:
        self._hands[flow_run] = attempt
        self.scheduler.in_hand = len(self._hands)

    def _let_go(self, flow_run: UUID) -> None:
        self._hands.pop(flow_run, None)
        self.scheduler.in_hand = len(self._hands)
        self._moved.set()

    # --- how it is

    async def _until_moved(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._moved.wait()
        if self._moved.is_set():
            self._moved = anyio.Event()

    def _heard(self) -> None:
        self.scheduler.answered = time.monotonic()

    def _ailment(self) -> str:
        return ailment_of(time.monotonic() - self._beat)

    def _unready(self) -> str:
        return unready_of(self._shop.pool.stats(), draining=self._shop.draining)
