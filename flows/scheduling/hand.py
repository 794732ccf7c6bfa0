"""What a process has in hand: one execution of one flow run each, under its lease.

A body asks ``look`` wherever it waits and at every step; it raises ``Stop`` when the body has to
end. ``Stop`` is a kind of Prefect's ``Abort``: ``run_flow`` lets it pass and sets no state.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from prefect.exceptions import Abort

from flows.store.leases import Lease

Pause = Callable[[float], None]

STEP = 0.5  # seconds between two looks while a body waits


class Why(StrEnum):
    """Why a body ends before its work does."""

    LOST = "lost"  # somebody else has its lease
    DRAIN = "drain"  # this process was told to stop
    CANCEL = "cancel"  # people have cancelled it, or what stands above it
    SUSPEND = "suspend"  # people have suspended it
    WAIT = "wait"  # people have suspended what stands above it
    LACKING = "lacking"  # this worker has not the model that it needs
    AWAY = "away"  # the store was away for longer than is waited for


class Stop(Abort):
    """A body ends here."""

    def __init__(self, why: Why, words: str = "") -> None:
        super().__init__(words or why.value)
        self.why = why


@dataclass(eq=False)
class Hand:
    """One execution. ``said`` is what people want of it, set by whoever asks the server.

    ``above`` are the flow runs it works for. ``stopped`` is called once, from any thread, when it
    must stop at once: it ends waiting for an engine, or the engine's work.
    """

    run: UUID
    name: str
    worker: str
    lease: Lease
    above: tuple[UUID, ...] = ()
    queue: str = ""
    draining: threading.Event = field(default_factory=threading.Event)
    said: Why | None = None
    closing: bool = False  # it was cancelled, and ends in its own way: what people say is known
    stopped: Callable[[], None] | None = None

    def why(self) -> Why | None:
        """Why it has to end, if it has to."""
        if self.lease.lost:
            return Why.LOST
        # What people say of it comes before our own end: they are not asked again.
        if self.said is not None and not self.closing:
            return self.said
        return Why.DRAIN if self.draining.is_set() else None

    def at_once(self) -> bool:
        """Whether the engine must stop in the middle of a picture."""
        return self.why() in {Why.LOST, Why.DRAIN, Why.CANCEL}

    def look(self) -> None:
        """Raise ``Stop`` if it has to end."""
        why = self.why()
        if why is not None:
            raise Stop(why)


_mine = threading.local()


def current() -> Hand | None:
    """The hand of this thread's body."""
    return getattr(_mine, "hand", None)


def become(hand: Hand | None) -> None:
    """This thread's body works under ``hand`` from now on."""
    _mine.hand = hand


def mine() -> Hand:
    """The hand of this thread's body.

    Raises:
        LookupError: this thread carries out no body.
    """
    hand = current()
    if hand is None:
        raise LookupError("this thread carries out no flow run")
    return hand


def look() -> None:
    """Raise ``Stop`` if this thread's body has to end; nothing where there is none."""
    hand = current()
    if hand is not None:
        hand.look()


def pause(seconds: float) -> None:
    """Wait so long; a body that has to end ends."""
    end = time.monotonic() + seconds
    look()
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(STEP, left))
        look()
