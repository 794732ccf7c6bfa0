"""How far things are, as the dashboard shows it: progress artifacts, a table, the report's link.

A chunk tells how many pictures it has made in an artifact of its own, at most every few seconds;
its parent reads those of all its chunks with one question. Whatever fails here is passed over:
it is shown to people, and nothing hangs on it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
)
from prefect.client.schemas.sorting import ArtifactSort

log = logging.getLogger(__name__)

EVERY = 3.0  # seconds between two writings of one artifact
PAGE = 200


class Bar:
    """The progress artifact of the flow run that this thread carries out."""

    def __init__(self, description: str) -> None:
        self._description = description
        self._id: UUID | None = None
        self._written = (-1.0, "")
        self._at = float("-inf")

    def show(self, share: float, description: str = "", *, now: bool = False) -> None:
        """How far it is, from 0 to 1; written at most every ``EVERY`` seconds, unless ``now``."""
        value = (round(100 * min(1.0, max(0.0, share)), 1), description or self._description)
        if value == self._written or (not now and time.monotonic() - self._at < EVERY):
            return
        self._at = time.monotonic()
        try:
            if self._id is None:
                made = create_progress_artifact(value[0], description=value[1])
                self._id = made if isinstance(made, UUID) else None
            else:
                update_progress_artifact(self._id, value[0], description=value[1])
            self._written = value
        except Exception as error:
            log.debug("progress is not shown: %s", error)


class Pictures:
    """A chunk's pictures, counted where they are made. Safe for threads."""

    def __init__(self, flow_run: UUID, total: int) -> None:
        self._flow_run = flow_run
        self._total = max(1, total)
        self._made = 0
        self._lock = threading.Lock()
        self._bar = Bar(f"0 of {total} pictures")

    def made(self) -> None:
        """One more is there."""
        with self._lock:
            self._made += 1
            self._show()

    def close(self) -> None:
        """The last word."""
        with self._lock:
            self._show(now=True)

    def _show(self, *, now: bool = False) -> None:
        words = f"{self._made} of {self._total} pictures"
        self._bar.show(self._made / self._total, words, now=now)


def made_so_far(client: SyncPrefectClient, flow_runs: Iterable[UUID]) -> dict[UUID, float]:
    """The share that each chunk in hand says is made; one question for 200."""
    ids = list(flow_runs)
    found: dict[UUID, float] = {}
    for start in range(0, len(ids), PAGE):
        wanted = ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=ids[start : start + PAGE]),
            type=ArtifactFilterType(any_=["progress"]),
        )
        for one in client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.UPDATED_DESC):
            if one.flow_run_id is not None and isinstance(one.data, (int, float)):
                found.setdefault(one.flow_run_id, float(one.data) / 100)
    return found


def show_table(key: str, rows: Sequence[Mapping[str, str]], description: str) -> None:
    """A table of the flow run that this thread carries out."""
    _shown(
        lambda: create_table_artifact(
            table=[dict(r) for r in rows], key=key, description=description
        )
    )


def show_text(key: str, text: str, description: str) -> None:
    """Text, in Markdown, of the flow run that this thread carries out."""
    _shown(lambda: create_markdown_artifact(markdown=text, key=key, description=description))


def _shown(show: Any) -> None:
    try:
        show()
    except Exception as error:
        log.debug("an artifact is not shown: %s", error)
