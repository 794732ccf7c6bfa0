"""A plan as plain JSON values and back: each key once, steps referred to by their number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any

from flows.recipe.place import StoredSource
from flows.recipe.step import (
    ContextRef,
    ParentStep,
    Plan,
    PlannedOutput,
    PlannedVariant,
    SourceImage,
    Step,
    StepParams,
)
from flows.store.objects import Objects
from kontext_engine.catalogue import HUB_MODELS, SHIPPED, resolve_model
from kontext_engine.errors import ModelError
from kontext_engine.geometry import Fit, Size
from kontext_engine.spec import Condition, ContextIds, ModelSpec, NumericsProfile


def to_body(plan: Plan) -> dict[str, Any]:
    """The plan in values that JSON has, without a path of this machine."""
    numbers = {key: number for number, key in enumerate(plan.steps)}
    sources: dict[SourceImage, int] = {}

    def context(ref: ContextRef) -> dict[str, int]:
        if isinstance(ref, ParentStep):
            return {"step": numbers[ref.key]}
        return {"source": sources.setdefault(ref, len(sources))}

    def step(step: Step) -> dict[str, Any]:
        return {
            "key": step.key,
            "name": step.name,
            "label": step.label,
            "operation": step.operation,
            "params": _params(step.params),
            "contexts": [context(ref) for ref in step.contexts],
            "variants": step.variants,
        }

    return {
        "recipe": plan.recipe,
        "file": plan.recipe_path.name,
        "text": plan.recipe_text,
        "model": asdict(plan.model) | {"source": _portable_source(plan.model)},
        "numerics": asdict(plan.numerics),
        "steps": [step(item) for item in plan.steps.values()],
        "sources": [
            {"input": ref.input, "file": ref.file, "digest": ref.digest} for ref in sources
        ],
        "variants": [
            {
                "id": variant.id,
                "values": dict(variant.values),
                "steps": [numbers[key] for key in variant.keys],
            }
            for variant in plan.variants
        ],
        "outputs": [
            {
                "step": numbers[output.key],
                "variant": output.variant,
                "path": output.path,
                "format": output.format,
                "quality": output.quality,
            }
            for output in plan.outputs
        ],
        "labels": {label: numbers[key] for label, key in plan.labels.items()},
        "digest": plan.digest,
        "sets": plan.sets,
        # They begin with the recipe's path, as the person who planned wrote it.
        "warnings": [_without_folder(text, plan.recipe_path) for text in plan.warnings],
    }


def _params(params: StepParams) -> dict[str, Any]:
    # By hand: ``asdict`` copies deeply and takes ten times as long.
    return {
        "prompt": params.prompt,
        "seed": params.seed,
        "steps": params.steps,
        "guidance": params.guidance,
        "negative_prompt": params.negative_prompt,
        "true_cfg": params.true_cfg,
        "size": params.size,
        "fit": params.fit,
    }


def _portable_source(model: ModelSpec) -> str:
    """The name where that is enough to find the model; a folder of one's own goes by its path."""
    if model.name in (*SHIPPED, *HUB_MODELS):
        try:
            if resolve_model(model.name).source == model.source:
                return model.name
        except ModelError:  # a folder that merely has this name
            pass
    return model.source


def _without_folder(text: str, path: Path) -> str:
    folder = str(path.parent)
    return text if folder == "." else text.replace(f"{folder}/", "")


def from_body(body: Mapping[str, Any], home: Objects | None) -> Plan:
    """The plan that ``to_body`` gave; its source pictures are in ``home``.

    Raises:
        KeyError, IndexError, TypeError, ValueError: a field is missing or has a wrong value.
    """
    return _Reader(body, home).plan()


class _Reader:
    def __init__(self, body: Mapping[str, Any], home: Objects | None) -> None:
        self._body = body
        self._keys = tuple(str(step["key"]) for step in body["steps"])
        self._refs = [ParentStep(key) for key in self._keys]
        self._sources = [
            SourceImage(
                source["input"],
                StoredSource(PurePath(source["file"]).name, source["digest"], home),
                source["digest"],
            )
            for source in body["sources"]
        ]

    def plan(self) -> Plan:
        body = self._body
        steps = {
            key: self._step(number, key, item)
            for number, (key, item) in enumerate(zip(self._keys, body["steps"], strict=True))
        }
        return Plan(
            recipe=body["recipe"],
            recipe_path=Path(PurePath(body["file"]).name),
            recipe_text=body["text"],
            model=read_model(body["model"]),
            numerics=NumericsProfile(**body["numerics"]),
            steps=steps,
            variants=tuple(
                PlannedVariant(
                    item["id"], item["values"], tuple(self._keys[at] for at in item["steps"])
                )
                for item in body["variants"]
            ),
            outputs=tuple(
                PlannedOutput(
                    self._keys[item["step"]],
                    item["variant"],
                    item["path"],
                    item["format"],
                    item["quality"],
                )
                for item in body["outputs"]
            ),
            digest=body["digest"],
            labels={label: self._keys[at] for label, at in body["labels"].items()},
            sets=tuple(body["sets"]),
            warnings=tuple(body["warnings"]),
        )

    def _step(self, number: int, key: str, item: Mapping[str, Any]) -> Step:
        return Step(
            key=key,
            name=item["name"],
            label=item["label"],
            operation=item["operation"],
            params=_read_params(item["params"]),
            contexts=tuple(self._context(number, ref) for ref in item["contexts"]),
            variants=tuple(item["variants"]),
        )

    def _context(self, number: int, ref: Mapping[str, int]) -> ContextRef:
        if "source" in ref:
            return self._sources[ref["source"]]
        if not 0 <= ref["step"] < number:
            raise ValueError(f"step {number} looks at step {ref['step']}, which is not before it")
        return self._refs[ref["step"]]


def _read_params(item: Mapping[str, Any]) -> StepParams:
    size = item["size"]
    return StepParams(
        prompt=item["prompt"],
        seed=item["seed"],
        steps=item["steps"],
        guidance=item["guidance"],
        negative_prompt=item["negative_prompt"],
        true_cfg=item["true_cfg"],
        size=Size(*size) if size is not None else None,
        fit=Fit(item["fit"]),
    )


def read_model(item: Mapping[str, Any]) -> ModelSpec:
    """A model as ``asdict`` tells of it, through JSON.

    Raises:
        KeyError, TypeError, ValueError: a field is missing or has a wrong value.
    """
    return ModelSpec(
        **{
            **item,
            "default_size": Size(*item["default_size"]),
            "sizes": tuple(Size(*size) for size in item["sizes"]),
            "context_ids": ContextIds(item["context_ids"]),
            "condition": Condition(item["condition"]),
        }
    )
