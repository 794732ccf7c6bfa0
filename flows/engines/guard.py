"""Child processes that never outlive the one that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

# The kernel sends the parent's death signal when the *thread* that forked ends. So one thread,
# which ends with the process only, starts all of them.
_starter = ThreadPoolExecutor(1, thread_name_prefix="starter")


def die_with_parent(parent: int) -> None:
    """Called in a new process: from now on it is killed when ``parent`` ends, however that ends.

    Linux does it itself (prctl(2)); elsewhere a process must notice by itself that its pipe was
    closed. A parent that died before this call is noticed too: then this process exits at once.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def spawn(
    argv: Sequence[str], *, environment: Mapping[str, str], handle: int
) -> subprocess.Popen[bytes]:
    """Start ``argv``, which keeps ``handle`` open and prints where this process's errors go.

    Raises:
        OSError: it cannot be started.
    """
    return _starter.submit(
        subprocess.Popen,
        argv,
        env=environment,
        pass_fds=(handle,),
        stdin=subprocess.DEVNULL,
        stdout=2,  # what libraries print must not mix with what this process answers
    ).result()
