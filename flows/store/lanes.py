"""Many small things at once: a request to S3 is mostly waiting, encoding is not Python's work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

LANES = 16  # requests on their way to a home that is far
AHEAD = 16  # items of each lane that wait: of 10^5 at once the futures alone are 150 MB

A = TypeVar("A")
B = TypeVar("B")


def in_lanes(ask: Callable[[A], B], items: Iterable[A], lanes: int) -> Iterator[tuple[A, B]]:
    """``ask`` of each item, ``lanes`` at once; in their order.

    The first that raises ends it: those that have not begun are let go.
    """
    asked = list(items)
    if lanes == 1 or len(asked) < 2:
        for item in asked:
            yield item, ask(item)
        return
    pool = ThreadPoolExecutor(min(lanes, len(asked)), thread_name_prefix="lane")
    ahead: deque[tuple[A, Future[B]]] = deque()
    try:
        for item in asked:
            ahead.append((item, pool.submit(ask, item)))
            if len(ahead) > AHEAD * lanes:
                first, answer = ahead.popleft()
                yield first, answer.result()
        for first, answer in ahead:
            yield first, answer.result()
    finally:
        pool.shutdown(cancel_futures=True)
