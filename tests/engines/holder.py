"""A process that holds a pool with an engine at work, until somebody ends it: a script for tests.

Prints its process id and its engines', when both are at it.
"""

from __future__ import annotations

import os
import sys
import threading

from flows.engines.pool import EnginePool
from flows.engines.pooled import PooledEngine
from kontext_engine.fake import FAKE_SPEC

from .samples import SCRIPTED, request


def tell(begun: threading.Semaphore):
    """A step callback: the only step has been done, and what the prompt says comes now."""

    def on_step(progress):
        if progress.step:
            begun.release()

    return on_step


def main() -> None:
    begun = threading.Semaphore(0)
    with EnginePool(2, SCRIPTED) as pool:
        # One cannot notice that its pipe is closed: only the kernel can end it.
        for deed in ("SLEEP", "FREEZE"):
            at_work = PooledEngine(pool, FAKE_SPEC).run([request(deed, deed, steps=1)], tell(begun))
            threading.Thread(target=list, args=(at_work,), daemon=True).start()
        begun.acquire()
        begun.acquire()
        pids = [os.getpid(), *(stats.pid for stats in pool.stats())]
        sys.stdout.write(" ".join(map(str, pids)) + "\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
