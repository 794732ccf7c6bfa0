"""``kontext worker``: take chunks of runs from Prefect's queue and make them."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

from flows.cli import ExitCode

STOP_MARGIN = 30.0  # seconds beyond the drain before a supervisor kills


def worker(
    *,
    pool: Annotated[
        str | None, typer.Option("--pool", metavar="NAME", help="Another work pool than 'kontext'.")
    ] = None,
    queues: Annotated[
        list[str] | None,
        typer.Option("--queue", metavar="NAME", help="Only this queue of the pool. Repeat to add."),
    ] = None,
    engines: Annotated[
        int | None,
        typer.Option("--engines", min=1, help="Engine processes; default: one for each GPU, or 1."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="Threads of each engine on the CPU; default: all."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch", min=1, help="The most pictures computed together; default: the setting."
        ),
    ] = None,
    prefetch: Annotated[
        int | None,
        typer.Option(
            "--prefetch",
            min=0,
            help="Chunks in hand beyond one for each engine; default: as many again.",
        ),
    ] = None,
    drain_seconds: Annotated[
        float,
        typer.Option("--drain-seconds", min=0, help="How long SIGTERM may take to hand back."),
    ] = 60.0,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port",
            min=0,
            max=65535,
            help="Serve /health/live, /health/ready and /metrics on 127.0.0.1; 0: any port, "
            "which is printed.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="What Prefect calls it; default: the host's name.")
    ] = None,
    supervised: Annotated[
        bool,
        typer.Option(
            "--supervised/--no-supervised", help="Start it again whenever it dies, however."
        ),
    ] = True,
    engine: Annotated[
        str | None, typer.Option("--engine", metavar="MODULE:FUNCTION", hidden=True)
    ] = None,
) -> None:
    """Make chunks of runs, on engines that stay loaded; needs PREFECT_API_URL.

    SIGTERM or Ctrl-C hands back what is in hand and ends; a second one ends at once.
    """
    if supervised:
        raise typer.Exit(_supervise(drain_seconds))
    from flows.cli.options import chosen
    from flows.orchestration.names import CHUNKS_POOL
    from flows.resident.loading import KONTEXT
    from flows.workers.name import NoNameError, claim_name
    from flows.workers.options import WorkerOptions

    _log_to_stderr()
    options = WorkerOptions(
        pool=pool or CHUNKS_POOL,
        queues=tuple(queues or ()),
        engines=engines,
        threads=threads,
        batch=chosen(batch=batch).batch,
        prefetch=prefetch,
        drain_seconds=drain_seconds,
        engine=engine or KONTEXT,
    )
    from flows.workers.running import WorkerError, run_worker

    try:
        claimed = claim_name(name)
        done = run_worker(claimed, options, metrics_port=metrics_port, say=typer.echo)
    except (NoNameError, WorkerError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.WRONG) from None
    _leave(ExitCode.DONE if done else ExitCode.FAILED)


def _supervise(drain_seconds: float) -> int:
    from flows.supervise import supervise

    again = [sys.executable, "-m", "flows.cli", *sys.argv[1:], "--no-supervised"]
    return supervise(again, name="kontext worker", stop_limit=drain_seconds + STOP_MARGIN)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("flows")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # Prefect has a handler of its own on the root


def _leave(code: ExitCode) -> None:
    # Prefect's threads would wait for a server that may be away; all there was to say is said.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
