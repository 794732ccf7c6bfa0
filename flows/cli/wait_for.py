"""``kontext wait-for``: start another program when what it needs is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import told

if TYPE_CHECKING:
    from flows.up.waiting import Ask


def wait_for(
    context: typer.Context,
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WHAT... -- COMMAND",
            help="host:port; http://… of a page; 'server': Prefect's, by PREFECT_API_URL; "
            "'store': the setting's, tried out.",
        ),
    ] = None,
    *,
    log: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What COMMAND prints goes to its end; one of more than 10 MB is set aside first.",
        ),
    ] = None,
    pid: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Leave word there which process it is.")
    ] = None,
    environment: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Variables for it: lines 'export NAME=value'."),
    ] = None,
    user: Annotated[
        str, typer.Option(metavar="NAME", help="Run it as this user; root alone may.")
    ] = "",
    wait: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Give up after so long; default: never."),
    ] = None,
) -> None:
    """Wait for each WHAT, telling so every ten seconds, then become COMMAND.

    COMMAND is killed when whoever started this process ends, so that nobody starts a second one
    beside it.
    """
    parent = os.getppid()
    from flows.up import UpError
    from flows.up.launch import Launch, become, read_variables
    from flows.up.waiting import ask_for
    from flows.up.waiting import wait_for as wait_until

    command: list[str] = context.obj
    with told(wrong=(UpError,)):
        if not command:
            raise UpError("no command; expected: kontext wait-for WHAT -- COMMAND; add one")
        if environment is not None:
            os.environ.update(read_variables(environment))
        asks = {one: _ask(one) or ask_for(one) for one in what or ()}
        for one, ask in asks.items():
            wait_until(one, ask, lambda text: typer.echo(text, err=True), wait)
        become(Launch(command, log, pid, environment, user), parent)


def _ask(what: str) -> Ask | None:
    """How one looks for what this process's settings name."""
    from flows.up.waiting import store_lacks

    if what == "server":
        return _server
    return store_lacks if what == "store" else None


def _server() -> str:
    from flows.up import UpError
    from flows.up.waiting import page

    url, auth = os.environ.get("PREFECT_API_URL"), os.environ.get("PREFECT_API_AUTH_STRING", "")
    if not url:
        raise UpError(
            "PREFECT_API_URL is not set; expected the address of a Prefect server, such as "
            "http://127.0.0.1:4200/api; set it"
        )
    user, _, password = auth.partition(":")
    return page(f"{url.rstrip('/')}/ready", (user, password) if auth else None)
