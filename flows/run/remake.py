"""The same picture again, from what decides its pixels; made in a place that is thrown away."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flows.plan.keys import next_seed
from flows.plan.step import USUAL, Credit, Plan, SourceImage
from flows.run.asking import EngineFactory
from flows.run.deciding import Deciding, rebuilt, sources_in
from flows.run.execute import run_plan
from flows.run.look import look
from flows.run.outcome import StepOutcome
from flows.run.outputs import encode_output
from flows.run.pictures import decode_png
from flows.run.provenance import batch_of
from flows.run.signing import UNSIGNED, Signing
from flows.sources.place import Place, StoredSource
from flows.store.keyed import KeyedStore
from flows.store.record import Record
from kontext_engine.api import EditFailure, EditRequest, EditResult, Engine, InBatch, StepCallback
from kontext_engine.picture import SUFFIXES
from kontext_engine.spec import ModelSpec, NumericsProfile

MAX_FILES = 20_000  # looked at for sources


class RemakeError(Exception):
    """A file cannot be made again here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Remake:
    """How a file is made again: by which model, called what, from where its sources are.

    ``scratch`` is where pictures are made, ``kept`` the store whose pictures are taken, unless all
    is to be made ``anew``. ``factory`` loads the engine, if something must be computed; by
    ``batches``, or else the store's records, each of ``told``'s steps is computed where it was.
    """

    told: Deciding
    model: ModelSpec
    path: str
    recipe: str
    label: str
    scratch: KeyedStore
    factory: Callable[[Plan], EngineFactory]
    kept: KeyedStore
    batches: tuple[InBatch | None, ...] = ()
    anew: bool = False
    credit: Credit = USUAL
    signing: Signing = UNSIGNED

    def seed(self) -> int:
        """Another seed than the picture's, the same each time it is asked for."""
        params = self.told.steps[self.told.picture].params
        return next_seed(self.label, params.seed)

    def make(self, places: Mapping[str, Place | StoredSource], seed: int | None = None) -> bytes:
        """The file's bytes; ``places`` are its sources by digest, ``seed`` another one.

        Raises:
            RemakeError: a source is missing, or a step failed.
            DecidingError: another picture would come of it by now.
            OutputError: the file cannot be encoded.
            StoreError: the store fails.
        """
        plan = self._plan(places, seed)
        self._take(plan)
        seen = look(plan, self.scratch)
        self._check_sources(plan, seen.missing, places)
        outcome = run_plan(plan, self.scratch, self._engine(plan), seen=seen)
        (planned,) = plan.outputs
        records = {key: self._record(outcome.steps[key], outcome.why) for key in planned.keys}
        pictures = [decode_png(self.scratch.read(records[key])) for key in planned.keys]
        alpha = pictures[1] if planned.alpha else None
        sign = self.signing.for_output(plan, planned)
        return encode_output(
            plan, planned, records[planned.key], self.scratch.peek, pictures[0], alpha, sign
        )

    def _engine(self, plan: Plan) -> EngineFactory:
        load, batches = self.factory(plan), dict(zip(plan.steps, self.batches, strict=False))
        for key in plan.steps:
            if batches.get(key) is None and (record := self.kept.peek(key)) is not None:
                batches[key] = batch_of(record.geometry)
        return lambda: _AsBefore(load(), batches)

    def _plan(self, places: Mapping[str, Place | StoredSource], seed: int | None) -> Plan:
        plan = rebuilt(self.told, self.model, places, self.path, seed)
        (planned,) = plan.outputs
        step = replace(plan.steps[planned.key], label=self.label or plan.steps[planned.key].label)
        steps = {**plan.steps, planned.key: step}
        outputs = (replace(planned, credit=self.credit),)
        return replace(plan, recipe=self.recipe or plan.recipe, steps=steps, outputs=outputs)

    def _take(self, plan: Plan) -> None:
        """Take what the store has: it need not be computed."""
        for key in () if self.anew else plan.steps:
            found = self.kept.find_picture(key)
            if found is not None:
                self.scratch.put(*found)

    def _check_sources(
        self, plan: Plan, missing: Iterable[str], places: Mapping[str, Place | StoredSource]
    ) -> None:
        for key in missing:
            for ref in plan.steps[key].contexts:
                if isinstance(ref, SourceImage) and ref.digest not in places:
                    raise RemakeError(
                        f"its source with SHA-256 {ref.digest} is not at hand; expected it in the "
                        "store or in a folder that is looked at; name it by --source"
                    )

    @staticmethod
    def _record(end: StepOutcome, why: str) -> Record:
        if end.record is None:
            raise RemakeError(f"cannot be made: {end.reason or why}")
        return end.record


@dataclass(frozen=True, slots=True)
class _AsBefore:
    """An engine that computes each step at the place of a batch where it was computed before."""

    engine: Engine
    batches: Mapping[str, InBatch | None]

    @property
    def spec(self) -> ModelSpec:
        return self.engine.spec

    @property
    def numerics(self) -> NumericsProfile:
        return self.engine.numerics

    def run(
        self, requests: Sequence[EditRequest], on_step: StepCallback | None = None
    ) -> Iterator[EditResult | EditFailure]:
        placed = [replace(one, batch=self.batches.get(one.id)) for one in requests]
        return self.engine.run(placed, on_step)


def find_sources(
    told: Deciding, store: KeyedStore, roots: Iterable[Path], names: Iterable[str]
) -> dict[str, Place | StoredSource]:
    """Where the sources of a file are, by digest: in the store, or among files below ``roots``.

    Files with one of ``names`` are looked at first.

    Raises:
        StoreError: the store fails.
    """
    found: dict[str, Place | StoredSource] = {}
    wanted = set(sources_in(told))
    for digest in sorted(wanted):
        if store.objects.stat(f"blobs/{digest}") is not None:
            found[digest] = StoredSource(digest[:12], digest, store.objects)
    first = frozenset(names)
    paths = list(_pictures(roots)) if wanted - found.keys() else []
    for path in sorted(paths, key=lambda path: path.name not in first):
        if not wanted - found.keys():
            break
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            continue
        if digest in wanted:
            found.setdefault(digest, path)
    return found


def _pictures(roots: Iterable[Path]) -> Iterator[Path]:
    """Files with a picture's ending below these folders, hidden ones left out."""
    count = 0
    for root in roots:
        if root.is_file():
            yield root
            continue
        for folder, folders, files in os.walk(root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                if Path(name).suffix.lower() in SUFFIXES:
                    count += 1
                    yield Path(folder) / name
            if count > MAX_FILES:
                break
