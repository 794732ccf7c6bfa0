"""The model of a recipe and of a plan, from one machine to another."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from kontext_engine.catalogue import HUB_MODELS, SHIPPED, resolve_model
from kontext_engine.errors import ModelError
from kontext_engine.folder import check_whole
from kontext_engine.spec import ModelSpec

if TYPE_CHECKING:
    from flows.recipe.recipe import Recipe


@functools.cache
def _model() -> TypeAdapter[ModelSpec]:
    return TypeAdapter(ModelSpec)


def known_model(recipe: Recipe) -> tuple[ModelSpec | None, list[str]]:
    """The spec of a known model, and a note where its weights are not on this machine.

    ``None`` for any other model: planning finds it, or tells.
    """
    name = recipe.document.model
    if name not in HUB_MODELS:
        return None, []
    try:
        spec = resolve_model(name)
        check_whole(Path(spec.source), planning=True)
        return spec, []
    except ModelError as error:
        return HUB_MODELS[name], [f"{recipe.path}: {error}"]


def read_model(item: object) -> ModelSpec:
    """A model as ``asdict`` tells of it, through JSON.

    Raises:
        ValidationError: a field is missing or has a wrong value.
    """
    return _model().validate_python(item)


def portable_source(model: ModelSpec) -> str:
    """The name where that is enough to find the model; a folder of one's own goes by its path."""
    if model.name in (*SHIPPED, *HUB_MODELS):
        try:
            if resolve_model(model.name).source == model.source:
                return model.name
        except ModelError:  # a folder that merely has this name
            pass
    return model.source


def local_model(spec: ModelSpec) -> ModelSpec:
    """The model of a plan from a file, as this machine has it.

    Raises:
        ModelError: it is not here, or its weights are others.
    """
    found: list[ModelSpec] = []
    problems: list[str] = []
    for name in dict.fromkeys((spec.source, spec.name)):
        try:
            found.append(resolve_model(name))
        except ModelError as error:
            problems.append(str(error))
    for model in found:
        if model.digest == spec.digest:
            return replace(spec, source=model.source)
    if not found:
        raise ModelError(problems[0])
    raise ModelError(
        f"{found[0].source}: other weights ({found[0].digest[:12]}) than the plan's "
        f"({spec.digest[:12]}) under the name '{spec.name}'; install the same model everywhere"
    )
