"""A plan as plain JSON values and back: each key once, steps referred to by their number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from flows.plan.models import portable_source
from flows.plan.step import (
    AS_IT_IS,
    USUAL,
    ContextRef,
    Credit,
    Format,
    Made,
    Operation,
    Page,
    ParentStep,
    Pick,
    Plan,
    PlannedOutput,
    PlannedSheet,
    PlannedVariant,
    Region,
    Shape,
    SheetFormat,
    SourceImage,
    Step,
    StepParams,
    Tile,
    Waiting,
)
from flows.sources.place import StoredSource
from flows.store.objects import Objects
from kontext_engine.spec import ModelSpec, NumericsProfile

Number = Annotated[int, Field(ge=0)]


@dataclass(slots=True)
class _Step:
    key: str
    name: str
    label: str
    operation: Operation
    params: StepParams
    contexts: list[dict[Literal["step", "source"], Number]]
    variants: tuple[str, ...]
    geometry: int = 1
    region: Region | None = None
    method: str = ""
    made: Made | None = None


@dataclass(slots=True)
class _Source:
    input: str
    file: str
    digest: str
    reading: int = 1


@dataclass(slots=True)
class _Variant:
    id: str
    values: Mapping[str, str]
    steps: list[Number]
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Output:
    step: Number
    variant: str
    path: str
    format: Format
    quality: int
    shape: Shape = AS_IT_IS
    alpha: Number | None = None
    credit: Credit = USUAL


@dataclass(slots=True)
class _Sheet:
    path: str
    format: SheetFormat
    heading: str
    tiles: list[tuple[Number, str]]
    columns: int
    page: Page
    missing: Literal["mark", "fail"]
    font: Number | None
    credit: Credit = USUAL


@dataclass(slots=True)
class _Body:
    recipe: str
    file: str
    text: str
    model: ModelSpec
    numerics: NumericsProfile
    steps: list[_Step]
    sources: list[_Source]
    variants: list[_Variant]
    outputs: list[_Output]
    labels: dict[str, Number]
    digest: str
    sets: tuple[str, ...]
    warnings: tuple[str, ...]
    only: tuple[str, ...] = ()
    sheets: list[_Sheet] = field(default_factory=list)
    picks: Mapping[str, Pick] = field(default_factory=dict)
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    project: str | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)
    depends: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)


_BODY = TypeAdapter(_Body)


def to_body(plan: Plan) -> Any:
    """The plan in values that JSON has, without a path of this machine."""
    numbers = {key: number for number, key in enumerate(plan.steps)}
    sources: dict[SourceImage, int] = {}

    def context(ref: ContextRef) -> dict[Literal["step", "source"], int]:
        if isinstance(ref, ParentStep):
            return {"step": numbers[ref.key]}
        return {"source": sources.setdefault(ref, len(sources))}

    steps = [
        _Step(
            step.key,
            step.name,
            step.label,
            step.operation,
            step.params,
            [context(ref) for ref in step.contexts],
            step.variants,
            step.geometry,
            step.region,
            step.method,
            step.made,
        )
        for step in plan.steps.values()
    ]
    sheets = [
        _Sheet(
            one.path,
            one.format,
            one.heading,
            [(numbers[tile.key], tile.caption) for tile in one.tiles],
            one.columns,
            one.page,
            one.missing,
            None if one.font is None else sources.setdefault(one.font, len(sources)),
            one.credit,
        )
        for one in plan.sheets
    ]
    body = _Body(
        plan.recipe,
        plan.recipe_path.name,
        plan.recipe_text,
        replace(plan.model, source=portable_source(plan.model)),
        plan.numerics,
        steps,
        [_Source(ref.input, ref.file, ref.digest, ref.reading) for ref in sources],
        [
            _Variant(one.id, one.values, [numbers[key] for key in one.keys], one.details)
            for one in plan.variants
        ],
        [
            _Output(
                numbers[one.key],
                one.variant,
                one.path,
                one.format,
                one.quality,
                one.shape,
                numbers[one.alpha] if one.alpha else None,
                one.credit,
            )
            for one in plan.outputs
        ],
        {label: numbers[key] for label, key in plan.labels.items()},
        plan.digest,
        plan.sets,
        # They begin with the recipe's path, as the person who planned wrote it.
        tuple(_without_folder(text, plan.recipe_path) for text in plan.warnings),
        plan.only,
        sheets,
        plan.picks,
        plan.waiting,
        plan.project,
        plan.numbers,
        plan.depends,
    )
    return _BODY.dump_python(body)


def from_body(body: object, home: Objects | None) -> Plan:
    """The plan that ``to_body`` gave; its source pictures are in ``home``.

    Raises:
        ValidationError: a field is missing or has a wrong value.
        IndexError, ValueError: a number that is of no step, or of a later one.
    """
    read = _BODY.validate_python(body)
    keys = [step.key for step in read.steps]
    parents = [ParentStep(key) for key in keys]
    sources = [
        SourceImage(
            one.input,
            StoredSource(PurePath(one.file).name, one.digest, home),
            one.digest,
            one.reading,
        )
        for one in read.sources
    ]

    def context(number: int, ref: dict[Literal["step", "source"], int]) -> ContextRef:
        if "source" in ref:
            return sources[ref["source"]]
        if ref["step"] >= number:
            raise ValueError(f"step {number} looks at step {ref['step']}, which is not before it")
        return parents[ref["step"]]

    return Plan(
        recipe=read.recipe,
        recipe_path=Path(PurePath(read.file).name),
        recipe_text=read.text,
        model=read.model,
        numerics=read.numerics,
        steps={
            one.key: Step(
                one.key,
                one.name,
                one.label,
                one.operation,
                one.params,
                tuple([context(number, ref) for ref in one.contexts]),
                one.variants,
                one.geometry,
                one.region,
                one.method,
                one.made,
            )
            for number, one in enumerate(read.steps)
        },
        variants=tuple(
            PlannedVariant(one.id, one.values, tuple([keys[at] for at in one.steps]), one.details)
            for one in read.variants
        ),
        outputs=tuple(
            PlannedOutput(
                keys[one.step],
                one.variant,
                one.path,
                one.format,
                one.quality,
                one.shape,
                "" if one.alpha is None else keys[one.alpha],
                one.credit,
            )
            for one in read.outputs
        ),
        digest=read.digest,
        labels={label: keys[at] for label, at in read.labels.items()},
        sets=read.sets,
        warnings=read.warnings,
        only=read.only,
        sheets=tuple(
            PlannedSheet(
                one.path,
                one.format,
                one.heading,
                tuple([Tile(keys[at], caption) for at, caption in one.tiles]),
                one.columns,
                one.page,
                one.missing,
                None if one.font is None else sources[one.font],
                one.credit,
            )
            for one in read.sheets
        ),
        picks=read.picks,
        waiting=read.waiting,
        project=read.project,
        numbers=read.numbers,
        depends=read.depends,
    )


def _without_folder(text: str, path: Path) -> str:
    folder = str(path.parent)
    return text if folder == "." else text.replace(f"{folder}/", "")
