"""Artifacts of a parent run: how far it is, what failed, where the report is.

Written through the API and not through ``prefect.artifacts``, which needs a flow run around it,
and opens a socket for events besides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact

from flows.orchestration.api import PrefectApi

Kind = Literal["progress", "table", "markdown"]


@dataclass(frozen=True, slots=True)
class Sheet:
    """An artifact's content; there is one of each kind for a flow run."""

    kind: Kind
    data: Any
    description: str


class Artifacts:
    """Writes one artifact of each kind for a flow run, however often, whoever began it."""

    def __init__(self, api: PrefectApi) -> None:
        self._api = api
        self._known: dict[UUID, dict[str, UUID]] = {}
        self._written: dict[tuple[UUID, str], Sheet] = {}

    def show(self, flow_run: UUID, sheet: Sheet, key: str | None = None) -> None:
        """Write it, or over the one that is there; under ``key`` it is found again by people.

        Raises:
            DispatchError: not now.
        """
        if self._written.get((flow_run, sheet.kind)) == sheet:
            return
        if flow_run not in self._known:
            self._known[flow_run] = self._find(flow_run)
        known = self._known[flow_run].get(sheet.kind)
        with self._api.asked() as client:
            if known is not None:
                change = ArtifactUpdate(data=sheet.data, description=sheet.description)
                body = change.model_dump(mode="json", exclude_unset=True)
                client.request("PATCH", "/artifacts/{id}", path_params={"id": known}, json=body)
            else:
                new = ArtifactCreate(
                    key=key,
                    type=sheet.kind,
                    data=sheet.data,
                    description=sheet.description,
                    flow_run_id=flow_run,
                )
                body = new.model_dump(mode="json", exclude_unset=True)
                answer = client.request("POST", "/artifacts/", json=body)
                created = Artifact.model_validate(answer.json())
                self._known[flow_run][sheet.kind] = created.id
        self._written[flow_run, sheet.kind] = sheet

    def forget(self, flow_run: UUID) -> None:
        """It has ended."""
        self._known.pop(flow_run, None)
        for name in [name for name in self._written if name[0] == flow_run]:
            del self._written[name]

    def _find(self, flow_run: UUID) -> dict[str, UUID]:
        wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run]))
        # Not by read_artifacts: the server refuses the empty fields that it sends.
        body = {"artifacts": wanted.model_dump(mode="json", exclude_unset=True)}
        with self._api.asked() as client:
            answer = client.request("POST", "/artifacts/filter", json=body)
            found = Artifact.model_validate_list(answer.json())
        return {artifact.type: artifact.id for artifact in found if artifact.type}


def progress(share: float, description: str) -> Sheet:
    """A bar; ``share`` from 0 to 1."""
    return Sheet("progress", round(100 * share, 1), description)


def table(rows: Sequence[Mapping[str, str]], description: str) -> Sheet:
    """Rows with the same columns."""
    return Sheet("table", json.dumps(list(rows)), description)


def markdown(text: str, description: str) -> Sheet:
    """Text for people."""
    return Sheet("markdown", text, description)
