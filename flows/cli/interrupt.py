"""Ctrl-C and SIGTERM during a run: when it waits for a good moment, and when it does not."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flows.run.events import EngineLoaded, EngineLoading, Event, Started


class Interrupts:
    """Turns the wish to stop into one that the run is asked for, or into ``KeyboardInterrupt``.

    Hand ``hear`` to the run as a listener and ``asked`` as its cancel signal. While pictures are
    made the first wish is only noted: the run asks at each denoise step. While it plans, reads
    the store or loads a model nobody asks, so the wish takes effect at once; so does a second.
    """

    def __init__(self, noted: Callable[[], None]) -> None:
        self._noted = noted
        self._asks = False
        self._stop = threading.Event()

    def asked(self) -> bool:
        """Whether the run is to stop."""
        return self._stop.is_set()

    def hear(self, event: Event) -> None:
        """Follow where the run is."""
        match event:
            case Started() | EngineLoaded():
                self._asks = True
            case EngineLoading():
                self._asks = False

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Within it the signals come here."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:  # noqa: ARG002 - a handler's signature
        again = self._stop.is_set()
        self._stop.set()
        if again or not self._asks:
            raise KeyboardInterrupt
        self._noted()
