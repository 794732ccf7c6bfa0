"""From options to a worker that works: its engines, its page, its threads, its end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import anyio
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import WorkQueueFilter
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound

from flows.engines.loading import KONTEXT
from flows.scheduling import progress
from flows.scheduling.names import CHUNKS_POOL, PARENTS_POOL, PRIORITIES
from flows.scheduling.pools import not_ours
from flows.scheduling.server import (
    WAIT_TOLD,
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
from flows.settings import Settings, WorkerSettings, resident
from flows.store.base import StoreAway, StoreError
from kontext_engine.catalogue import list_models, resolve_model
from kontext_engine.errors import ModelError
from kontext_engine.numerics import choose_numerics
from kontext_engine.spec import ModelSpec

PARENT_SLOTS = 64  # a night holds one while its recipes need others
AT_ONCE = 130  # exit code after a second signal
QUEUES_EVERY = 10.0  # seconds
SKEW_EVERY = 300.0  # seconds

Say = Callable[[str], None]


class WorkerError(Exception):
    """The worker cannot begin; the message says why and what to do."""


class _NotYetError(Exception):
    """What is waited for is still to come; the message says what to do."""


def run_worker(
    name: Name, settings: Settings, say: Say, engine: str = KONTEXT, tempo: Tempo | None = None
) -> bool:
    """Work until SIGTERM or SIGINT; whether everything in hand was handed back in time.

    ``engine`` is what engine processes load, as ``module:function``.

    Raises:
        NoServerError: no server is named.
        WorkerError: the server does not let us in, a pool is another's, a model or a port cannot
            be had.
    """
    own = settings.worker
    options = WorkerOptions(own.engines, own.threads, settings.batch, engine)
    slots = _slots(own, options)
    makes_chunks = CHUNKS_POOL in slots
    models = _models(own.models) if makes_chunks else ()
    pool = options.engine_pool() if makes_chunks else None
    site = Site(
        worker=name.text,
        settings=resident(settings),
        pool=pool,
        models={spec.digest: spec for spec in models},
        recipes=settings.recipes,
        tempo=tempo or Tempo(),
    )
    _heed_signals(site)
    seats = [Seat(site, pool, count) for pool, count in slots.items()]
    metrics = _metrics(site, slots)
    with ExitStack() as stack:
        if settings.metrics_port is not None:
            page = _page(site, seats, metrics)
            say(f"metrics {stack.enter_context(page).url}/metrics")
        if pool is not None:
            stack.enter_context(pool)
        _wait_for("the server", lambda: _introduce(site, slots, models), site, say)
        _wait_for("the store", lambda: site.cells(site.settings.store), site, say)
        if site.draining.is_set():
            return True
        engines = f"{len(pool)} engines, " if pool is not None else ""
        say(
            f"worker '{name.text}' (pid {os.getpid()}): {engines}pools "
            f"{', '.join(slots)} at {server_name()}"
        )
        again_and_again(site, WATCH, lambda client: watch(site, client), "people's words")
        again_and_again(site, progress.EVERY, site.progress, "progress")
        again_and_again(site, SKEW_EVERY, measure_skew, "the server's clock")
        if PARENTS_POOL in slots:
            again_and_again(site, site.tempo.sweep, Sweep(site), "the sweep")
        if makes_chunks:
            again_and_again(site, QUEUES_EVERY, lambda c: _count_queues(metrics, c), "the queues")
        return anyio.run(serve_all, seats, site)


def _slots(own: WorkerSettings, options: WorkerOptions) -> dict[str, int]:
    """The pools that are served, and how much is taken from each at once."""
    slots = {}
    if own.serve != "chunks":
        slots[PARENTS_POOL] = PARENT_SLOTS
    if own.serve != "parents":
        slots[CHUNKS_POOL] = options.count
    return slots


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
        except (StoreAway, _NotYetError) as error:
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


def _introduce(site: Site, slots: Mapping[str, int], models: Sequence[ModelSpec]) -> None:
    """Look whether the server has our pools, and state there what this worker is."""
    with connected() as client:
        for name in slots:
            try:
                wrong = not_ours(client.read_work_pool(name))
            except ObjectNotFound:
                raise _NotYetError(
                    f"no work pool '{name}' at {server_name()}; run 'kontext deploy'"
                ) from None
            if wrong:
                raise WorkerError(wrong)
        measure_skew(client)
        if CHUNKS_POOL in slots:
            numerics = choose_numerics(None, site.settings.device)
            state(client, site.worker, slots[CHUNKS_POOL], models, numerics)


# --- what it shows


def _metrics(site: Site, slots: Mapping[str, int]) -> Metrics:
    pool = site.pool
    return Metrics(
        site.worker,
        site.counts,
        Scheduler(slots=slots.get(CHUNKS_POOL, 0)),
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


def _page(site: Site, seats: list[Seat], metrics: Metrics) -> HealthPage:
    host, port = site.settings.metrics_host, site.settings.metrics_port or 0

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
        return HealthPage(host, port, health, text)
    except OSError as error:
        raise WorkerError(
            f"port {port} of {host} cannot be had ({error.strerror}); expected a free one; give "
            "--metrics-port another, or 0 for any"
        ) from error
