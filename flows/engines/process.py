"""One engine process and the pipe to it, as the process that started it sees them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from multiprocessing import Pipe

from flows.engines.guard import spawn
from flows.engines.messages import Order, Tiding
from flows.engines.options import ProcessOptions

log = logging.getLogger(__name__)


class EngineProcess:
    """A started process; any thread may tell it something, one listens.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, options: ProcessOptions) -> None:
        self._sending = threading.Lock()
        self._pipe, theirs = Pipe()
        with theirs:
            handle = theirs.fileno()
            # -P: a file in the current folder must not stand in for a library.
            command = [sys.executable, "-P", "-m", "flows.engines.child"]
            command += [str(os.getpid()), str(handle)]
            environment = options.environment(os.environ)
            try:
                self._process = spawn(command, environment=environment, handle=handle)
            except OSError:
                self._pipe.close()
                raise
        self._send(options)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def tell(self, order: Order) -> None:
        """Hand over an order; one that is gone hears nothing, as whoever listens will notice."""
        try:
            self._send(order)
        except BaseException:
            self.kill()  # half an order may have gone out
            raise

    def tell_soon(self, order: Order) -> None:
        """``tell`` by a thread of its own: a process that hangs may have left the pipe full."""
        threading.Thread(target=self._send, args=(order,), name="order", daemon=True).start()

    def listen(self) -> Tiding:
        """What it says next.

        Raises:
            EOFError, OSError: it is gone.
        """
        tiding: Tiding = self._pipe.recv()
        return tiding

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    def reap(self) -> int:
        """Its exit code, once it has closed its end of the pipe."""
        with self._sending:
            self._pipe.close()
        try:
            return self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:  # it hangs in its ending
            self.kill()
            return self._process.wait()

    def _send(self, message: Order | ProcessOptions) -> None:
        try:
            with self._sending:
                self._pipe.send(message)
        except OSError:
            log.debug("engine process %s is gone", self.pid)
