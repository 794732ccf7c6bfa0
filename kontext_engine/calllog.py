"""The engine's append-only call log: what was computed, how often, by whom. Torch-free."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)


class CallLog:
    """One JSON line per event, each appended by a single write, so that processes may share it."""

    def __init__(self, path: str | None) -> None:
        self._path = Path(path) if path else None

    def write(self, event: str, ids: Sequence[str]) -> None:
        """Append ``event`` for each request id; without a path, nothing.

        Pictures do not wait for a diagnosis: a file that cannot be written is told, once.
        """
        if self._path is None or not ids:
            return
        stamp = {"pid": os.getpid(), "time": time.time()}
        lines = "".join(f"{json.dumps({'event': event, 'id': id_, **stamp})}\n" for id_ in ids)
        try:
            _append(self._path, lines.encode())
        except OSError as error:
            why = (error.strerror or type(error).__name__).lower()
            log.warning(
                "%s: the engine's log cannot be written (%s); pictures are made without it; make "
                "room or make it writable",
                self._path,
                why,
            )
            self._path = None


def _append(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, data)
    finally:
        os.close(handle)
