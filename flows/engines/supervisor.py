"""One engine through all its processes: listens to each, notices how it ends, starts another.

Everything that a process says is read at once by a thread of its own, so it never waits for
whoever encodes and uploads its pictures: it is free for the next job as soon as it has computed.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace

from flows.engines.errors import EngineDied, EnginesStopping, EngineStalled
from flows.engines.exit_reason import exit_reason
from flows.engines.job import Job
from flows.engines.messages import Began, Broken, Ended, Model, Stop, Tiding
from flows.engines.options import EngineState, ProcessOptions
from flows.engines.process import EngineProcess
from flows.engines.stats import EngineStats, resident_bytes
from kontext_engine.api import EditResult, Phase, StepProgress

log = logging.getLogger(__name__)


class EngineSupervisor:
    """Engine ``number`` of a pool. ``changed`` is the pool's lock, told of each change of state."""

    def __init__(self, number: int, options: ProcessOptions, changed: threading.Condition) -> None:
        self.model: Model | None = None
        self.known: set[Model] = set()  # what it has ever held
        self._options = options
        self._changed = changed
        self._stats = EngineStats(number)
        self._started = False
        self._closing = False
        self._jobs = 0
        self._job: Job | None = None
        # Of the present process:
        self._process: EngineProcess | None = None
        self._proven = False  # it was given work: its death is then no trouble of starting
        self._last_words = ""
        self._stalled = 0.0
        self._heard = 0  # signs of life

    @property
    def state(self) -> EngineState:
        """What it is doing."""
        return self._stats.state

    @property
    def hopeless(self) -> bool:
        """Whether it cannot be started, as far as anybody can tell."""
        return self._stats.hopeless

    def stats(self) -> EngineStats:
        """All that is told of it."""
        with self._changed:
            job, stats = self._job, self._stats
            running = time.monotonic() - job.asked if job is not None else 0.0
            return replace(
                stats,
                model=self.model.spec.name if self.model is not None else "",
                busy_seconds=stats.busy_seconds + running,
                memory=resident_bytes(stats.pid),
            )

    # --- what is asked of it

    def start(self) -> None:
        """Start the first process; returns before it is up."""
        self._started = True
        name = f"engine-{self._stats.number}"
        threading.Thread(target=self._keep_alive, name=name, daemon=True).start()

    def take(self, model: Model, ids: tuple[str, ...]) -> Job:
        """Have it, idle as it is, for one job; under the lock."""
        if self._process is None or self.state is not EngineState.IDLE:
            raise RuntimeError(f"engine {self._stats.number} is {self.state}, not idle")
        self._jobs += 1
        self._job = Job(self._jobs, self._process, model, ids)
        self._proven = True
        self._heard += 1
        self._enter(EngineState.BUSY)
        return self._job

    def stop(self) -> None:
        """Have it stop within a denoise step and end for good; returns at once."""
        with self._changed:
            self._closing = True
            if not self._started:
                self._enter(EngineState.DEAD)
            self._changed.notify_all()
            process = self._process
        if process is not None:
            process.tell_soon(Stop())

    def kill(self) -> None:
        """End its process now."""
        if self._process is not None:
            self._process.kill()

    # --- its processes, one after the other

    def _keep_alive(self) -> None:
        while not self._closing:
            self._live()
            with self._changed:
                delay = self._options.backoff.delay(self._stats.failures)
                self._changed.wait_for(lambda: self._closing, delay)
        with self._changed:
            self._enter(EngineState.DEAD)

    def _live(self) -> None:
        """One process from its start to its end; that it cannot be started is an end like any."""
        self._proven, self._last_words, self._stalled = False, "", 0.0
        with self._changed:  # so that whoever stops this finds a process, or none will be
            if self._closing:
                return
            try:
                self._process = process = EngineProcess(self._options)
            except OSError as error:
                self._last_words = f"it cannot be started: {error.strerror or error}"
                self._end(None)
                return
            self._stats.pid = process.pid
        over = threading.Event()
        threading.Thread(target=self._watch, args=(process, over), daemon=True).start()
        self._listen(process)
        over.set()
        code = process.reap()
        with self._changed:
            self._end(code)

    def _listen(self, process: EngineProcess) -> None:
        while True:
            try:
                tiding = process.listen()
            except (EOFError, OSError):
                return
            except Exception as error:
                log.exception("engine %s cannot be understood", self._stats.number)
                self._last_words = f"what it said cannot be read ({error})"
                process.kill()
                return
            with self._changed:
                self._heard += 1
                self._follow(tiding)

    def _follow(self, tiding: Tiding) -> None:
        stats, job = self._stats, self._job
        match tiding:
            case EngineState():
                if tiding is EngineState.LOADING:
                    self.model = None
                elif job is not None:  # it has loaded
                    self.model = job.model
                    self.known.add(job.model)
                    stats.loads += 1
                else:  # it is up
                    stats.failures = 0
                self._enter(tiding)
            case Broken(reason=reason):
                self._last_words = reason
            case EditResult():
                stats.edits += 1
            case Began() if job is not None:
                job.began = True
            case StepProgress() if job is not None:
                job.at = tiding
                stats.batches += tiding.phase is Phase.ENCODE
            case Ended():
                self._rest()
                self._enter(EngineState.IDLE)
        if job is not None:
            job.inbox.put(tiding)

    def _rest(self) -> None:
        if self._job is not None:
            self._stats.busy_seconds += time.monotonic() - self._job.asked
        self._job = None

    def _enter(self, state: EngineState) -> None:
        self._stats.state = state
        self._changed.notify_all()

    def _watch(self, process: EngineProcess, over: threading.Event) -> None:
        # Silence is counted in looks, not read off the clock: when this process was itself
        # suspended, the signs of life that came meanwhile are not read yet.
        limits = self._options.limits
        heard, silent = self._heard, 0.0
        while not over.wait(limits.look):
            limit = limits.of(self.state)
            if limit is None or self._heard != heard:
                heard, silent = self._heard, 0.0
                continue
            silent += limits.look
            if silent > limit:
                self._stalled = limit
                process.kill()
                return

    def _end(self, code: int | None) -> None:
        stats, job = self._stats, self._job
        who = f"engine {stats.number}" + (f" (pid {stats.pid})" if stats.pid else "")
        how, more = exit_reason(code, self._last_words, self._stalled, stopped=self._closing)
        stats.last_death = death = f"{who} {how} {self._work()}{more}"
        if job is not None:
            kind = EngineStalled if self._stalled else EngineDied
            error = kind(death, began=job.began)
            job.inbox.put(EnginesStopping(death) if self._closing else error)
        self._rest()
        self._process = self.model = None
        if self._closing:
            return
        # Who died at work is back at once: its work's attempts are counted elsewhere. Who died
        # before it was of any use would only do so again, and again.
        stats.failures = 0 if self._proven else stats.failures + 1
        stats.restarts += 1
        delay = self._options.backoff.delay(stats.failures)
        log.warning("%s; another one starts in %g s", death, delay)
        stats.pid = None
        self._enter(EngineState.STARTING)

    def _work(self) -> str:
        job = self._job
        if job is None:
            return f"while {self.state}"
        name = job.model.spec.name
        if self.state is EngineState.LOADING:
            return f"while loading model '{name}'"
        return f"while working on {job.place}" if job.ids else f"when asked to load model '{name}'"
