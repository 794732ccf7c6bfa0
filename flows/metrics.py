"""What a worker tells Prometheus: ``Counts`` grow as things happen, ``Metrics`` is the page."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flows.execution.events import Event, Settled
from flows.execution.outcome import State
from flows.resident.stats import EngineStats, resident_bytes

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
WINDOW = 60.0  # seconds that rates and shares are taken over
LOOK = 5.0  # seconds between two looks, at least


class Counts:
    """Steps and attempts by how they ended; any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: Counter[State] = Counter()
        self._attempts: Counter[str] = Counter()

    def hear(self, event: Event, own: Collection[str] | None = None) -> None:
        """A listener of runs. ``own`` are the keys that are to be made; ``None``: all.

        What else is found is an ancestor that was looked up on the way: each chunk below it would
        count it again.
        """
        if isinstance(event, Settled):
            found, key = event.outcome.state is State.CACHED, event.key
            if found and own is not None and key not in own:
                return
            with self._lock:
                self._steps[event.outcome.state] += 1

    def ended(self, end: str) -> None:
        """An attempt has ended."""
        with self._lock:
            self._attempts[end] += 1

    @property
    def steps(self) -> Mapping[State, int]:
        """Steps that were found, made, failed or blocked."""
        with self._lock:
            return dict(self._steps)

    @property
    def attempts(self) -> Mapping[str, int]:
        """Attempts by their ends."""
        with self._lock:
            return dict(self._attempts)


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
    _busy: dict[int, Recent] = field(default_factory=dict)
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
            yield from self._of_work()
            yield from self._of_engines(engines)
            yield from self._of_memory(engines)

    def _of_work(self) -> Iterator[Metric]:
        scheduler, silence = self.scheduler, self.scheduler.silence()
        yield _gauge("worker_info", "1, with the worker's name.", {(self.worker,): 1}, "worker")
        yield _gauge(
            "queue_depth", "Chunks that wait in the scheduler's queue for any worker.",
            {(queue,): depth for queue, depth in scheduler.queued.items()}, "queue",
        )  # fmt: skip
        yield _gauge("chunks_in_hand", "Chunks picked up and not ended.", {(): scheduler.in_hand})
        yield _gauge("chunk_slots", "Chunks that can be in hand at once.", {(): scheduler.slots})
        yield _gauge("leases_held", "Chunks being carried out under a lease.", {(): self.leases()})
        yield _gauge("engine_waiters", "Chunks that wait for an engine.", {(): self.waiting()})
        if silence is not None:
            text = "Seconds since the scheduler last answered."
            yield _gauge("scheduler_silence_seconds", text, {(): silence})
        yield _counter(
            "chunks", "Chunks that ended, by how.",
            {(end,): count for end, count in self.counts.attempts.items()}, "end",
        )  # fmt: skip
        steps = self.counts.steps
        yield _counter(
            "steps", "Steps of chunks that were found or made, by how they ended.",
            {(state.value,): steps.get(state, 0) for state in State if state is not State.PENDING},
            "state",
        )  # fmt: skip
        found = steps.get(State.CACHED, 0)
        yield _counter("cache_hits", "Steps of chunks that were in the store already.", {(): found})

    def _of_engines(self, engines: Sequence[EngineStats]) -> Iterator[Metric]:
        edits, busy = self._rates(engines)
        yield _gauge("edits_per_second", f"Edits, over the last {WINDOW:.0f} s.", {(): edits})
        yield _gauge(
            "engine_busy_ratio", f"Share of the last {WINDOW:.0f} s at work or loading.",
            {(str(number),): share for number, share in busy.items()}, "engine",
        )  # fmt: skip
        for name, text, value in _ENGINE_COUNTERS:
            yield _counter(
                name, text, {(str(one.number),): value(one) for one in engines}, "engine"
            )
        yield _gauge(
            "engine_state", "1 for the state that each engine process is in.",
            {(str(one.number), one.state.value, one.model): 1 for one in engines},
            "engine", "state", "model",
        )  # fmt: skip

    def _of_memory(self, engines: Sequence[EngineStats]) -> Iterator[Metric]:
        yield _gauge(
            "engine_memory_bytes", "Resident memory of each engine process.",
            {(str(one.number),): one.memory for one in engines}, "engine",
        )  # fmt: skip
        own = resident_bytes(os.getpid())
        yield _gauge("worker_memory_bytes", "Resident memory of the worker itself.", {(): own})
        yield _gauge(
            "gpu_memory_bytes", "Memory in use on each GPU, whoever uses it.",
            {(gpu,): used for gpu, used in self.gpus().items()}, "gpu",
        )  # fmt: skip

    def _rates(self, engines: Sequence[EngineStats]) -> tuple[float, Mapping[int, float]]:
        edits = self._edits.rate(sum(one.edits for one in engines))
        return edits, {
            one.number: min(1.0, self._busy.setdefault(one.number, Recent()).rate(one.busy_seconds))
            for one in engines
        }


_ENGINE_COUNTERS: tuple[tuple[str, str, Callable[[EngineStats], float]], ...] = (
    ("edits", "Pictures computed.", lambda one: one.edits),
    ("engine_batches", "Batches computed.", lambda one: one.batches),
    ("engine_busy_seconds", "Seconds at work or loading.", lambda one: one.busy_seconds),
    ("engine_restarts", "Processes started after the first.", lambda one: one.restarts),
    ("model_loads", "Models loaded.", lambda one: one.loads),
)

_Values = Mapping[tuple[str, ...], float]


def _gauge(name: str, text: str, values: _Values, *labels: str) -> Metric:
    family = GaugeMetricFamily(f"kontext_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family


def _counter(name: str, text: str, values: _Values, *labels: str) -> Metric:
    family = CounterMetricFamily(f"kontext_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family
