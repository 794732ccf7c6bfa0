"""From options to a worker that works: its engines, its page, its threads, its end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal

import anyio
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import WorkQueueFilter
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound

from flows.scheduling import progress
from flows.scheduling.names import CHUNKS_POOL, PARENTS_POOL, PRIORITIES
from flows.scheduling.pools import not_ours
from flows.scheduling.server import (
    NoServerError,
    connected,
    in_words,
    is_passing,
    measure_skew,
    server_name,
    those,
)
from flows.scheduling.site import Site, Tempo
from flows.scheduling.statement import FleetError, state
from flows.scheduling.sweep import Sweep
from flows.scheduling.worker import WATCH, Seat, again_and_again, serve_all, watch
from flows.scheduling.workers.gpus import gpu_memory
from flows.scheduling.workers.health import Health, HealthPage, ailment_of, unready_of
from flows.scheduling.workers.metrics import Metrics, Scheduler
from flows.scheduling.workers.name import Name
from flows.scheduling.workers.options import WorkerOptions
from flows.settings import Settings, resident
from flows.store.base import StoreAway, StoreError
from kontext_engine.catalogue import list_models, resolve_model
from kontext_engine.errors import ModelError
from kontext_engine.numerics import choose_numerics
from kontext_engine.spec import ModelSpec

PARENT_SLOTS = 64  # a night holds one while its recipes need others
AT_ONCE = 130  # exit code after a second signal
QUEUES_EVERY = 10.0  # seconds
SKEW_EVERY = 300.0  # seconds
WAIT_TOLD = 10.0  # seconds between two lines while a server or a store is waited for

Say = Callable[[str], None]


class WorkerError(Exception):
    """The worker cannot begin; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What ``kontext worker`` is told beside its engines."""

    serve: Literal["chunks", "parents", "both"]
    options: WorkerOptions
    settings: Settings
    recipes: str
    models: tuple[str, ...] = ()
    metrics_port: int | None = None
    tempo: Tempo = field(default_factory=Tempo)

    @property
    def slots(self) -> dict[str, int]:
        """The pools that are served, and how much is taken from each at once."""
        slots = {}
        if self.serve != "chunks":
            slots[PARENTS_POOL] = PARENT_SLOTS
        if self.serve != "parents":
            slots[CHUNKS_POOL] = self.options.count
        return slots


def run_worker(name: Name, serving: Serving, say: Say) -> bool:
    """Work until SIGTERM or SIGINT; whether everything in hand was handed back in time.

    Raises:
        NoServerError: no server is named.
        WorkerError: the server does not let us in, a pool, a model or a port cannot be had.
    """
    makes_chunks = CHUNKS_POOL in serving.slots
    models = _models(serving.models) if makes_chunks else ()
    pool = serving.options.engine_pool() if makes_chunks else None
    site = Site(
        worker=name.text,
        settings=resident(serving.settings),
        pool=pool,
        models={spec.digest: spec for spec in models},
        recipes=serving.recipes,
        tempo=serving.tempo,
    )
    _heed_signals(site)
    seats = [Seat(site, pool, slots) for pool, slots in serving.slots.items()]
    metrics = _metrics(site, serving)
    with ExitStack() as stack:
        if serving.metrics_port is not None:
            page = _page(site, seats, metrics, serving.metrics_port)
            say(f"metrics {stack.enter_context(page).url}/metrics")
        if pool is not None:
            stack.enter_context(pool)
        _wait_for("the server", lambda: _introduce(site, serving, models), site, say)
        _wait_for("the store", lambda: site.cells(site.settings.store), site, say)
        if site.draining.is_set():
            return True
        engines = f"{len(pool)} engines, " if pool is not None else ""
        say(
            f"worker '{name.text}' (pid {os.getpid()}): {engines}pools "
            f"{', '.join(serving.slots)} at {server_name()}"
        )
        again_and_again(site, WATCH, lambda client: watch(site, client), "people's words")
        again_and_again(site, progress.EVERY, site.progress, "progress")
        again_and_again(site, SKEW_EVERY, measure_skew, "the server's clock")
        if PARENTS_POOL in serving.slots:
            again_and_again(site, site.tempo.sweep, Sweep(site), "the sweep")
        if makes_chunks:
            again_and_again(site, QUEUES_EVERY, lambda c: _count_queues(metrics, c), "the queues")
        return anyio.run(serve_all, seats, site)


def _models(named: tuple[str, ...]) -> tuple[ModelSpec, ...]:
    """Those that were named; else all that are on this machine."""
    names = named or tuple(entry.name for entry in list_models() if entry.available)
    try:
        found = tuple(resolve_model(name) for name in names)
    except ModelError as error:
        raise WorkerError(str(error)) from None
    if not found:
        raise WorkerError("no model is on this machine; expected one; name its folder: --model")
    return found


def _heed_signals(site: Site) -> None:
    """The first says to drain, the second to end at once."""

    def heard(number: int, frame: object) -> None:
        del number, frame
        if site.draining.is_set():
            os._exit(AT_ONCE)
        site.draining.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, heard)


# --- what it waits for


def _wait_for(what: str, ask: Callable[[], object], site: Site, say: Say) -> None:
    """Ask until there is an answer, or this process drains."""
    told = float("-inf")
    while not site.draining.is_set():
        try:
            ask()
            return
        except StoreAway as error:
            words = str(error)
        except (FleetError, StoreError) as error:
            raise WorkerError(str(error)) from None
        except (WorkerError, NoServerError):
            raise
        except Exception as error:
            words = in_words(error)
            if not is_passing(error):
                raise WorkerError(words) from error
        if time.monotonic() - told > WAIT_TOLD:
            told = time.monotonic()
            say(f"waiting for {what}: {words}")
        site.draining.wait(2.0)


def _introduce(site: Site, serving: Serving, models: Sequence[ModelSpec]) -> None:
    """Look whether the server has our pools, and state there what this worker is."""
    with connected() as client:
        for name in serving.slots:
            try:
                wrong = not_ours(client.read_work_pool(name))
            except ObjectNotFound:
                wrong = f"no work pool '{name}' at {server_name()}; run 'kontext deploy' first"
            if wrong:
                raise WorkerError(wrong)
        measure_skew(client)
        if CHUNKS_POOL in serving.slots:
            numerics = choose_numerics(None, serving.settings.device)
            state(client, site.worker, serving.options.count, models, numerics)


# --- what it shows


def _metrics(site: Site, serving: Serving) -> Metrics:
    pool = site.pool
    return Metrics(
        site.worker,
        site.counts,
        Scheduler(slots=serving.slots.get(CHUNKS_POOL, 0)),
        engines=pool.stats if pool is not None else tuple,
        waiting=lambda: pool.waiting if pool is not None else 0,
        leases=lambda: sum(one.name.startswith("chunks/") for one in [*site.attempts.values()]),
        gpus=gpu_memory,
    )


def _count_queues(metrics: Metrics, client: SyncPrefectClient) -> None:
    """How many chunks wait in each queue; and the metrics' rates are kept right."""
    metrics.look()
    metrics.scheduler.queued = {
        str(queue): client.count_flow_runs(
            work_queue_filter=WorkQueueFilter.model_validate({"name": {"any_": [queue]}}),
            **those(states=[StateType.SCHEDULED], pool=CHUNKS_POOL),
        )
        for queue in PRIORITIES
    }


def _page(site: Site, seats: list[Seat], metrics: Metrics, port: int) -> HealthPage:
    def heard() -> float | None:
        return max((seat.heard for seat in seats if seat.heard is not None), default=None)

    def health() -> Health:
        now, last = time.monotonic(), heard()
        # Until its loop has begun a worker waits for server and store, which no restart brings.
        still = max((now - seat.beat for seat in seats if seat.beat is not None), default=0.0)
        stats = site.pool.stats() if site.pool is not None else ()
        in_hand = sum(seat.bodies for seat in seats)
        draining = site.draining.is_set()
        return Health(
            worker=site.worker,
            state="draining" if draining else "working" if in_hand else "idle",
            in_hand=in_hand,
            scheduler_silence_seconds=None if last is None else now - last,
            ailment=ailment_of(still),
            unready=unready_of(stats, draining=draining, quarantine=site.setbacks.why),
        )

    def text() -> bytes:
        metrics.scheduler.in_hand = sum(seat.bodies for seat in seats if seat.pool == CHUNKS_POOL)
        metrics.scheduler.answered = heard()
        return metrics.text()

    try:
        return HealthPage(port, health, text)
    except OSError as error:
        raise WorkerError(
            f"port {port} cannot be had ({error.strerror}); expected a free one; give "
            "--metrics-port another, or 0 for any"
        ) from error
