"""How far things are, as the dashboard shows it: progress bars, tables, the report's link.

Bodies say it here and go on; one thread writes it to the server, which may be away. Nothing hangs
on it: whoever comes after another process finds that one's bar, and goes on with it.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
)
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import ArtifactSort

log = logging.getLogger(__name__)

EVERY = 3.0  # seconds between two writings
PAGE = 200
KEPT = 1000  # things that wait for a server that is away; the oldest go

Kind = Literal["progress", "table", "markdown"]


@dataclass
class _Bar:
    share: float
    words: str
    written: tuple[float, str] | None = None
    id: UUID | None = None


@dataclass(eq=False)
class Progress:
    """What is to be shown, by flow run. Any thread may tell; one calls it with a client."""

    _bars: dict[UUID, _Bar] = field(default_factory=dict)
    _sheets: list[ArtifactCreate] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, flow_run: UUID, share: float, words: str) -> None:
        """How far a run is, from 0 to 1."""
        with self._lock:
            bar = self._bars.setdefault(flow_run, _Bar(0.0, ""))
            bar.share, bar.words = round(100 * min(1.0, max(0.0, share)), 1), words

    def table(
        self, flow_run: UUID, key: str, rows: Sequence[Mapping[str, str]], description: str
    ) -> None:
        """Rows with the same columns."""
        self._add(flow_run, key, "table", json.dumps(list(map(dict, rows))), description)

    def text(self, flow_run: UUID, key: str, text: str, description: str) -> None:
        """Text, in Markdown."""
        self._add(flow_run, key, "markdown", text, description)

    def _add(self, flow_run: UUID, key: str, kind: Kind, data: str, description: str) -> None:
        sheet = ArtifactCreate(
            key=key, type=kind, data=data, description=description, flow_run_id=flow_run
        )
        with self._lock:
            self._sheets.append(sheet)
            del self._sheets[:-KEPT]

    def __call__(self, client: SyncPrefectClient) -> None:
        """Write what is new.

        Raises:
            httpx.HTTPError: not now; it is tried again at the next call.
        """
        with self._lock:
            bars = [(run, bar) for run, bar in self._bars.items() if bar.written != _now(bar)]
            sheets = list(self._sheets)
        for flow_run, bar in bars:
            self._write(client, flow_run, bar)
        for sheet in sheets:
            client.create_artifact(sheet)
            with self._lock:
                if sheet in self._sheets:
                    self._sheets.remove(sheet)
        with self._lock:
            for run in list(self._bars)[:-KEPT]:
                del self._bars[run]

    def _write(self, client: SyncPrefectClient, flow_run: UUID, bar: _Bar) -> None:
        now = _now(bar)
        if bar.id is None:
            bar.id = next((one.id for one in _bars_of(client, [flow_run])), None)
        if bar.id is None:
            made = ArtifactCreate(
                type="progress", data=now[0], description=now[1], flow_run_id=flow_run
            )
            bar.id = client.create_artifact(made).id
        else:
            client.update_artifact(bar.id, ArtifactUpdate(data=now[0], description=now[1]))
        bar.written = now


def _now(bar: _Bar) -> tuple[float, str]:
    return bar.share, bar.words


def _bars_of(client: SyncPrefectClient, flow_runs: Sequence[UUID]) -> list[Artifact]:
    wanted = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=list(flow_runs)),
        type=ArtifactFilterType(any_=["progress"]),
    )
    return client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.UPDATED_DESC, limit=PAGE)


def made_so_far(client: SyncPrefectClient, flow_runs: Iterable[UUID]) -> dict[UUID, float]:
    """The share that each chunk in hand says is made; one question for 200."""
    ids = list(flow_runs)
    found: dict[UUID, float] = {}
    for start in range(0, len(ids), PAGE):
        for one in _bars_of(client, ids[start : start + PAGE]):
            if one.flow_run_id is not None and isinstance(one.data, (int, float)):
                found.setdefault(one.flow_run_id, float(one.data) / 100)
    return found
