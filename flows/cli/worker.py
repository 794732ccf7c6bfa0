"""``kontext worker``: carry out flow runs, on engines that stay loaded, from Prefect's pools."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated, Literal

import typer

from flows.cli import ExitCode, told
from flows.cli.options import Batch, effective


def worker(
    *,
    serve: Annotated[
        Literal["chunks", "parents", "both"],
        typer.Option(
            help="chunks: pictures, on engines; parents: recipes and nights, which need none.",
        ),
    ] = "both",
    store: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="The store that is looked after; default: the setting. Runs may name others.",
        ),
    ] = None,
    recipes: Annotated[
        str,
        typer.Option(metavar="PLACE", help="Where recipes are: a folder or s3://bucket/prefix."),
    ] = "recipes",
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="A model to serve, by name or folder; default: all on this machine. Repeat.",
        ),
    ] = None,
    engines: Annotated[
        int | None,
        typer.Option(min=1, help="Engine processes; default: one for each GPU, or 1."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads of each engine on the CPU; default: all."),
    ] = None,
    batch: Batch = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Serve /health/live, /health/ready and /metrics on 127.0.0.1; 0: any port, "
            "which is printed.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What Prefect calls it; default: the host's name.")
    ] = None,
    engine: Annotated[str | None, typer.Option(metavar="MODULE:FUNCTION", hidden=True)] = None,
    tempo: Annotated[
        str, typer.Option(metavar="NAME=SECONDS,...", hidden=True)
    ] = "",  # for trials on one machine
) -> None:
    """Carry out flow runs from Prefect's pools; needs PREFECT_API_URL.

    SIGTERM or Ctrl-C hands back what is in hand and ends; a second one ends at once. Restarting it
    is the service manager's work.
    """
    from flows.engines.loading import KONTEXT
    from flows.scheduling.workers.name import NoNameError, claim_name
    from flows.scheduling.workers.options import WorkerOptions

    _log_to_stderr()
    settings = effective(store=store, batch=batch)
    options = WorkerOptions(
        engines=engines, threads=threads, batch=settings.batch, engine=engine or KONTEXT
    )
    from flows.scheduling.running import Serving, WorkerError, run_worker
    from flows.scheduling.server import NoServerError
    from flows.scheduling.site import Tempo

    serving = Serving(
        serve=serve,
        options=options,
        settings=settings,
        recipes=recipes,
        models=tuple(models or ()),
        metrics_port=metrics_port,
        tempo=Tempo(**_tempo(tempo)),
    )
    with told(wrong=(NoNameError, NoServerError, WorkerError)):
        done = run_worker(claim_name(name), serving, typer.echo)
    _leave(ExitCode.DONE if done else ExitCode.FAILED)


def _tempo(text: str) -> dict[str, float]:
    pairs = (part.partition("=") for part in text.split(",") if part)
    return {name.strip(): float(value) for name, _, value in pairs}


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
