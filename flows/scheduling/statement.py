"""What each worker states of itself, in Prefect variables; and the fleet that a parent sees.

``kontext_worker_<name>`` tells where a worker is and what it has, ``kontext_model_<name>_<digest>``
one model that it serves: so a parent keys by the weights and numerics of those who will compute,
and needs no weights itself. A variable holds 5,000 characters. Whoever is not ONLINE in the pool
does not count, whatever it stated.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import PurePath
from typing import Any, TypeVar

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.objects import WorkerStatus
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from pydantic import BaseModel, ConfigDict, ValidationError

from flows.plan.models import read_model
from flows.scheduling.names import CHUNKS_POOL
from flows.store.words import here
from kontext_engine.cutout import PACKAGE
from kontext_engine.saliency import RUNTIME
from kontext_engine.spec import ModelSpec, NumericsProfile

WORKER = "kontext_worker_"
MODEL = "kontext_model_"
CUTTING = (PACKAGE, RUNTIME)
LIBRARIES = ("torch", "diffusers", "transformers", "numpy", "pillow", *CUTTING)
MOST = 5000  # characters of a variable's value

Told = TypeVar("Told", bound=BaseModel)


class FleetError(Exception):
    """The workers cannot carry out what is asked for; the message says why and what to do."""


class WorkerStatement(BaseModel):
    """A worker; ``here`` is where its process is, as a digest; ``models`` are weights' digests."""

    model_config = ConfigDict(frozen=True)

    worker: str
    pool: str
    here: str
    engines: int
    models: tuple[str, ...]


class ModelStatement(BaseModel):
    """A model that a worker serves: its spec, how it computes, and with what."""

    model_config = ConfigDict(frozen=True)

    worker: str
    spec: dict[str, Any]
    numerics: dict[str, Any]
    libraries: dict[str, str]

    def model(self) -> tuple[ModelSpec, NumericsProfile]:
        """As keys want them."""
        return read_model(self.spec), NumericsProfile(**self.numerics)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The workers of the chunks' pool that are ONLINE, with what they have stated."""

    workers: tuple[WorkerStatement, ...]
    models: tuple[ModelStatement, ...]

    @property
    def engines(self) -> int:
        """How many chunks can be made at once."""
        return sum(worker.engines for worker in self.workers)

    def serving(self, digest: str) -> tuple[WorkerStatement, ...]:
        """The workers that serve these weights."""
        return tuple(worker for worker in self.workers if digest in worker.models)

    def model(self, name: str) -> tuple[ModelSpec, NumericsProfile]:
        """The model that a recipe names, as all who serve it have it.

        Raises:
            FleetError: nobody serves it, or they do not agree.
        """
        served = self._named(name)
        if not served:
            known = sorted({str(one.spec["name"]) for one in self.models})
            has = f"served: {', '.join(known)}" if known else "no worker is online"
            raise FleetError(
                f"no worker serves the model '{name}'; {has}; start one with 'kontext worker "
                f"--model {name}' where its weights are"
            )
        first = served[0]
        for other in served[1:]:
            for what, one, two in (
                ("weights", first.spec["digest"][:12], other.spec["digest"][:12]),
                ("a spec", first.model()[0].deciding, other.model()[0].deciding),
                ("numerics", first.numerics, other.numerics),
            ):
                if one != two:
                    raise FleetError(
                        f"workers disagree about the model '{name}': '{first.worker}' has {what} "
                        f"{one}, '{other.worker}' {two}; install the same on both, or stop one"
                    )
        return first.model()

    def cutting(self, name: str) -> dict[str, str]:
        """The libraries that cuts are made with, in one version wherever the model is served."""
        have = [one.libraries for one in self._named(name)]
        return {
            library: have[0][library]
            for library in CUTTING
            if have and library in have[0] and len({one.get(library) for one in have}) == 1
        }

    def _named(self, name: str) -> list[ModelStatement]:
        last = PurePath(name).name
        return [
            one
            for one in self.models
            if name in {one.spec["name"], one.spec["source"]} or last == one.spec["name"]
        ]


def place_of_process() -> str:
    """This machine, or container, as a digest: host names are nobody's business."""
    return hashlib.sha256(" ".join(here()).encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """The libraries that pictures are computed with, as far as they are here."""
    found = {}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name).partition("+")[0]
    return found


def state(
    client: SyncPrefectClient,
    worker: str,
    engines: int,
    models: Sequence[ModelSpec],
    numerics: NumericsProfile,
) -> None:
    """Write what this worker is; again over what was stated before."""
    for spec in models:
        told = ModelStatement(
            worker=worker, spec=asdict(spec), numerics=asdict(numerics), libraries=versions()
        )
        _write(client, _model_name(worker, spec.digest), told)
    own = WorkerStatement(
        worker=worker,
        pool=CHUNKS_POOL,
        here=place_of_process(),
        engines=engines,
        models=tuple(spec.digest for spec in models),
    )
    _write(client, f"{WORKER}{_slug(worker)}", own)


def fleet(client: SyncPrefectClient) -> Fleet:
    """Who is ONLINE now.

    Raises:
        FleetError: there is no such pool: nothing was deployed.
    """
    try:
        found = client.read_workers_for_work_pool(CHUNKS_POOL)
    except ObjectNotFound:
        raise FleetError(f"no work pool '{CHUNKS_POOL}'; run 'kontext deploy'") from None
    workers: list[WorkerStatement] = []
    models: list[ModelStatement] = []
    for name in sorted(one.name for one in found if one.status is WorkerStatus.ONLINE):
        worker = _read(client, f"{WORKER}{_slug(name)}", WorkerStatement)
        if worker is None or worker.worker != name or worker.pool != CHUNKS_POOL:
            continue
        workers.append(worker)
        for digest in worker.models:
            model = _read(client, _model_name(name, digest), ModelStatement)
            if model is not None and model.spec.get("digest") == digest:
                models.append(model)
    return Fleet(tuple(workers), tuple(models))


def _model_name(worker: str, digest: str) -> str:
    return f"{MODEL}{_slug(worker)}_{digest[:12]}"


def _slug(worker: str) -> str:
    """A worker's name as a variable's; its digest keeps two alike apart."""
    plain = re.sub(r"[^a-z0-9]+", "_", worker.lower()).strip("_")[:80]
    return f"{plain}_{hashlib.sha256(worker.encode()).hexdigest()[:8]}"


def _write(client: SyncPrefectClient, name: str, told: BaseModel) -> None:
    value = told.model_dump_json()
    if len(value) > MOST:
        raise FleetError(f"{name}: {len(value)} characters; a variable holds {MOST}")
    try:
        client.create_variable(VariableCreate(name=name, value=value, tags=["kontext"]))
    except ObjectAlreadyExists:
        client.update_variable(VariableUpdate(name=name, value=value, tags=["kontext"]))


def _read(client: SyncPrefectClient, name: str, kind: type[Told]) -> Told | None:
    """A statement; ``None`` when there is none, or it is another release's."""
    found = client.read_variable_by_name(name)
    try:
        return None if found is None else kind.model_validate_json(str(found.value))
    except ValidationError:
        return None
