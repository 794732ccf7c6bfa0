"""``kontext worker``: carry out flow runs, on engines that stay loaded, from Prefect's pools."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Literal

import typer

from flows.cli import ExitCode, told
from flows.cli.logs import begin_log
from flows.cli.options import (
    Batch,
    LogFormat,
    LogLevel,
    MetricsHost,
    MetricsPort,
    Recipes,
    effective,
)


def worker(
    *,
    serve: Annotated[
        Literal["chunks", "parents", "both"] | None,
        typer.Option(
            help="chunks: pictures, on engines; parents: recipes and nights, which need none; "
            "default: the setting, else both.",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="The store that is looked after; default: the setting. Runs may name others.",
        ),
    ] = None,
    recipes: Recipes = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="A model to serve, by name or folder; default: the setting, else all on this "
            "machine. Repeat.",
        ),
    ] = None,
    engines: Annotated[
        int | None,
        typer.Option(help="Engine processes; default: the setting, else one for each GPU, or 1."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Threads of each engine on the CPU; default: the setting, else all."),
    ] = None,
    batch: Batch = None,
    metrics_host: MetricsHost = None,
    metrics_port: MetricsPort = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    name: Annotated[
        str | None,
        typer.Option(help="What Prefect calls it; default: the setting, else the host's name."),
    ] = None,
    engine: Annotated[str | None, typer.Option(metavar="MODULE:FUNCTION", hidden=True)] = None,
    tempo: Annotated[
        str, typer.Option(metavar="NAME=SECONDS,...", hidden=True)
    ] = "",  # for trials on one machine
) -> None:
    """Carry out flow runs from Prefect's pools; needs PREFECT_API_URL.

    SIGTERM or Ctrl-C hands back what is in hand and ends; a second one ends at once. Restarting it
    is the service manager's work. Each option is a setting, too, and a KONTEXT_ variable.
    """
    settings = effective(
        store=store,
        recipes=recipes,
        batch=batch,
        metrics_host=metrics_host,
        metrics_port=metrics_port,
        log_format=log_format,
        log_level=log_level,
        worker={
            "serve": serve,
            "name": name,
            "engines": engines,
            "threads": threads,
            "models": tuple(models) if models else None,
        },
    )
    say = begin_log(settings)
    from flows.engines.loading import KONTEXT
    from flows.scheduling.running import WorkerError, run_worker
    from flows.scheduling.server import NoServerError
    from flows.scheduling.site import Tempo
    from flows.scheduling.workers.name import NoNameError, claim_name

    with told(wrong=(NoNameError, NoServerError, WorkerError)):
        own = claim_name(settings.worker.name)
        done = run_worker(own, settings, say, engine or KONTEXT, Tempo(**_tempo(tempo)))
    _leave(ExitCode.DONE if done else ExitCode.FAILED)


def _tempo(text: str) -> dict[str, float]:
    pairs = (part.partition("=") for part in text.split(",") if part)
    return {name.strip(): float(value) for name, _, value in pairs}


def _leave(code: ExitCode) -> None:
    # Prefect's threads would wait for a server that may be away; all there was to say is said.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
