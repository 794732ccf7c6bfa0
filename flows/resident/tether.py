"""Processes that never outlive the one that started them."""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import cache

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent: int) -> None:
    """Called in a new process: from now on it is killed when ``parent`` ends, however that ends.

    Linux does it itself (prctl(2)); elsewhere a process must notice by itself that its pipe was
    closed. A parent that died before this call is noticed too: then this process exits at once.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


_Order = tuple[Sequence[str], Mapping[str, str], Sequence[int], "Future[subprocess.Popen[bytes]]"]


def spawn(
    argv: Sequence[str], *, environment: Mapping[str, str], handles: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start ``argv``, which keeps ``handles`` open and prints where this process's errors go.

    Raises:
        OSError: it cannot be started.
    """
    future: Future[subprocess.Popen[bytes]] = Future()
    _orders().put((argv, environment, handles, future))
    return future.result()


# The kernel sends the parent's death signal when the *thread* that forked ends. So one thread,
# which never ends before the process does, starts all of them.
@cache
def _orders() -> queue.SimpleQueue[_Order]:
    orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
    threading.Thread(target=_start_all, args=(orders,), name="spawner", daemon=True).start()
    return orders


def _start_all(orders: queue.SimpleQueue[_Order]) -> None:
    while True:
        argv, environment, handles, future = orders.get()
        try:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                list(argv),
                env=dict(environment),
                pass_fds=tuple(handles),
                stdin=subprocess.DEVNULL,
                stdout=2,  # what libraries print must not mix with what this process answers
            )
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(process)
