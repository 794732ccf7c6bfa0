"""``kontext coordinator``: the process that takes runs from Prefect and sees them through."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from typing import Annotated

import typer

from flows.cli import ExitCode
from flows.cli.deploy import DEFAULT_RECIPES
from flows.cli.options import OnDevice, Store, chosen

STOP_LIMIT = 30.0  # seconds after SIGTERM until a supervisor kills; nothing is lost by that


def coordinator(
    *,
    store: Store = None,
    recipes: Annotated[
        str,
        typer.Option(
            "--recipes",
            metavar="PLACE",
            help="Where recipes are found by name: a folder or s3://bucket/prefix.",
        ),
    ] = DEFAULT_RECIPES,
    device: OnDevice = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="What Prefect calls this process; default: by the host."),
    ] = None,
    lease: Annotated[
        float | None,
        typer.Option(
            "--lease",
            min=1,
            metavar="SECONDS",
            help="After so long without a sign of life another coordinator takes over.",
        ),
    ] = None,
    patience: Annotated[
        float | None,
        typer.Option(
            "--patience",
            min=1,
            metavar="SECONDS",
            help="After so long without progress a worker is taken for dead.",
        ),
    ] = None,
    supervised: Annotated[
        bool,
        typer.Option(
            "--supervised/--no-supervised", help="Start it again whenever it dies, however."
        ),
    ] = True,
) -> None:
    """Take runs from Prefect, cut them for the workers, publish what they have made.

    One is active for a store; a second one stands by. It may be killed at any time: the next one
    goes on. The Prefect server is the one that PREFECT_API_URL names.
    """
    if supervised:
        raise typer.Exit(_supervise())
    from flows.coordination.conductor import Patience
    from flows.coordination.seat import LEASE
    from flows.coordinator import CoordinatorOptions, NoServerError, coordinate
    from flows.store.base import StoreError

    _log_to_stderr()
    options = CoordinatorOptions(
        chosen(store=store, device=device),
        recipes,
        name or f"coordinator {socket.gethostname()} {os.getpid()}",
        Patience(lease=patience, pickup=patience) if patience else Patience(),
        lease=lease or LEASE,
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    code = ExitCode.DONE
    try:
        coordinate(options, stop)
    except NoServerError as error:
        typer.echo(str(error), err=True)
        code = ExitCode.WRONG
    except StoreError as error:
        typer.echo(str(error), err=True)
        code = ExitCode.FAILED
    # Without leaving claims' contexts, which would take the claims away: the runs go on.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _supervise() -> int:
    from flows.supervise import supervise

    again = [sys.executable, "-m", "flows.cli", *sys.argv[1:], "--no-supervised"]
    return supervise(again, name="kontext coordinator", stop_limit=STOP_LIMIT)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("flows")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # Prefect has a handler of its own on the root
