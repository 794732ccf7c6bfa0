"""What decides the pixels of a file, as it travels in the file or is read from a manifest.

It is plain JSON: the steps from the sources to the picture, each with what its key is made of; the
model and the numerics; what became of the picture in the file. No name of a recipe, a step or a
file is in it, so what it says follows from the output's key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from flows.plan.keys import cutout_key, extended_key, plan_digest, shape_of, step_key
from flows.plan.step import (
    AS_IT_IS,
    ContextRef,
    Format,
    Operation,
    ParentStep,
    Plan,
    PlannedOutput,
    PlannedVariant,
    Region,
    Shape,
    SourceImage,
    Step,
    StepParams,
)
from flows.run.manifest import Manifest, OutputEntry, StepEntry
from flows.run.provenance import plain, rules_of
from flows.sources.place import Place, StoredSource
from kontext_engine.spec import ModelSpec, NumericsProfile

VERSION = 1
Told = Mapping[str, Any]


class DecidingError(ValueError):
    """What is told cannot be read, or is not what the key is made of; the message says why."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class _Step:
    operation: Operation
    params: StepParams
    contexts: list[dict[str, Any]]
    geometry: int = 1
    region: Region | None = None
    method: str = ""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class _File:
    format: Format
    quality: int
    shape: Shape


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Deciding:
    """``steps`` each after those it reads; ``picture`` and ``alpha`` are places in them, ``key`` is
    the picture's; the model by name and digest.
    """

    version: int
    key: str
    model: dict[str, str]
    numerics: NumericsProfile
    steps: list[_Step]
    picture: int
    file: _File
    alpha: int | None = None


_DECIDING = TypeAdapter(Deciding)


def deciding(plan: Plan, planned: PlannedOutput) -> dict[str, Any]:
    """What decides the pixels of a planned file."""
    numbers = numbered(planned.keys, lambda key: plan.steps[key].parents)

    def context(ref: ContextRef) -> dict[str, Any]:
        if isinstance(ref, ParentStep):
            return {"step": numbers[ref.key]}
        return {"source": ref.digest, **({"reading": ref.reading} if ref.reading > 1 else {})}

    return _told(
        planned,
        {"name": plan.model.name, "digest": plan.model.digest},
        plain(asdict(plan.numerics)),
        [_words(plan.steps[key], [context(ref) for ref in plan.steps[key].contexts])
         for key in numbers],
        numbers,
    )  # fmt: skip


def deciding_of(manifest: Manifest, entry: OutputEntry) -> dict[str, Any]:
    """The same of a file of a run, by its manifest.

    Raises:
        DecidingError: the manifest is of an earlier release, which told less.
    """
    steps = {step.key: step for step in manifest.steps}
    if entry.key not in steps:
        raise DecidingError("is a contact sheet; run its recipe again to remake it")
    try:
        numbers = numbered(
            (entry.key, entry.alpha) if entry.alpha else (entry.key,),
            lambda key: [one.name for one in steps[key].contexts if one.kind == "step"],
        )
    except KeyError as error:
        raise DecidingError(f"needs a step that the manifest lacks ({error})") from None
    return _told(
        entry,
        {"name": manifest.model.name, "digest": manifest.model.digest},
        dict(manifest.numerics),
        [_of_entry(steps[key], numbers) for key in numbers],
        numbers,
    )


def read_told(told: object) -> Deciding:
    """What was told, typed.

    Raises:
        DecidingError: it is of another version, or lacks something.
    """
    try:
        found = _DECIDING.validate_python(told)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise DecidingError(f"cannot be read ({where}: {first['msg']})") from None
    if found.version != VERSION:
        raise DecidingError(f"is of version {found.version}, and this software reads {VERSION}")
    return found


def sources_in(told: Deciding) -> tuple[str, ...]:
    """The SHA-256 of each picture that it begins with."""
    refs = (ref for step in told.steps for ref in step.contexts)
    return tuple(dict.fromkeys(str(ref["source"]) for ref in refs if "source" in ref))


def rebuilt(
    told: Deciding,
    model: ModelSpec,
    places: Mapping[str, Place | StoredSource],
    path: str,
    seed: int | None = None,
) -> Plan:
    """A plan that makes the file again, as ``path``; ``seed``, with another one.

    Raises:
        DecidingError: the picture's key is another by now: this software, or the model, would make
            another picture.
    """
    steps: list[Step] = []
    for number, one in enumerate(told.steps):
        last = number == told.picture
        params = replace(one.params, seed=seed) if last and seed is not None else one.params
        contexts = tuple(_context(ref, steps, places) for ref in one.contexts)
        key = _key(one, params, contexts, model, told.numerics)
        steps.append(
            Step(key, f"step{number + 1}", f"step{number + 1}", one.operation, params, contexts,
                 ("file",), one.geometry, one.region, one.method)
        )  # fmt: skip
    picture = steps[told.picture]
    if seed is None and picture.key != told.key:
        raise DecidingError(
            f"has key {told.key[:12]}, and this release with this model would give "
            f"{picture.key[:12]}: another picture; use the release that made it"
        )
    alpha = "" if told.alpha is None else steps[told.alpha].key
    file = told.file
    output = PlannedOutput(picture.key, "file", path, file.format, file.quality, file.shape, alpha)
    by_key = {step.key: step for step in steps}
    return Plan(
        recipe="remake",
        recipe_path=Path("remake.yaml"),
        recipe_text="",
        model=model,
        numerics=told.numerics,
        steps=by_key,
        variants=(PlannedVariant("file", {}, tuple(by_key)),),
        outputs=(output,),
        digest=plan_digest(by_key, (output,)),
        labels={step.label: step.key for step in steps},
    )


def _told(
    file: PlannedOutput | OutputEntry,
    model: dict[str, str],
    numerics: Any,
    steps: list[dict[str, Any]],
    numbers: Mapping[str, int],
) -> dict[str, Any]:
    shape = dict(file.shape) if isinstance(file, OutputEntry) else shape_of(file.shape)
    shape = {} if shape == shape_of(AS_IT_IS) else shape
    told = {
        "version": VERSION,
        "key": file.key,
        "model": model,
        "numerics": numerics,
        "steps": steps,
        "picture": numbers[file.key],
        "file": {"format": file.format, "quality": file.quality, "shape": shape},
    }
    return told | ({"alpha": numbers[file.alpha]} if file.alpha else {})


def numbered(keys: Iterable[str], parents: Callable[[str], Iterable[str]]) -> dict[str, int]:
    """The keys and all above them, each after its parents, by their place."""
    found: dict[str, int] = {}
    below = list(keys)[::-1]
    while below:
        missing = [key for key in parents(below[-1]) if key not in found]
        if missing:
            below.extend(missing[::-1])
        else:
            found.setdefault(below.pop(), len(found))
    return found


def _words(step: Step, contexts: list[dict[str, Any]]) -> dict[str, Any]:
    params = plain(asdict(step.params))
    return {
        "operation": step.operation, "params": params, "contexts": contexts, **rules_of(step)
    }  # fmt: skip


def _of_entry(step: StepEntry, numbers: Mapping[str, int]) -> dict[str, Any]:
    contexts: list[dict[str, Any]] = [
        {"step": numbers[one.name]}
        if one.kind == "step"
        else {"source": one.name, **({"reading": one.reading} if one.reading > 1 else {})}
        for one in step.contexts
    ]
    params = dict(step.params)
    return {
        "operation": step.operation, "params": params, "contexts": contexts, **step.rules
    }  # fmt: skip


def _context(
    ref: Mapping[str, Any], steps: list[Step], places: Mapping[str, Place | StoredSource]
) -> ContextRef:
    if "step" in ref:
        number = ref["step"]
        if not isinstance(number, int) or not 0 <= number < len(steps):
            raise DecidingError(f"looks at step {number}, which is not before it")
        return ParentStep(steps[number].key)
    digest = str(ref.get("source"))
    place = places.get(digest) or StoredSource(f"{digest[:12]}", digest)
    return SourceImage("source", place, digest, int(ref.get("reading", 1)))


def _key(
    one: _Step,
    params: StepParams,
    contexts: tuple[ContextRef, ...],
    model: ModelSpec,
    numerics: NumericsProfile,
) -> str:
    if one.operation == "cutout":
        return cutout_key(contexts, one.method)
    plain_key = step_key(one.operation, params, contexts, model, numerics)
    return extended_key(plain_key, one.geometry, one.region)
