"""From options to a worker that works: its engines, its page, its end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import anyio
import httpx
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_URL

from flows.worker import KontextWorker
from flows.workers.health import HealthPage
from flows.workers.looks import in_words
from flows.workers.name import Name
from flows.workers.options import WorkerOptions
from flows.workers.workshop import Workshop


class WorkerError(Exception):
    """The worker cannot begin; the message says why and what to do."""


def run_worker(
    name: Name,
    options: WorkerOptions,
    *,
    metrics_port: int | None = None,
    say: Callable[[str], None],
) -> bool:
    """Work until SIGTERM or SIGINT; whether everything in hand was handed back in time.

    Raises:
        WorkerError: no server is named, it does not let us in, or the port is taken.
    """
    api = PREFECT_API_URL.value()
    if not api:
        raise WorkerError(
            "PREFECT_API_URL is not set; expected the address of a Prefect server, such as "
            "http://127.0.0.1:4200/api; start one with 'prefect server start' and set it"
        )
    pool = options.engine_pool()
    shop = Workshop(name.holder, pool)
    worker = KontextWorker(name, shop, options)
    with ExitStack() as stack:
        if metrics_port is not None:
            page = _page(worker, metrics_port)
            say(f"metrics {stack.enter_context(page).url}/metrics")
        stack.enter_context(pool)
        say(
            f"worker '{name.text}' (pid {os.getpid()}): {len(pool)} engines, at most "
            f"{options.slots} chunks in hand, pool '{options.pool}' at {api}"
        )
        try:
            return anyio.run(_serve, worker)
        except (httpx.HTTPError, PrefectException) as error:
            raise WorkerError(f"Prefect at {api}: {in_words(error)}") from error


async def _serve(worker: KontextWorker) -> bool:
    with _signals(worker.stop):
        return await worker.serve()


def _page(worker: KontextWorker, port: int) -> HealthPage:
    try:
        return HealthPage(port, worker.health, worker.metrics.text)
    except OSError as error:
        raise WorkerError(
            f"port {port} cannot be had ({error.strerror}); expected a free one; give "
            "--metrics-port another, or 0 for any"
        ) from error


@contextmanager
def _signals(handle: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
