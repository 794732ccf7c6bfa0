"""What a worker tells Prometheus: ``Counts`` grow as things happen, ``Metrics`` is the page."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import (
    CollectorRegistry,
    Counter,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flows.engines.stats import EngineStats, resident_bytes
from flows.run.events import Event, Settled
from flows.run.outcome import State

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
WINDOW = 60.0  # seconds that rates and shares are taken over
LOOK = 5.0  # seconds between two looks, at least

disable_created_metrics()  # type: ignore[no-untyped-call]  # a line more for each counter


class Counts:
    """Steps and attempts by how they ended; any thread may add."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._attempts = self._counter("chunks", "Chunks that ended, by how.", "end")
        self._steps = self._counter(
            "steps", "Steps of chunks that were found or made, by how they ended.", "state"
        )
        self._hits = self._counter("cache_hits", "Steps of chunks that were in the store already.")
        for state in set(State) - {State.PENDING}:
            self._steps.labels(state.value)  # told from the start, as 0

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"kontext_{name}", text, labels, registry=self.registry)

    def hear(self, event: Event, own: Collection[str] | None = None) -> None:
        """A listener of runs. ``own`` are the keys that are to be made; ``None``: all.

        What else is found is an ancestor that was looked up on the way: each chunk below it would
        count it again.
        """
        if isinstance(event, Settled):
            found, key = event.outcome.state is State.CACHED, event.key
            if found and own is not None and key not in own:
                return
            self._steps.labels(event.outcome.state.value).inc()
            self._hits.inc(found)

    def ended(self, end: str) -> None:
        """An attempt has ended."""
        self._attempts.labels(end).inc()


class Recent:
    """How much something that only grows has grown per second, over about the last ``WINDOW``."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, float]] = deque([(clock(), 0.0)])

    def rate(self, value: float) -> float:
        """Per second, now that it is ``value``."""
        now = self._clock()
        while len(self._seen) > 1 and now - self._seen[1][0] >= WINDOW:
            self._seen.popleft()
        then, before = self._seen[0]
        if now - self._seen[-1][0] >= LOOK:
            self._seen.append((now, value))
        return (value - before) / (now - then) if now > then else 0.0


@dataclass(slots=True)
class Scheduler:
    """What a worker knows of its scheduler: set by whoever asks it, read by the page."""

    queued: dict[str, int] = field(default_factory=dict)  # chunks that wait, by queue
    in_hand: int = 0
    slots: int = 0
    answered: float | None = None  # when it last did (time.monotonic)

    def silence(self) -> float | None:
        """Seconds since it last answered; ``None`` when it never did."""
        return None if self.answered is None else time.monotonic() - self.answered


@dataclass(frozen=True, eq=False)
class Metrics(Collector):
    """All of a worker. Each reading asks ``engines``, ``leases`` and ``gpus`` anew."""

    worker: str
    counts: Counts
    scheduler: Scheduler
    engines: Callable[[], Sequence[EngineStats]]
    waiting: Callable[[], int]
    leases: Callable[[], int]
    gpus: Callable[[], Mapping[str, int]] = dict
    _edits: Recent = field(default_factory=Recent)
    _busy: dict[str, Recent] = field(default_factory=dict)
    _reading: threading.Lock = field(default_factory=threading.Lock)

    def text(self) -> bytes:
        """The page in Prometheus' text format; asked often enough, its rates are right."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def look(self) -> None:
        """Keep the rates' windows filled while nobody reads the page."""
        with self._reading:
            self._rates(self.engines())

    def collect(self) -> Iterator[Metric]:
        """What there is, as Prometheus' library asks for it."""
        with self._reading:
            engines = self.engines()
            yield from self.counts.registry.collect()
            yield from self._of_work()
            yield from self._of_engines(engines)

    def _of_work(self) -> Iterator[Metric]:
        scheduler, silence = self.scheduler, self.scheduler.silence()
        yield _gauge("worker_info", "1, with the worker's name.", {self.worker: 1}, "worker")
        text = "Chunks that wait in the scheduler's queue for any worker."
        yield _gauge("queue_depth", text, scheduler.queued, "queue")
        yield _gauge("chunks_in_hand", "Chunks picked up and not ended.", scheduler.in_hand)
        yield _gauge("chunk_slots", "Chunks that can be in hand at once.", scheduler.slots)
        yield _gauge("leases_held", "Chunks being carried out under a lease.", self.leases())
        yield _gauge("engine_waiters", "Chunks that wait for an engine.", self.waiting())
        if silence is not None:
            text = "Seconds since the scheduler last answered."
            yield _gauge("scheduler_silence_seconds", text, silence)
        own = resident_bytes(os.getpid())
        yield _gauge("worker_memory_bytes", "Resident memory of the worker itself.", own)
        text = "Memory in use on each GPU, whoever uses it."
        yield _gauge("gpu_memory_bytes", text, self.gpus(), "gpu")

    def _of_engines(self, engines: Sequence[EngineStats]) -> Iterator[Metric]:
        edits, busy = self._rates(engines)
        yield _gauge("edits_per_second", f"Edits, over the last {WINDOW:.0f} s.", edits)
        text = f"Share of the last {WINDOW:.0f} s at work or loading."
        yield _gauge("engine_busy_ratio", text, busy, "engine")
        memory = {str(one.number): one.memory for one in engines}
        yield _gauge(
            "engine_memory_bytes", "Resident memory of each engine process.", memory, "engine"
        )
        states = GaugeMetricFamily(
            "kontext_engine_state",
            "1 for the state that each engine process is in.",
            labels=("engine", "state", "model"),
        )
        for one in engines:
            states.add_metric([str(one.number), one.state.value, one.model], 1)
        yield states
        for name, (text, value) in _ENGINE_COUNTERS.items():
            family = CounterMetricFamily(f"kontext_{name}", text, labels=("engine",))
            for one in engines:
                family.add_metric([str(one.number)], value(one))
            yield family

    def _rates(self, engines: Sequence[EngineStats]) -> tuple[float, Mapping[str, float]]:
        edits = self._edits.rate(sum(one.edits for one in engines))
        return edits, {
            number: min(1.0, self._busy.setdefault(number, Recent()).rate(one.busy_seconds))
            for one in engines
            if (number := str(one.number))
        }


_ENGINE_COUNTERS: Mapping[str, tuple[str, Callable[[EngineStats], float]]] = {
    "edits": ("Pictures computed.", lambda one: one.edits),
    "engine_batches": ("Batches computed.", lambda one: one.batches),
    "engine_busy_seconds": ("Seconds at work or loading.", lambda one: one.busy_seconds),
    "engine_restarts": ("Processes started after the first.", lambda one: one.restarts),
    "model_loads": ("Models loaded.", lambda one: one.loads),
}


def _gauge(name: str, text: str, value: float | Mapping[str, float], label: str = "") -> Metric:
    """One value, or one for each value of ``label``."""
    if not isinstance(value, Mapping):
        return GaugeMetricFamily(f"kontext_{name}", text, value=value)
    family = GaugeMetricFamily(f"kontext_{name}", text, labels=(label,))
    for key, one in value.items():
        family.add_metric([key], one)
    return family
