"""The manifest: what one run asked for and what came of each step, for people and machines.

It holds names of files, never paths of the machine; every failed and every blocked step is named
with its reason. ``report.html`` is made from it and the store.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from flows.run.outcome import Ending, State
from flows.store.runfolder import RunFolder

FILE_NAME = "manifest.json"
LARGE = 8 * 2**20  # bytes of a manifest; as objects it takes several times as much
_ONE_LARGE = threading.Lock()


class ManifestError(Exception):
    """There is no manifest to read here; the message says what was expected."""


# Entries are dataclasses: a pydantic model keeps a set of its given fields, 2 kB each, and a large
# run has 10^5 of them.


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """The model the run was made with."""

    name: str
    digest: str
    licence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEntry:
    """An input picture: named by its bytes; ``file`` is the last part of its path.

    ``problem`` tells why it could not be opened.
    """

    digest: str
    input: str
    file: str
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextEntry:
    """What a step looked at: a source's digest or another step's key.

    ``reading`` is the version of how a source's kind is read.
    """

    kind: Literal["source", "step"]
    name: str
    reading: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEntry:
    """One step: what was asked, how it ended, and its picture where there is one.

    ``rules`` are what decides its pixels besides: a region, a cutout's method, newer sizes.
    """

    key: str
    name: str
    label: str
    operation: str
    params: Mapping[str, Any]
    contexts: tuple[ContextEntry, ...] = ()
    variants: tuple[str, ...] = ()
    state: State
    reason: str = ""
    blocked_by: str | None = None
    attempts: int = 0
    blob: str | None = None
    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    created: str | None = None
    notes: tuple[str, ...] = ()
    geometry: Mapping[str, Any] = field(default_factory=dict)
    rules: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantEntry:
    """One row of the matrix and the keys of its steps; ``details`` as a plan's variant has them."""

    id: str
    values: Mapping[str, str]
    keys: tuple[str, ...]
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputEntry:
    """A file for people, ``path`` relative to the run's folder.

    ``sha256`` and ``size`` in bytes are there once it is written. ``kept`` tells of a picture with
    a region whether the file still holds what it keeps. ``shape`` is there where the file is not
    the picture as it is, ``alpha`` where it has another step's transparency. A contact sheet has a
    key of its own, no variant and no quality; ``missing`` counts its frames without a picture.
    ``encoder`` is the version of how files are made.
    """

    path: str
    key: str
    variant: str
    format: str
    quality: int
    blob: str | None = None
    sha256: str | None = None
    size: int | None = None
    problem: str = ""
    kept: Literal["", "kept", "kept until delivery"] = ""
    shape: Mapping[str, Any] = field(default_factory=dict)
    alpha: str = ""
    missing: int = 0
    encoder: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PickEntry:
    """A pick: the labels of its candidates by their keys, the key that was chosen, and by whom.

    ``by`` is ``hand``, a judge with its versions, or nobody yet.
    """

    label: str
    candidates: Mapping[str, str]
    chosen: str | None = None
    by: str = ""
    judge: str = ""


class Manifest(BaseModel):
    """A run.

    ``waiting`` has the labels of what waits for picks, with these picks' labels: it has no key yet.
    ``depends`` are, by step, those parameters that it depends on and that were not as usual.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["kontext.manifest"] = Field(default="kontext.manifest", alias="schema")
    version: Literal[1] = 1
    recipe: str
    recipe_file: str
    recipe_sha256: str
    sets: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    plan: str
    model: ModelEntry
    numerics: Mapping[str, Any]
    software: str
    written: str
    ending: Ending
    why: str = ""
    seconds: float
    load_seconds: float
    counts: Mapping[State, int]
    steps: tuple[StepEntry, ...]
    variants: tuple[VariantEntry, ...]
    sources: tuple[SourceEntry, ...]
    outputs: tuple[OutputEntry, ...] = ()
    picks: tuple[PickEntry, ...] = ()
    waiting: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    project: str | None = None
    depends: Mapping[str, tuple[tuple[str, str], ...]] = Field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether everything was made, and every output written."""
        unwritten = any(output.problem for output in self.outputs)
        return self.ending is Ending.COMPLETE and not unwritten

    def to_json(self) -> bytes:
        """What ``manifest.json`` holds."""
        return _MANIFEST.dump_json(self, by_alias=True, indent=1)

    def in_state(self, *states: State) -> tuple[StepEntry, ...]:
        """The steps that ended so, in the plan's order."""
        return tuple(step for step in self.steps if step.state in states)


_MANIFEST = TypeAdapter(Manifest)  # a model by itself gives text: of 10^5 steps, 120 MB more


def one_large(size: int) -> AbstractContextManager[object]:
    """Hold it while a manifest of so many bytes is read and used: one large one at a time.

    Where many manifests are read at once, many of 10^5 steps each would fill the memory.
    """
    return _ONE_LARGE if size > LARGE else contextlib.nullcontext()


def read_manifest(run: RunFolder) -> Manifest:
    """The manifest of a run's folder.

    Raises:
        ManifestError: there is none, or it is not one this version can read.
        StoreError: the run's home fails.
    """
    data = run.read(FILE_NAME)
    if data is None:
        raise ManifestError(
            f"{run.where}: no {FILE_NAME} here (no such file); expected the folder of a run, such "
            "as out/runs/<date>-<recipe>-<id>"
        )
    return parse_manifest(data, run.at(FILE_NAME))


def parse_manifest(data: bytes, shown: str) -> Manifest:
    """The manifest in ``data``; ``shown`` is what people call the file.

    Raises:
        ManifestError: it is not one this version can read.
    """
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ManifestError(
            f"{shown}: not a manifest this version can read ({where}: {first['msg']}); run the "
            "recipe again to write a new one"
        ) from None
