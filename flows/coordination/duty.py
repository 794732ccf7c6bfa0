"""A worker's part: one attempt at one chunk, under a lease that only real progress renews."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from flows.coordination.ledger import AttemptName, Lease, Ledger, LedgerError, Result, StepSheet
from flows.execution.events import Denoising, EngineLoaded, Event, Listener, Settled, both, ignore
from flows.execution.execute import CancelSignal, EngineFactory, run_plan
from flows.execution.outcome import Ending, Outcome, State
from flows.recipe.planfile import sub_plan
from flows.recipe.step import Plan
from flows.store.base import StoreError
from flows.store.keyed import KeyedStore

RENEW_EVERY = 5.0  # seconds, at most this often
LOOK_EVERY = 2.0  # seconds between two looks at whether this attempt is still wanted


@dataclass(frozen=True, slots=True)
class Station:
    """Where attempts are carried out: who, with what engines, stopped how.

    ``moved`` tells when engines last moved for it (``time.monotonic``): while a model is loaded, or
    others' work is waited for, nothing is heard of the run itself.
    """

    holder: str
    engine: Callable[[Plan, int], EngineFactory]
    draining: CancelSignal
    cancelled: CancelSignal
    hear: Listener = ignore
    renew_every: float = RENEW_EVERY
    moved: Callable[[], float] = lambda: float("-inf")


def do_chunk(store: KeyedStore, attempt: AttemptName, station: Station) -> Result | None:
    """Carry out an attempt; ``None`` when it is not wanted any more, or is somebody else's.

    Raises:
        StoreError: the store went away and stayed away; the lease runs out.
    """
    ledger = Ledger(store.objects)
    if ledger.is_fenced(attempt):
        return None
    order, plan, chunks = (
        ledger.order(attempt.run), ledger.plan(attempt.run), ledger.chunks(attempt.run)
    )  # fmt: skip
    if order is None or plan is None or chunks is None:
        return None
    sheet = next((chunk for chunk in chunks.chunks if chunk.name == attempt.chunk), None)
    if sheet is None:
        raise LedgerError(f"active/{attempt.run}/chunks.json: has no chunk '{attempt.chunk}'")
    if not ledger.take(attempt, Lease(holder=station.holder)):
        return None
    watch = _Watch(ledger, attempt, station)
    with watch:
        part = sub_plan(plan, sheet.keys)
        began = time.monotonic()
        outcome = run_plan(
            part,
            store,
            station.engine(part, order.batch),
            on_event=both(watch.hear, station.hear),
            cancelled=watch.unwanted,
        )
        result = _result(outcome, sheet.keys, station, time.monotonic() - began)
    if watch.fenced:
        return None
    ledger.settle(attempt, result)
    return result


def _result(outcome: Outcome, keys: tuple[str, ...], station: Station, seconds: float) -> Result:
    wanted = set(keys)
    ends = {key: end for key, end in outcome.steps.items() if key in wanted}
    made = [end.record for end in ends.values() if end.state is State.DONE and end.record]
    return Result(
        holder=station.holder,
        steps={key: StepSheet.of(end) for key, end in ends.items()},
        seconds=seconds,
        engine_seconds=sum(record.seconds for record in made),
        handed_back=outcome.ending is Ending.INTERRUPTED and station.draining(),
        why=outcome.why,
    )


@dataclass
class _Watch:
    """A thread that renews the lease when there was progress, and sees when to stop."""

    ledger: Ledger
    attempt: AttemptName
    station: Station
    fenced: bool = False
    _progress: int = 0
    _done: int = 0
    _cancelled: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> _Watch:
        self._thread = threading.Thread(
            target=self._work, name=f"lease {self.attempt}", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def hear(self, event: Event) -> None:
        """Count what shows that work goes on."""
        if isinstance(event, (Denoising, Settled, EngineLoaded)):
            self._progress += 1
        if isinstance(event, Settled):
            self._done += 1

    def unwanted(self) -> bool:
        """Whether to stop: asked at every denoise step."""
        station = self.station
        return self.fenced or self._cancelled or station.cancelled() or station.draining()

    def _work(self) -> None:
        told, renewed, looked = 0, time.monotonic(), time.monotonic()
        pause = min(LOOK_EVERY, self.station.renew_every) / 4
        while not self._stop.wait(pause):
            now = time.monotonic()
            try:
                if now - looked >= LOOK_EVERY:
                    looked = now
                    self.fenced = self.fenced or self.ledger.is_fenced(self.attempt)
                    self._cancelled = self._cancelled or self.ledger.is_cancelled(self.attempt.run)
                if now - renewed < self.station.renew_every:
                    continue
                if self._progress == told and self.station.moved() > renewed:
                    self._progress += 1  # the same words again would be no news
                if self._progress > told:
                    told, renewed = self._progress, now
                    self.ledger.renew(
                        self.attempt,
                        Lease(holder=self.station.holder, progress=told, done=self._done),
                    )
            except StoreError:
                continue  # the store is away: the work itself will say so, or the lease runs out
