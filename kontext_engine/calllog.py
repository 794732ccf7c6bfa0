"""The engine's append-only call log: what was computed, how often, by whom. Torch-free."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path


class CallLog:
    """One JSON line per event, each appended by a single write, so that processes may share it."""

    def __init__(self, path: str | None) -> None:
        self._path = Path(path) if path else None

    def write(self, event: str, ids: Sequence[str]) -> None:
        """Append ``event`` for each request id; without a path, nothing."""
        if self._path is None or not ids:
            return
        stamp = {"pid": os.getpid(), "time": time.time()}
        lines = "".join(f"{json.dumps({'event': event, 'id': id_, **stamp})}\n" for id_ in ids)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, lines.encode())
        finally:
            os.close(handle)
