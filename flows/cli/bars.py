"""A bar on stderr for what takes a while; nothing where stderr is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

USUAL = (MofNCompleteColumn(), TimeRemainingColumn())


@contextmanager
def bar(
    what: str, columns: tuple[ProgressColumn, ...] = USUAL, **fields: Any
) -> Iterator[Callable[..., None]]:
    """The call that moves it: ``completed``, ``total`` and ``description``, all by name."""
    console = Console(stderr=True)
    shown = (TextColumn("{task.description}", markup=False), BarColumn(), *columns)
    off = not console.is_terminal
    with Progress(*shown, console=console, transient=True, disable=off) as progress:
        yield partial(progress.update, progress.add_task(what, total=None, **fields))
