"""Ctrl-C and SIGTERM between steps only: a checkpoint of half a step would resume to other
weights.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def whole_steps() -> Iterator[Callable[[], bool]]:
    """Within it the first Ctrl-C or SIGTERM is only noted, a second one interrupts at once.

    Yields a function that tells whether there was one. Outside the main thread Python
    delivers no signals, and the answer is always no.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            signal.default_int_handler(number, frame)
        pressed = True

    former = {kind: signal.signal(kind, note) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: pressed
    finally:
        for kind, handler in former.items():
            signal.signal(kind, handler)
