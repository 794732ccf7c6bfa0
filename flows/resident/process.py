"""The parent's side of one engine process: starts it, hands it jobs, notices how it ends.

Everything that it says is read at once by a thread of its own, so the process never waits for
whoever encodes and uploads its pictures: it is free for the next job as soon as it has computed.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable

from flows.resident.channel import Channel
from flows.resident.errors import EngineDied, EnginesStopping, EngineStalled
from flows.resident.job import Job, Tally, doing
from flows.resident.messages import (
    Answered,
    Began,
    Broken,
    Cancel,
    Denoised,
    Ended,
    Load,
    Loaded,
    Loading,
    Model,
    PackedRequest,
    PackedResult,
    Ready,
    Refused,
    Run,
    Stop,
    Tiding,
)
from flows.resident.obituary import how_it_ended
from flows.resident.options import EngineState, ProcessOptions
from flows.resident.tether import spawn
from kontext_engine.api import Phase

log = logging.getLogger(__name__)


class EngineProcess:
    """One engine process, from its start to its death; a dead one is replaced, not revived.

    ``on_change`` is told, from any thread and without locks, each state that it comes to.
    """

    def __init__(
        self,
        options: ProcessOptions | None = None,
        number: int = 1,
        tally: Tally | None = None,
        on_change: Callable[[EngineProcess, EngineState], None] | None = None,
    ) -> None:
        self.number = number
        self.tally = tally or Tally()
        self.death = ""
        self.loads = 0
        self._options = options or ProcessOptions()
        self._on_change = on_change or (lambda *_: None)
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._state = EngineState.STARTING
        self._since = time.time()
        self._heard = self._asked = time.monotonic()
        self._model: Model | None = None
        self._job: Job | None = None
        self._jobs = 0
        self._channel: Channel | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._last_words = ""
        self._stalled = 0.0
        self._stopping = False

    # --- what it is

    @property
    def pid(self) -> int | None:
        """Its process id; none if it never started."""
        return self._process.pid if self._process is not None else None

    @property
    def state(self) -> EngineState:
        """What it is doing."""
        return self._state

    @property
    def model(self) -> Model | None:
        """What it holds."""
        return self._model

    @property
    def since(self) -> float:
        """When it came to its state (Unix time, seconds)."""
        return self._since

    @property
    def progressed(self) -> float:
        """When its work last moved (``time.monotonic``).

        Between two signs of life it counts as moving until the limit for that: whether it hangs is
        judged once, by ``_watch``, which knows what it is doing. One that was judged and does not
        die, as in a driver, moves no more.
        """
        borne = self._options.limits.of(self._state) is not None and not self._stalled
        return time.monotonic() if borne else self._heard

    @property
    def proven(self) -> bool:
        """Whether it came up and was given work: its death is then no trouble of starting."""
        return self._jobs > 0

    @property
    def busy_since(self) -> float | None:
        """When it was given its present job (``time.monotonic``)."""
        return self._asked if self._job is not None else None

    # --- what is asked of it

    def start(self) -> None:
        """Start it and listen; that it cannot be started is a death like any other."""
        self._heard, self._since = time.monotonic(), time.time()
        ours, theirs = socket.socketpair()
        with theirs:
            command = self._options.command(theirs.fileno())
            environment = self._options.environment(os.environ)
            try:
                self._process = spawn(command, environment=environment, handles=[theirs.fileno()])
            except OSError as error:
                ours.close()
                self._last_words = f"it cannot be started: {error.strerror or error}"
                self._die(None)
                return
        self._channel = Channel(ours)
        for work in (self._listen, self._watch):
            name = f"engine-{self.number}-{work.__name__.strip('_')}"
            threading.Thread(target=work, name=name, daemon=True).start()

    def load(self, model: Model) -> Job:
        """Have it hold ``model``; it must be idle.

        Raises:
            EngineDied, EnginesStopping: it is dead already.
        """
        job = self._new_job(model)
        return self._send(job, Load(job.number, model))

    def run(self, model: Model, requests: tuple[PackedRequest, ...]) -> Job:
        """Have it answer ``requests``; it must be idle.

        Raises:
            EngineDied, EnginesStopping: it is dead already.
        """
        job = self._new_job(model, tuple(item.request.id for item in requests))
        return self._send(job, Run(job.number, model, requests))

    def cancel(self, job: Job) -> None:
        """Stop ``job`` within a denoise step, if it still goes on; returns at once."""
        job.inbox.put(Cancel(job.number))
        with self._changed:
            going_on = self._job is job
        if going_on:
            self._tell_soon(Cancel(job.number))

    def wait(self, *states: EngineState, limit: float | None = None) -> bool:
        """Wait until it is in one of ``states``; whether it is within ``limit`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._state in states, limit)

    def ask_to_stop(self) -> None:
        """Have it stop within a denoise step and end; returns at once."""
        self._stopping = True
        self._tell_soon(Stop())

    def kill(self) -> None:
        """End it now."""
        if self._process is not None:
            self._process.kill()

    # --- what it says

    def _new_job(self, model: Model, ids: tuple[str, ...] = ()) -> Job:
        with self._changed:
            if self._state is EngineState.DEAD:
                raise self._obituary(began=False)
            if self._state is not EngineState.IDLE:
                raise RuntimeError(f"engine {self.number} is {self._state}, not idle")
            self._jobs += 1
            self._job = job = Job(self._jobs, model, ids)
            self._heard = self._asked = time.monotonic()
            self._enter(EngineState.BUSY)
        self._on_change(self, EngineState.BUSY)
        return job

    def _send(self, job: Job, order: Load | Run) -> Job:
        try:
            self._tell(order)
        except BaseException:
            self.kill()  # half an order may have gone out
            raise
        return job

    def _tell(self, order: Load | Run | Cancel | Stop) -> None:
        try:
            if self._channel is not None:
                self._channel.send(order)
        except OSError:
            log.debug("engine %s is gone", self.number)  # the listener tells whoever waits

    def _tell_soon(self, order: Cancel | Stop) -> None:
        # By a thread of its own: a process that hangs may have left the socket full.
        threading.Thread(target=self._tell, args=(order,), name="order", daemon=True).start()

    def _listen(self) -> None:
        channel = self._channel
        while channel is not None:
            try:
                tiding = channel.receive()
            except (EOFError, OSError):
                break
            except Exception as error:
                log.exception("engine %s cannot be understood", self.number)
                self._last_words = f"what it said cannot be read ({error})"
                self.kill()
                break
            self._hear(tiding)
        self._die(self._process)
        if channel is not None:
            channel.close()

    def _hear(self, tiding: Tiding) -> None:
        with self._changed:
            self._heard = time.monotonic()
            before = self._state
            self._follow(tiding)
            after = self._state
        if after is not before:
            self._on_change(self, after)

    def _follow(self, tiding: Tiding) -> None:
        job = self._job
        match tiding:
            case Ready():
                self._enter(EngineState.IDLE)
                return
            case Broken(reason):
                self._last_words = reason
                return
            case Loading():
                self._model = None
                self._enter(EngineState.LOADING)
            case Loaded(model=model, loads=loads):
                self._model, self.loads = model, loads
                self.tally.loads += 1
                self._enter(EngineState.BUSY)
            case Answered(answer=PackedResult()):
                self.tally.edits += 1
            case Denoised(progress=progress):
                self.tally.batches += progress.phase is Phase.ENCODE
        if job is None:
            return
        match tiding:
            case Began():
                job.began = True
            case Denoised(progress=progress):
                job.at = progress
            case Ended() | Refused():
                self._rest()
        job.inbox.put(tiding)

    def _rest(self) -> None:
        self._job = None
        self.tally.busy_seconds += time.monotonic() - self._asked
        self._enter(EngineState.IDLE)

    def _enter(self, state: EngineState) -> None:
        if state is not self._state:
            self._state = state
            self._since = time.time()
            self._changed.notify_all()

    # --- how it ends

    def _watch(self) -> None:
        # Silence is counted in looks, not read off the clock: when this process was itself
        # suspended, the signs of life that came meanwhile are not read yet.
        limits = self._options.limits
        heard, silent = self._heard, 0.0
        while not self._over.wait(limits.look):
            limit = limits.of(self._state)
            if limit is None or self._heard != heard:
                heard, silent = self._heard, 0.0
                continue
            silent += limits.look
            if silent > limit:
                self._stalled = limit
                self.kill()
                return

    def _die(self, process: subprocess.Popen[bytes] | None) -> None:
        code = self._reap(process) if process is not None else None
        with self._changed:
            job, self._job = self._job, None
            self.death = how_it_ended(
                f"engine {self.number}" + (f" (pid {process.pid})" if process else ""),
                code,
                at=doing(self._state, job),
                words=self._last_words,
                stalled=self._stalled,
                stopped=self._stopping,
            )
            if job is not None:
                self.tally.busy_seconds += time.monotonic() - self._asked
                job.inbox.put(self._obituary(began=job.began))
            self._model = None
            self._enter(EngineState.DEAD)
        self._over.set()
        self._on_change(self, EngineState.DEAD)

    def _obituary(self, *, began: bool) -> EngineDied | EnginesStopping:
        if self._stopping:
            return EnginesStopping(self.death)
        kind = EngineStalled if self._stalled else EngineDied
        return kind(self.death, began=began)

    def _reap(self, process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(timeout=5)
        except subprocess.TimeoutExpired:  # it closed its socket, and hangs in its ending
            process.kill()
            return process.wait()
