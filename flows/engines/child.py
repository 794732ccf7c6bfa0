"""An engine process: ``python -m flows.engines.child``, started by ``EngineSupervisor`` only.

Holds one model and answers jobs one after the other. It is killed with its parent; it leaves
Ctrl-C and SIGTERM, which reach whole process groups, to the parent, which may want to drain.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import queue
import signal
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from flows.engines.guard import die_with_parent
from flows.engines.loading import EngineLoader, find_loader
from flows.engines.messages import (
    Began,
    Broken,
    Cancel,
    Ended,
    Model,
    Run,
    Stop,
    Tiding,
)
from flows.engines.options import EngineState, ProcessOptions
from flows.settings.logs import JsonLines
from kontext_engine.api import Engine, EngineOptions, StepProgress
from kontext_engine.calllog import CallLog
from kontext_engine.errors import Cancelled, EngineError

log = logging.getLogger("kontext.engine")

BROKEN = 70  # exit code after an unexpected error (EX_SOFTWARE of sysexits.h)


class _Inbox:
    """Reads the parent's orders in a thread, so that a cancel is seen while the engine works."""

    def __init__(self, parent: Connection) -> None:
        self._parent = parent
        self._jobs: queue.SimpleQueue[Run | Stop] = queue.SimpleQueue()
        self._cancelled = 0  # every job up to this number
        self._stopping = False
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def next(self) -> Run | Stop:
        return self._jobs.get()

    def stop_if_unwanted(self, job: int) -> None:
        if self._stopping or job <= self._cancelled:
            raise Cancelled("asked to stop")

    def _read(self) -> None:
        while True:
            try:
                order = self._parent.recv()
            except (EOFError, OSError):
                os._exit(0)  # the parent is gone: nobody waits for what is being computed
            if isinstance(order, Cancel):
                self._cancelled = max(self._cancelled, order.job)
            else:
                self._stopping = self._stopping or isinstance(order, Stop)
                self._jobs.put(order)


class _Server:
    """Holds the model; carries out one job at a time."""

    def __init__(self, parent: Connection, options: ProcessOptions, loader: EngineLoader) -> None:
        self._parent = parent
        self._options = options
        self._loader = loader
        self._inbox = _Inbox(parent)
        self._engine: Engine | None = None
        self._model: Model | None = None

    def serve(self) -> int:
        """Answer until told to stop; the process's exit code."""
        self._tell(EngineState.IDLE)
        while isinstance(order := self._inbox.next(), Run):
            error: EngineError | None = None
            try:
                self._carry_out(order)
            except EngineError as raised:
                error = raised
            except (BrokenPipeError, ConnectionResetError):
                raise  # the parent is gone
            except Exception as unexpected:
                # Whatever it was, the engine's state is unknown now (after a CUDA error the device
                # answers nothing any more): a fresh process is the way back.
                log.exception("the engine failed")
                self._tell(Broken(describe(unexpected)))
                return BROKEN
            self._tell(Ended(error))
        return 0

    def _carry_out(self, order: Run) -> None:
        def on_step(progress: StepProgress) -> None:
            self._tell(progress)
            self._inbox.stop_if_unwanted(order.job)

        self._inbox.stop_if_unwanted(order.job)
        engine = self._engine
        if engine is None or self._model != order.model:
            engine = self._load(order.model)
        if not order.requests:
            return
        self._inbox.stop_if_unwanted(order.job)
        self._tell(Began())
        for answer in engine.run(order.requests, on_step):
            self._tell(answer)

    def _load(self, model: Model) -> Engine:
        self._tell(EngineState.LOADING)
        self._engine, self._model = None, None
        gc.collect()  # two models at once may not fit
        began = time.monotonic()
        options = self._options
        CallLog(options.call_log).write("load", [model.spec.name])
        engine_options = EngineOptions(model.numerics, options.batch, options.call_log)
        self._engine = engine = self._loader(model.spec, engine_options)
        self._model = model
        log.info("loaded %s in %.1f s", model.spec.name, time.monotonic() - began)
        self._tell(EngineState.BUSY)
        return engine

    def _tell(self, tiding: Tiding) -> None:
        self._parent.send(tiding)


def describe(error: Exception) -> str:
    """An unexpected error in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _begin_log() -> None:
    """On stderr, which is the worker's, in the form that the worker has said."""
    logging.basicConfig(format=f"%(asctime)s engine {os.getpid()}: %(message)s")
    if os.environ.get("KONTEXT_LOG_FORMAT") == "json":
        logging.root.handlers[0].setFormatter(JsonLines())


def main(parent: int, handle: int) -> int:
    """Serve the process that is named, at the other end of ``handle``, until it says stop."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    faulthandler.enable()
    _begin_log()
    log.setLevel(logging.INFO)
    with suppress(OSError):
        # An engine comes back within seconds; its worker holds the queue, so it should live.
        Path("/proc/self/oom_score_adj").write_text("500")
    pipe: Any = Connection(handle)
    try:
        options = pipe.recv()
        loader = find_loader(options.engine)
    except Exception as error:
        log.exception("the engine cannot be imported")
        pipe.send(Broken(describe(error)))
        return BROKEN
    return _Server(pipe, options, loader).serve()


if __name__ == "__main__":
    code = 0
    with suppress(BrokenPipeError, ConnectionResetError):  # the parent is gone
        code = main(*map(int, sys.argv[1:]))
    sys.stderr.flush()
    os._exit(code)  # at once: after a device error the interpreter's own ending may hang
