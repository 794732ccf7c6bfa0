"""Several engine processes, lent to whoever has edits to make, and started again when they die."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from flows.resident.backoff import Backoff
from flows.resident.errors import EngineDied, EnginesStopping
from flows.resident.job import Tally
from flows.resident.lending import Waiter, next_loan
from flows.resident.messages import Model
from flows.resident.options import EngineState, ProcessOptions
from flows.resident.process import EngineProcess
from flows.resident.stats import HOPELESS, EngineStats, resident_bytes
from kontext_engine.errors import Cancelled

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Place:
    """One of the pool's engines through all its processes, one after the other.

    ``idle`` is the pool's own knowledge, moved by what it is told and by lending alone: a
    process's own state may already be ahead of what the pool has heard of.
    """

    options: ProcessOptions
    tally: Tally
    process: EngineProcess
    idle: bool = False
    restarts: int = 0
    failures: int = 0  # to start, in a row
    last_death: str = ""
    timer: threading.Timer | None = field(default=None, repr=False)

    @property
    def working(self) -> bool:
        """Whether it is lent."""
        up = self.process.state not in {EngineState.STARTING, EngineState.DEAD}
        return up and not self.idle


class EnginePool:
    """``count`` engine processes, numbered from 1; each is lent to one borrower at a time.

    ``gpus`` are what each may see (``CUDA_VISIBLE_DEVICES``), in turn; without, all see all.
    """

    def __init__(
        self,
        count: int,
        options: ProcessOptions | None = None,
        *,
        gpus: Sequence[str] = (),
        backoff: Backoff | None = None,
    ) -> None:
        if count < 1:
            raise ValueError(f"{count} engines: expected at least 1")
        self._backoff = backoff or Backoff()
        self._changed = threading.Condition()
        self._arrivals = itertools.count()
        self._waiting: list[Waiter] = []
        self._known: set[Model] = set()
        self._closing = False
        self._places: dict[int, _Place] = {}
        options = options or ProcessOptions()
        for number in range(1, count + 1):
            seen = gpus[(number - 1) % len(gpus)] if gpus else options.gpu
            own, tally = replace(options, gpu=seen), Tally()
            self._places[number] = _Place(own, tally, self._process(number, own, tally))

    # --- its life

    def start(self) -> EnginePool:
        """Start every process; returns before they are up."""
        with self._changed:
            for place in self._places.values():
                place.process.start()
        return self

    def drain(self, limit: float) -> bool:
        """Lend nothing more and wait until no engine works; whether that came within ``limit`` s.

        Those who wait for an engine get ``EnginesStopping``.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self.busy, limit)

    def close(self, limit: float = 10.0) -> None:
        """Stop all processes within a denoise step; kill what has not ended after ``limit`` s."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            timers = [place.timer for place in self._places.values() if place.timer is not None]
            processes = [place.process for place in self._places.values()]
        for timer in timers:
            timer.cancel()
        started = [process for process in processes if process.pid is not None]
        for process in started:
            process.ask_to_stop()
        until = time.monotonic() + limit
        for process in started:
            if not process.wait(EngineState.DEAD, limit=max(0.0, until - time.monotonic())):
                process.kill()
                process.wait(EngineState.DEAD)

    def __enter__(self) -> EnginePool:
        return self.start()

    def __exit__(self, *ended: object) -> None:
        self.close()

    # --- what is known of it

    def __len__(self) -> int:
        return len(self._places)

    def stats(self) -> tuple[EngineStats, ...]:
        """Each engine as it is now."""
        with self._changed:
            places = list(self._places.items())
        return tuple(_stats(number, place) for number, place in places)

    @property
    def busy(self) -> int:
        """How many engines are lent."""
        with self._changed:
            return sum(place.working for place in self._places.values())

    @property
    def waiting(self) -> int:
        """How many wait for an engine."""
        with self._changed:
            return len(self._waiting)

    def progressed(self) -> float:
        """When an engine's work last moved (``time.monotonic``); 0 if all are idle."""
        with self._changed:
            active = [place.process for place in self._places.values() if not place.idle]
        return max((process.progressed for process in active), default=0.0)

    def knows(self, model: Model) -> bool:
        """Whether some engine here has loaded ``model`` before."""
        with self._changed:
            return model in self._known

    # --- lending

    def waiter(self, model: Model, priority: int) -> Waiter:
        """A turn in the queue, to be handed to ``borrow``; a lower ``priority`` goes first."""
        return Waiter(model, priority, next(self._arrivals))

    def borrow(self, waiter: Waiter) -> EngineProcess:
        """Wait for an idle engine; it is the caller's until the one job given to it is over.

        It may have died since it was lent: then giving it a job raises ``EngineDied``.

        Raises:
            Cancelled: ``withdraw`` was called.
            EnginesStopping: the pool is being stopped.
            EngineDied: no engine process can be started.
        """
        with self._changed:
            self._waiting.append(waiter)
            self._lend()
            try:
                while waiter.lent is None:
                    self._check(waiter)
                    self._changed.wait()
            except BaseException:
                if waiter.lent is not None:  # interrupted when it had just been lent one
                    self.give_back(waiter.lent)
                else:
                    self._waiting.remove(waiter)
                raise
            return waiter.lent

    def withdraw(self, waiter: Waiter) -> None:
        """End its waiting, now or as soon as it begins."""
        with self._changed:
            waiter.cancelled = True
            self._changed.notify_all()

    def give_back(self, process: EngineProcess) -> None:
        """Return an engine that was borrowed but given no job."""
        with self._changed:
            place = self._places[process.number]
            if place.process is process and process.state is EngineState.IDLE:
                place.idle = True
                self._lend()
                self._changed.notify_all()

    def _check(self, waiter: Waiter) -> None:
        if waiter.cancelled:
            raise Cancelled("asked to stop")
        if self._closing:
            raise EnginesStopping("the engines are being stopped")
        places = self._places.values()
        if all(place.failures >= HOPELESS for place in places):
            why = next(place.last_death for place in places)
            raise EngineDied(f"no engine process can be started: {why}", began=False)

    def _lend(self) -> None:
        """Give idle engines to those who wait; under the lock."""
        while not self._closing:
            places = self._places.items()
            idle = {number: place.process.model for number, place in places if place.idle}
            waiter = next_loan([one for one in self._waiting if not one.cancelled], idle)
            if waiter is None or waiter.engine is None:
                return
            place = self._places[waiter.engine]
            place.idle, waiter.lent = False, place.process
            self._waiting.remove(waiter)
            self._changed.notify_all()

    # --- following the processes

    def _process(self, number: int, options: ProcessOptions, tally: Tally) -> EngineProcess:
        return EngineProcess(options, number, tally, self._follow)

    def _follow(self, process: EngineProcess, state: EngineState) -> None:
        """A process has come to a state; its ends and rests are told in order, by its listener."""
        with self._changed:
            place = self._places[process.number]
            if process.model is not None:
                self._known.add(process.model)
            if state is EngineState.IDLE:
                place.failures, place.idle = 0, True
                self._lend()
            elif state is EngineState.DEAD:
                place.idle = False
                place.last_death = process.death
                if not self._closing:
                    self._replace(place)
            self._changed.notify_all()

    def _replace(self, place: _Place) -> None:
        dead = place.process
        # Who died at work is back at once: its work's attempts are counted elsewhere. Who died
        # before it was of any use would only do so again, and again.
        place.failures = 0 if dead.proven else place.failures + 1
        place.restarts += 1
        delay = self._backoff.delay(place.failures)
        log.warning("%s; another one starts in %g s", dead.death, delay)
        place.process = self._process(dead.number, place.options, place.tally)
        place.timer = threading.Timer(delay, self._start_later, [place.process])
        place.timer.daemon = True
        place.timer.start()

    def _start_later(self, process: EngineProcess) -> None:
        with self._changed:  # so that closing finds it started, or never will be
            if not self._closing:
                process.start()


def _stats(number: int, place: _Place) -> EngineStats:
    process, tally = place.process, place.tally
    given = process.busy_since
    running = time.monotonic() - given if given is not None else 0.0
    return EngineStats(
        number=number,
        pid=process.pid,
        state=process.state,
        model=process.model.spec.name if process.model is not None else "",
        process_loads=process.loads,
        loads=tally.loads,
        restarts=place.restarts,
        failures=place.failures,
        busy_seconds=tally.busy_seconds + running,
        batches=tally.batches,
        edits=tally.edits,
        since=process.since,
        memory=resident_bytes(process.pid),
        last_death=place.last_death,
    )
