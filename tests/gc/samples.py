"""Clean-ups, and what may come in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from flows.gc.kinds import Kind, Policy
from flows.gc.sweep import Sweep
from flows.store.folder import LocalObjects
from tests.store.batch import HOUR, thumb_name
from tests.store.samples import digest

DAY = 24 * HOUR
AUTUMN, WINTER = "2026-01-02-autumn-0123abcd", "2026-02-03-winter-4567abcd"
POLICY = Policy(grace=3 * DAY)
OLD_RUNS = Policy(grace=3 * DAY, runs_older=90 * DAY)


def gone(objects, policy: Policy = POLICY, **changes) -> dict[Kind, int]:
    """What a clean-up takes."""
    done = Sweep(objects, policy, **changes)
    done.run()
    return dict(done.swept.counts)


def output_key(record) -> str:
    return digest(f"output of {record.key}")


def all_of(output) -> set[str]:
    """What belongs to an output file."""
    return {f"outputs/{output.key}", f"blobs/{output.blob}", thumb_name(output.picture)}


def meddle(monkeypatch, method: str, prefix: str, act: Callable[[], object], *, after=False):
    """``act`` once, before or after a folder's ``method`` is asked about something so called."""
    real, acted = getattr(LocalObjects, method), []

    def watched(self, name, *rest):
        hit = name.startswith(prefix) and not acted
        if hit:
            acted.append(name)
        if hit and not after:
            act()
        told = real(self, name, *rest)
        if hit and after:
            act()
        return told

    monkeypatch.setattr(LocalObjects, method, watched)
    return acted


def beside(objects, name: str, act: Callable[..., object], *asked) -> threading.Thread:
    """Another process, which goes on once it has written ``name``."""
    thread = threading.Thread(target=act, args=asked)
    thread.start()
    end = time.monotonic() + 60
    while objects.stat(name) is None:
        assert time.monotonic() < end
        time.sleep(0.002)
    return thread
