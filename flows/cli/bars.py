"""A bar on stderr for what takes a while; a line every ten seconds where stderr is no terminal."""

from __future__ import annotations

import time
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

EVERY = 10.0  # seconds between two lines
USUAL = (MofNCompleteColumn(), TimeRemainingColumn())


@contextmanager
def bar(
    what: str, columns: tuple[ProgressColumn, ...] = USUAL, **fields: Any
) -> Iterator[Callable[..., None]]:
    """The call that moves it: ``completed``, ``total`` and ``description``, all by name."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console, what, fields)
        return
    shown = (TextColumn("{task.description}", markup=False), BarColumn(), *columns)
    with Progress(*shown, console=console, transient=True) as progress:
        yield partial(progress.update, progress.add_task(what, total=None, **fields))


class _Lines:
    """How far it is, for a log: called as a bar is moved, it says so every ten seconds."""

    def __init__(self, console: Console, what: str, fields: dict[str, Any]) -> None:
        self._console = console
        self._now: dict[str, Any] = {"description": what, "completed": None, "total": None}
        self._fields = fields
        self._told = time.monotonic()

    def __call__(self, **moved: Any) -> None:
        for name, value in moved.items():
            (self._fields if name in self._fields else self._now)[name] = value
        if time.monotonic() - self._told < EVERY:
            return
        self._told = time.monotonic()
        done, total = self._now["completed"], self._now["total"]
        counted = "" if done is None else f"{done:,} of {total:,}" if total else f"{done:,}"
        parts = [self._now["description"], *(self._fields.values() or [counted])]
        self._console.print(*filter(None, parts), markup=False, highlight=False, soft_wrap=True)
