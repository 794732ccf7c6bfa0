"""An attempt: one execution of one flow run by this process, under its lease.

A body asks ``look`` wherever it waits and at every step; it raises ``Stop`` when the body has to
end. ``Stop`` is a kind of Prefect's ``Abort``: ``run_flow`` lets it pass and sets no state.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.exceptions import Abort

from flows.store.leases import Lease

if TYPE_CHECKING:
    from flows.scheduling.site import Site

STEP = 0.5  # seconds between two looks while a body waits
ABOVE = "above:"  # the tag that names a run above


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
class Attempt:
    """``said`` is what people want of it, set by whoever asks the server.

    ``above`` are the flow runs it works for. ``stopped`` is called once, from any thread, when it
    must stop at once: it ends waiting for an engine, or the engine's work.
    """

    site: Site
    run: UUID
    name: str
    lease: Lease
    above: tuple[UUID, ...] = ()
    queue: str = ""
    said: Why | None = None
    closing: bool = False  # it was cancelled, and ends in its own way: what people say is known
    stopped: Callable[[], None] | None = None

    @property
    def tags(self) -> list[str]:
        """Of a run that works for it, and for all above it."""
        return [f"{ABOVE}{one}" for one in (*self.above, self.run)]

    def why(self) -> Why | None:
        """Why it has to end, if it has to."""
        if self.lease.lost:
            return Why.LOST
        # What people say of it comes before our own end: they are not asked again.
        if self.said is not None and not self.closing:
            return self.said
        return Why.DRAIN if self.site.draining.is_set() else None

    def at_once(self) -> bool:
        """Whether the engine must stop in the middle of a picture."""
        return self.why() in {Why.LOST, Why.DRAIN, Why.CANCEL}

    def look(self) -> None:
        """Raise ``Stop`` if it has to end."""
        why = self.why()
        if why is not None:
            raise Stop(why)

    def be_sure(self) -> None:
        """Raise ``Stop`` unless the store says that its lease is its own; before publishing."""
        if not self.lease.sure(pause):
            raise Stop(Why.LOST)


_mine = threading.local()


def become(attempt: Attempt | None) -> None:
    """This thread's body works for ``attempt`` from now on."""
    _mine.attempt = attempt


def mine() -> Attempt:
    """The attempt of this thread's body.

    Raises:
        LookupError: it has none: a flow was called by hand.
    """
    attempt: Attempt | None = getattr(_mine, "attempt", None)
    if attempt is None:
        raise LookupError(
            "this flow is carried out by 'kontext worker' alone, which holds a lease on it; order "
            "it with 'kontext run --prefect' or in the dashboard"
        )
    return attempt


def pause(seconds: float) -> None:
    """Wait so long; a body that has to end ends."""
    attempt: Attempt | None = getattr(_mine, "attempt", None)
    end = time.monotonic() + seconds
    while True:
        if attempt is not None:
            attempt.look()
        if (left := end - time.monotonic()) <= 0:
            return
        time.sleep(min(STEP, left))
