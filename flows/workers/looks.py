"""What a worker does again and again, however often Prefect does not answer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio

log = logging.getLogger(__name__)


async def again_and_again(work: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Every so many seconds, for ever; sooner after a failure, which is told once."""
    failures = 0
    while True:
        try:
            await work()
            failures = 0
        except Exception as error:
            failures += 1
            complain(error, failures)
        await anyio.sleep(min(seconds, 2.0**failures) if failures else seconds)


def complain(error: Exception, failures: int) -> None:
    """Log what is the ``failures``-th in a row."""
    log.log(logging.WARNING if failures == 1 else logging.DEBUG, "Prefect: %s", in_words(error))


def in_words(error: Exception) -> str:
    """An error in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
