"""A stage of a run: its plan and how that was cut, written once, for whoever goes on with it.

``stages/<run>/<round>-<stage>.plan`` is the plan, ``….json`` the chunks; ``<run>`` is the flow run
that wants it. Both are create-only, the chunks last, so a stage is either whole or garbage. A
parent that was killed goes on by it, whatever has become of the recipe meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, ValidationError

from flows.plan.planfile import PlanFileError, decode_plan, encode_plan
from flows.plan.step import Plan, SourceImage
from flows.sources.place import StoredSource
from flows.store.base import StoreError
from flows.store.objects import Objects, checked

STAGES = "stages/"
KEPT = 4  # stages that a process remembers: a plan of 10^5 steps takes seconds to read

_kept: dict[tuple[str, str], Stage] = {}


class StageError(StoreError):
    """What the store tells of a run's stage cannot be read."""


class _Sheet(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ChunkSheet(_Sheet):
    """A chunk: what one engine makes in one go, when the chunks that it comes ``after`` have ended.

    ``keys`` are in the plan's order; ``seconds`` of engine time are expected, ``None`` when nothing
    was measured. ``outputs`` are keys of output files to be encoded: of these steps, or, in a chunk
    without steps, of pictures that are there; that takes no engine.
    """

    name: str
    keys: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    seconds: float | None = None


class StageSheet(_Sheet):
    """How a stage was cut, and what it was planned with."""

    folder: str  # of the run, below runs/
    recipe: str  # SHA-256 of the recipe's text
    engines: int
    cached: tuple[str, ...]  # keys that were there when it was cut
    sources: tuple[str, ...]  # SHA-256 of the pictures that it begins with
    began: float  # Unix time by the planner's clock, for people
    chunks: tuple[ChunkSheet, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage as it is read."""

    plan: Plan
    sheet: StageSheet

    def chunk(self, name: str) -> ChunkSheet:
        """One of its chunks.

        Raises:
            StageError: it has none of this name.
        """
        for chunk in self.sheet.chunks:
            if chunk.name == name:
                return chunk
        raise StageError(f"no chunk '{name}' in the stage of {self.sheet.folder}")


def write_stage(objects: Objects, run: str, number: str, plan: Plan, sheet: StageSheet) -> Stage:
    """Write it, unless it is there; the one that counts.

    Raises:
        StageError: another is there, and cannot be read.
        StoreError: the store fails.
    """
    mine = objects.create(_name(run, number, "plan"), encode_plan(plan))
    mine &= objects.create(_name(run, number, "json"), sheet.model_dump_json(indent=1).encode())
    stage = None if mine else read_stage(objects, run, number)
    return stage or Stage(_stored(plan, objects), sheet)


def _stored(plan: Plan, home: Objects) -> Plan:
    """The plan as it would be read back: its sources are opened from the store.

    Reading it back takes, at 10^5 steps, ten seconds and the memory of another plan.
    """
    found: dict[SourceImage, SourceImage] = {}

    def stored(ref: SourceImage) -> SourceImage:
        place = StoredSource(ref.file, ref.digest, home)
        return found.setdefault(ref, replace(ref, path=place))

    steps = {
        key: replace(
            step,
            contexts=tuple(
                [stored(ref) if isinstance(ref, SourceImage) else ref for ref in step.contexts]
            ),
        )
        if len(step.parents) < len(step.contexts)
        else step
        for key, step in plan.steps.items()
    }
    sheets = tuple(
        one if one.font is None else replace(one, font=stored(one.font)) for one in plan.sheets
    )
    return replace(plan, steps=steps, sheets=sheets)


def read_stage(objects: Objects, run: str, number: str) -> Stage | None:
    """A stage, or ``None`` when it was not cut yet. Read once a process: it never changes.

    Raises:
        StageError: it cannot be read.
        StoreError: the store fails.
    """
    key = (f"{objects.where}/{run}", number)
    if (kept := _kept.get(key)) is not None:
        return kept
    name = _name(run, number, "json")
    held, plan = objects.get(name), objects.get(_name(run, number, "plan"))
    if held is None or plan is None:
        return None
    try:
        stage = Stage(decode_plan(plan.data, objects), StageSheet.model_validate_json(held.data))
    except PlanFileError as error:
        raise StageError(f"{objects.where}/{name}: {error}") from None
    except ValidationError as error:
        raise StageError(f"{objects.where}/{name}: {error.errors()[0]['msg']}") from None
    _kept[key] = stage
    for old in list(_kept)[:-KEPT]:
        _kept.pop(old, None)
    return stage


def needs(data: bytes) -> tuple[frozenset[str], frozenset[str]]:
    """Of a stage's ``….json``: the keys that its run wants, and the blobs that it reads.

    Raises:
        ValueError: it is none.
    """
    sheet = StageSheet.model_validate_json(data)  # its error is a ValueError
    keys = {key for chunk in sheet.chunks for key in chunk.keys}
    return frozenset(keys | set(sheet.cached)), frozenset(sheet.sources)


def _name(run: str, number: str, kind: str) -> str:
    return checked(f"{STAGES}{run}/{number}.{kind}")
