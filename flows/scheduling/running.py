"""From options to a worker that works: its engines, its page, its threads, its end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Literal

import anyio

from flows.metrics import Metrics, Scheduler
from flows.numerics import choose_numerics
from flows.scheduling import progress
from flows.scheduling.names import CHUNKS_POOL, PARENTS_POOL, PRIORITIES, WORKER_TYPE
from flows.scheduling.server import (
    connected,
    in_words,
    insist,
    is_passing,
    measure_skew,
    server_name,
)
from flows.scheduling.site import Site, Tempo
from flows.scheduling.statement import FleetError, state
from flows.scheduling.sweep import Sweep
from flows.scheduling.worker import WATCH, Seat, Watch, again_and_again, serve_all
from flows.settings import Settings, resident
from flows.store.base import StoreAway, StoreError
from flows.workers.gpus import GpuMemory
from flows.workers.health import Health, HealthPage, ailment_of, unready_of
from flows.workers.name import Name
from flows.workers.options import WorkerOptions
from kontext_engine.catalogue import list_models, resolve_model
from kontext_engine.errors import ModelError
from kontext_engine.spec import ModelSpec

from prefect.client.orchestration import SyncPrefectClient  # isort: skip
from prefect.client.schemas.filters import (  # isort: skip
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
    WorkQueueFilter,
    WorkQueueFilterName,
)
from prefect.client.schemas.objects import StateType  # isort: skip
from prefect.exceptions import ObjectNotFound, PrefectException  # isort: skip

Serve = Literal["chunks", "parents", "both"]

PARENT_SLOTS = 64  # a night holds one while its recipes need others
AT_ONCE = 130  # exit code after a second signal
QUEUES_EVERY = 10.0  # seconds
SKEW_EVERY = 300.0  # seconds
WAIT_TOLD = 10.0  # seconds between two lines while a server or a store is waited for


class WorkerError(Exception):
    """The worker cannot begin; the message says why and what to do."""


@dataclass(frozen=True)
class Serving:
    """What ``kontext worker`` is told beside its engines."""

    serve: Serve
    options: WorkerOptions
    settings: Settings
    recipes: str
    models: tuple[str, ...] = ()
    metrics_port: int | None = None
    tempo: Tempo = field(default_factory=Tempo)

    @property
    def pools(self) -> tuple[str, ...]:
        """The pools that are served."""
        named = {"chunks": (CHUNKS_POOL,), "parents": (PARENTS_POOL,)}
        return named.get(self.serve, (PARENTS_POOL, CHUNKS_POOL))


def run_worker(name: Name, serving: Serving, say: Callable[[str], None]) -> bool:
    """Work until SIGTERM or SIGINT; whether everything in hand was handed back in time.

    Raises:
        WorkerError: the server does not let us in, a pool, a model or a port cannot be had.
    """
    makes_chunks = CHUNKS_POOL in serving.pools
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
    with _signals(site), ExitStack() as stack:
        seats = [Seat(site, one, _slots(one, serving)) for one in serving.pools]
        metrics = _metrics(site, seats)
        if serving.metrics_port is not None:
            page = _page(site, seats, metrics, serving.metrics_port)
            say(f"metrics {stack.enter_context(page).url}/metrics")
        if pool is not None:
            stack.enter_context(pool)
        _wait_for_server(site, serving, models, say)
        _wait_for_store(site, say)
        if site.draining.is_set():
            return True
        engines = f"{len(pool)} engines, " if pool is not None else ""
        say(
            f"worker '{name.text}' (pid {os.getpid()}): {engines}pools "
            f"{', '.join(serving.pools)} at {server_name()}"
        )
        again_and_again(site, WATCH, Watch(site), "people's words")
        again_and_again(site, progress.EVERY, site.progress, "progress")
        again_and_again(site, SKEW_EVERY, measure_skew, "the server's clock")
        if PARENTS_POOL in serving.pools:
            again_and_again(site, site.tempo.sweep, Sweep(site), "the sweep")
        if makes_chunks:
            again_and_again(site, QUEUES_EVERY, _Queues(metrics), "the queues")
        return anyio.run(serve_all, seats, site)


def _slots(pool: str, serving: Serving) -> int:
    return serving.options.count if pool == CHUNKS_POOL else PARENT_SLOTS


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


@contextmanager
def _signals(site: Site) -> Iterator[None]:
    """The first says to drain, the second to end at once."""

    def heard(number: int, frame: object) -> None:
        del number, frame
        if site.draining.is_set():
            os._exit(AT_ONCE)
        site.draining.set()

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, heard) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


# --- what it waits for


def _wait_for_server(
    site: Site, serving: Serving, models: tuple[ModelSpec, ...], say: Callable[[str], None]
) -> None:
    told = float("-inf")
    while not site.draining.is_set():
        try:
            with connected() as client:
                client.request("GET", "/health")
                _look_at_pools(client, serving)
                measure_skew(client)
                if CHUNKS_POOL in serving.pools:
                    numerics = choose_numerics(None, serving.settings.device)
                    state(client, site.worker, serving.options.count, models, numerics)
            return
        except (WorkerError, FleetError):
            raise
        except (PrefectException, OSError, ValueError) as error:
            raise WorkerError(in_words(error)) from error
        except Exception as error:
            told = _bear(error, told, say)
        site.draining.wait(2.0)


def _bear(error: Exception, told: float, say: Callable[[str], None]) -> float:
    """Say that the server is waited for; when that was said last."""
    if not is_passing(error):
        raise WorkerError(in_words(error)) from error
    if time.monotonic() - told > WAIT_TOLD:
        say(f"waiting for the server: {in_words(error)}")
        return time.monotonic()
    return told


def _look_at_pools(client: SyncPrefectClient, serving: Serving) -> None:
    for name in serving.pools:
        try:
            found = insist(lambda name=name: client.read_work_pool(name), "a pool")  # type: ignore[misc]
        except ObjectNotFound:
            raise WorkerError(
                f"no work pool '{name}' at {server_name()}; run 'kontext deploy' first"
            ) from None
        if found.type != WORKER_TYPE:
            raise WorkerError(
                f"the work pool '{name}' is of type '{found.type}'; expected '{WORKER_TYPE}'; "
                f"remove it with 'prefect work-pool delete {name}' and run 'kontext deploy'"
            )


def _wait_for_store(site: Site, say: Callable[[str], None]) -> None:
    told = float("-inf")
    while not site.draining.is_set():
        try:
            site.cells(site.settings.store)
            return
        except StoreAway as error:
            if time.monotonic() - told > WAIT_TOLD:
                told = time.monotonic()
                say(f"waiting for the store: {error}")
        except StoreError as error:
            raise WorkerError(str(error)) from None
        site.draining.wait(2.0)


# --- what it shows


def _metrics(site: Site, seats: list[Seat]) -> Metrics:
    pool = site.pool
    chunks = [seat for seat in seats if seat.pool == CHUNKS_POOL]
    return Metrics(
        site.worker,
        site.counts,
        Scheduler(slots=sum(seat.slots for seat in chunks)),
        engines=pool.stats if pool is not None else tuple,
        waiting=lambda: pool.waiting if pool is not None else 0,
        leases=lambda: sum(h.name.startswith("chunks/") for h in list(site.attempts.values())),
        gpus=GpuMemory().read,
    )


class _Queues:
    """How many chunks wait in each queue; and the metrics' rates are kept right."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def __call__(self, client: SyncPrefectClient) -> None:
        waiting = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
        self._metrics.look()
        self._metrics.scheduler.queued = {
            str(queue): client.count_flow_runs(
                work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[CHUNKS_POOL])),
                work_queue_filter=WorkQueueFilter(name=WorkQueueFilterName(any_=[queue])),
                flow_run_filter=FlowRunFilter(state=waiting),
            )
            for queue in PRIORITIES
        }


def _page(site: Site, seats: list[Seat], metrics: Metrics, port: int) -> HealthPage:
    def health() -> Health:
        now = time.monotonic()
        # Until its loop has begun a worker waits for server and store, which no restart brings.
        still = max((now - seat.beat for seat in seats if seat.beat is not None), default=0.0)
        stats = site.pool.stats() if site.pool is not None else ()
        heard = [seat.heard for seat in seats if seat.heard is not None]
        in_hand = sum(seat.bodies for seat in seats)
        draining = site.draining.is_set()
        return Health(
            worker=site.worker,
            state="draining" if draining else "working" if in_hand else "idle",
            in_hand=in_hand,
            scheduler_silence_seconds=now - max(heard) if heard else None,
            ailment=ailment_of(still),
            unready=unready_of(stats, draining=draining, quarantine=site.setbacks.why),
        )

    def text() -> bytes:
        metrics.scheduler.in_hand = sum(seat.bodies for seat in seats if seat.pool == CHUNKS_POOL)
        heard = [seat.heard for seat in seats if seat.heard is not None]
        metrics.scheduler.answered = max(heard, default=None)
        return metrics.text()

    try:
        return HealthPage(port, health, text)
    except OSError as error:
        raise WorkerError(
            f"port {port} cannot be had ({error.strerror}); expected a free one; give "
            "--metrics-port another, or 0 for any"
        ) from error
