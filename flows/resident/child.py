"""An engine process: ``python -m flows.resident.child``, started by ``EngineProcess`` only.

Holds one model and answers jobs one after the other. It is killed with its parent; it leaves
Ctrl-C and SIGTERM, which reach whole process groups, to the parent, which may want to drain.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from flows.resident.channel import Channel
from flows.resident.loading import KONTEXT, EngineLoader, find_loader
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
    Ready,
    Refused,
    Run,
    Stats,
    Stop,
    pack_answer,
    unpack_requests,
)
from flows.resident.tether import die_with_parent
from kontext_engine.api import Engine, EngineOptions, StepProgress
from kontext_engine.calllog import CallLog
from kontext_engine.errors import Cancelled, EngineError

log = logging.getLogger("kontext.engine")

BROKEN = 70  # exit code after an unexpected error (EX_SOFTWARE of sysexits.h)


@dataclass(frozen=True, slots=True)
class ChildOptions:
    """What the command line says."""

    channel: int
    parent: int
    engine: str = KONTEXT
    batch: int = 8
    call_log: str | None = None


class _Inbox:
    """Reads the parent's orders in a thread, so that a cancel is seen while the engine works."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._jobs: queue.SimpleQueue[Load | Run | Stop] = queue.SimpleQueue()
        self._cancelled = 0  # every job up to this number
        self._stopping = False
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def next(self) -> Load | Run | Stop:
        return self._jobs.get()

    def unwanted(self, job: int) -> bool:
        return self._stopping or job <= self._cancelled

    def _read(self) -> None:
        while True:
            try:
                order = self._channel.receive()
            except (EOFError, OSError):
                os._exit(0)  # the parent is gone: nobody waits for what is being computed
            if isinstance(order, Cancel):
                self._cancelled = max(self._cancelled, order.job)
            else:
                self._stopping = self._stopping or isinstance(order, Stop)
                self._jobs.put(order)


class _Server:
    """Holds the model; carries out one job at a time."""

    def __init__(self, channel: Channel, options: ChildOptions, loader: EngineLoader) -> None:
        self._channel = channel
        self._options = options
        self._loader = loader
        self._inbox = _Inbox(channel)
        self._engine: Engine | None = None
        self._model: Model | None = None
        self._stats = Stats()

    def serve(self) -> int:
        """Answer until told to stop; the process's exit code."""
        self._channel.send(Ready())
        while not isinstance(order := self._inbox.next(), Stop):
            if not self._carry_out(order):
                return BROKEN
        return 0

    def _carry_out(self, order: Load | Run) -> bool:
        """Whether this process may go on."""
        cancelled, refusal = False, None
        began = time.monotonic()
        try:
            engine = self._engine_for(order)
            if isinstance(order, Run):
                self._answer(order, engine)
        except Cancelled:
            cancelled = True
        except EngineError as error:
            refusal = error
        except (BrokenPipeError, ConnectionResetError):
            raise  # the parent is gone
        except Exception as error:
            # Whatever it was, the engine's state is unknown now (after a CUDA error the device
            # answers nothing any more): a fresh process is the way back.
            log.exception("the engine failed")
            self._channel.send(Broken(describe(error)))
            return False
        seconds = self._stats.seconds + time.monotonic() - began
        self._stats = replace(self._stats, seconds=seconds)
        if refusal is None:
            self._channel.send(Ended(order.job, cancelled, self._stats))
        else:
            kind = type(refusal).__name__
            self._channel.send(Refused(order.job, kind, str(refusal), self._stats))
        return True

    def _engine_for(self, order: Load | Run) -> Engine:
        self._stop_if_unwanted(order.job)
        if self._engine is not None and self._model == order.model:
            return self._engine
        self._channel.send(Loading(order.job))
        self._engine, self._model = None, None
        gc.collect()  # two models at once may not fit
        began = time.monotonic()
        calls = CallLog(self._options.call_log)
        calls.write("load", [order.model.spec.name])
        self._engine = self._loader(
            order.model.spec,
            EngineOptions(order.model.numerics, self._options.batch, self._options.call_log),
        )
        self._model = order.model
        seconds = time.monotonic() - began
        self._stats = replace(self._stats, loads=self._stats.loads + 1)
        log.info("loaded %s in %.1f s", order.model.spec.name, seconds)
        self._channel.send(Loaded(order.job, order.model, seconds, self._stats.loads))
        return self._engine

    def _answer(self, order: Run, engine: Engine) -> None:
        def on_step(progress: StepProgress) -> None:
            self._channel.send(Denoised(order.job, progress))
            self._stop_if_unwanted(order.job)

        self._stop_if_unwanted(order.job)
        self._channel.send(Began(order.job))
        for answer in engine.run(unpack_requests(order.requests), on_step):
            self._channel.send(Answered(order.job, pack_answer(answer)))
            self._stats = replace(self._stats, answers=self._stats.answers + 1)

    def _stop_if_unwanted(self, job: int) -> None:
        if self._inbox.unwanted(job):
            raise Cancelled("asked to stop")


def describe(error: Exception) -> str:
    """An unexpected error in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _offer_to_the_oom_killer() -> None:
    # An engine comes back within seconds; its worker holds the queue, so it should live.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _options() -> ChildOptions:
    parser = argparse.ArgumentParser(prog="kontext engine process")
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--engine", default=KONTEXT)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--call-log")
    return ChildOptions(**vars(parser.parse_args()))


def main() -> int:
    """Serve the parent named on the command line until it says stop, or is gone."""
    options = _options()
    die_with_parent(options.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    faulthandler.enable()
    logging.basicConfig(format=f"%(asctime)s engine {os.getpid()}: %(message)s")
    log.setLevel(logging.INFO)
    _offer_to_the_oom_killer()
    channel = Channel(socket.socket(fileno=options.channel))
    try:
        loader = find_loader(options.engine)
    except Exception as error:
        log.exception("the engine cannot be imported")
        channel.send(Broken(describe(error)))
        return BROKEN
    return _Server(channel, options, loader).serve()


if __name__ == "__main__":
    code = 0
    with suppress(BrokenPipeError, ConnectionResetError):  # the parent is gone
        code = main()
    sys.stderr.flush()
    os._exit(code)  # at once: after a device error the interpreter's own ending may hang
