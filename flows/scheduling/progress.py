"""How far things are, as the dashboard shows it: progress bars, tables, pages.

Bodies say it here and go on; one thread writes it to the server, which may be away. Nothing hangs
on it: whoever comes after another process finds what that one showed, and goes on with it. Each
is one artifact of its flow run, written over as things change.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import ArtifactSort

EVERY = 3.0  # seconds between two writings
PAGE = 200
KEPT = 1000  # things that wait for a server that is away; the oldest go
BAR = ""  # the key of a bar, which has none
NEWEST = "newest"  # what a bar tells beside: names of thumbnails

Kind = Literal["progress", "table", "markdown"]


class _Content(NamedTuple):
    data: float | str
    description: str
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass
class _Sheet:
    kind: Kind
    now: _Content
    written: _Content | None = None
    id: UUID | None = None


@dataclass(eq=False)
class Progress:
    """What is to be shown, by flow run and key. Any thread may tell; one calls it with a client."""

    _sheets: dict[tuple[UUID, str], _Sheet] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, flow_run: UUID, share: float, words: str, newest: Iterable[str] = ()) -> None:
        """How far a run is, from 0 to 1; names of its newest thumbnails."""
        percent = round(100 * min(1.0, max(0.0, share)), 1)
        names = " ".join(newest)
        beside = ((NEWEST, names),) if names else ()
        self._put(flow_run, BAR, "progress", _Content(percent, words, beside))

    def table(
        self, flow_run: UUID, key: str, rows: Sequence[Mapping[str, str]], description: str
    ) -> None:
        """Rows with the same columns."""
        text = json.dumps(list(map(dict, rows)))
        self._put(flow_run, key, "table", _Content(text, description))

    def page(self, flow_run: UUID, key: str, text: str, description: str) -> None:
        """Text in Markdown."""
        self._put(flow_run, key, "markdown", _Content(text, description))

    def _put(self, flow_run: UUID, key: str, kind: Kind, content: _Content) -> None:
        with self._lock:
            self._sheets.setdefault((flow_run, key), _Sheet(kind, content)).now = content

    def __call__(self, client: SyncPrefectClient) -> None:
        """Write what is new.

        Raises:
            httpx.HTTPError: not now; it is tried again at the next call.
        """
        with self._lock:
            fresh = [(at, one) for at, one in self._sheets.items() if one.written != one.now]
        for (flow_run, key), sheet in fresh:
            _write(client, flow_run, key, sheet)
        with self._lock:
            for at in list(self._sheets)[:-KEPT]:
                del self._sheets[at]


def _write(client: SyncPrefectClient, flow_run: UUID, key: str, sheet: _Sheet) -> None:
    now = sheet.now
    beside = dict(now.metadata)
    if sheet.id is None:
        shown = _shown(client, [flow_run], sheet.kind)
        sheet.id = next((one.id for one in shown if (one.key or BAR) == key), None)
    if sheet.id is None:
        made = ArtifactCreate(
            key=key or None,
            type=sheet.kind,
            data=now.data,
            description=now.description,
            metadata_=beside,
            flow_run_id=flow_run,
        )
        sheet.id = client.create_artifact(made).id
    else:
        change = ArtifactUpdate(data=now.data, description=now.description, metadata_=beside)
        client.update_artifact(sheet.id, change)
    sheet.written = now


def _shown(client: SyncPrefectClient, flow_runs: Sequence[UUID], kind: Kind) -> Iterator[Artifact]:
    """What is shown of these flow runs, the newest first."""
    wanted = ArtifactFilter.model_validate(
        {"flow_run_id": {"any_": list(flow_runs)}, "type": {"any_": [kind]}}
    )
    yield from client.read_artifacts(
        artifact_filter=wanted, sort=ArtifactSort.UPDATED_DESC, limit=PAGE
    )


class Told(NamedTuple):
    """What a bar tells: the share that is made, and the names of the newest thumbnails."""

    share: float
    newest: tuple[str, ...]


def made_so_far(client: SyncPrefectClient, flow_runs: Iterable[UUID]) -> dict[UUID | None, Told]:
    """What each chunk in hand tells; one question for 200."""
    ids = list(flow_runs)
    found: dict[UUID | None, Told] = {}
    for start in range(0, len(ids), PAGE):
        for one in _shown(client, ids[start : start + PAGE], "progress"):
            if isinstance(one.data, (int, float)):
                newest = tuple((one.metadata_ or {}).get(NEWEST, "").split())
                found.setdefault(one.flow_run_id, Told(one.data / 100, newest))
    return found
