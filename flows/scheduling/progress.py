"""How far things are, as the dashboard shows it: progress bars, tables, the report's link.

Bodies say it here and go on; one thread writes it to the server, which may be away. Nothing hangs
on it: whoever comes after another process finds that one's bar, and goes on with it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter
from prefect.client.schemas.sorting import ArtifactSort

EVERY = 3.0  # seconds between two writings
PAGE = 200
KEPT = 1000  # things that wait for a server that is away; the oldest go

Kind = Literal["progress", "table", "markdown"]


@dataclass
class _Bar:
    now: tuple[float, str] = (0.0, "")  # the share, in percent, and words
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
            bar = self._bars.setdefault(flow_run, _Bar())
            bar.now = round(100 * min(1.0, max(0.0, share)), 1), words

    def table(
        self, flow_run: UUID, key: str, rows: Sequence[Mapping[str, str]], description: str
    ) -> None:
        """Rows with the same columns."""
        self.add(flow_run, key, "table", json.dumps(list(map(dict, rows))), description)

    def add(self, flow_run: UUID, key: str, kind: Kind, data: str, description: str) -> None:
        """A table, or text in Markdown."""
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
            bars = [(run, bar) for run, bar in self._bars.items() if bar.written != bar.now]
            sheets = list(self._sheets)
        for flow_run, bar in bars:
            _write(client, flow_run, bar)
        for sheet in sheets:
            client.create_artifact(sheet)
            with self._lock:
                if sheet in self._sheets:
                    self._sheets.remove(sheet)
        with self._lock:
            for run in list(self._bars)[:-KEPT]:
                del self._bars[run]


def _write(client: SyncPrefectClient, flow_run: UUID, bar: _Bar) -> None:
    now = share, words = bar.now
    if bar.id is None:
        bar.id = next((id_ for id_, _, _ in _bars_of(client, [flow_run])), None)
    if bar.id is None:
        made = ArtifactCreate(type="progress", data=share, description=words, flow_run_id=flow_run)
        bar.id = client.create_artifact(made).id
    else:
        client.update_artifact(bar.id, ArtifactUpdate(data=share, description=words))
    bar.written = now


def _bars_of(
    client: SyncPrefectClient, flow_runs: Sequence[UUID]
) -> list[tuple[UUID, UUID | None, object]]:
    """Id, flow run and percents of each bar, the newest first."""
    wanted = ArtifactFilter.model_validate(
        {"flow_run_id": {"any_": list(flow_runs)}, "type": {"any_": ["progress"]}}
    )
    found = client.read_artifacts(
        artifact_filter=wanted, sort=ArtifactSort.UPDATED_DESC, limit=PAGE
    )
    return [(one.id, one.flow_run_id, one.data) for one in found]


def made_so_far(client: SyncPrefectClient, flow_runs: Iterable[UUID]) -> dict[UUID | None, float]:
    """The share that each chunk in hand says is made; one question for 200."""
    ids = list(flow_runs)
    found: dict[UUID | None, float] = {}
    for start in range(0, len(ids), PAGE):
        for _, flow_run, share in _bars_of(client, ids[start : start + PAGE]):
            if isinstance(share, (int, float)):
                found.setdefault(flow_run, share / 100)
    return found
