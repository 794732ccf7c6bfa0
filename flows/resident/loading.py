"""From a model's spec to an engine, inside the engine process. The engine is imported here only,
and lazily: importing this module loads no torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kontext_engine.api import Engine, EngineOptions
from kontext_engine.errors import ModelError
from kontext_engine.spec import ModelSpec

EngineLoader = Callable[[ModelSpec, EngineOptions], Engine]

KONTEXT = "flows.resident.loading:load_kontext"


def load_kontext(spec: ModelSpec, options: EngineOptions) -> Engine:
    """The real engine, with this machine's copy of the model.

    Raises:
        ModelError: the model is not here, cannot be loaded, or has other weights than ``spec``.
    """
    from kontext_engine.engine import KontextEngine

    return KontextEngine.load(local_model(spec), options)


def local_model(spec: ModelSpec) -> ModelSpec:
    """The model as this machine has it: planned on another, its folder may be elsewhere here.

    Raises:
        ModelError: it is not here, or its weights are others; keys name weights, so pictures of
            others under them would be lies.
    """
    from kontext_engine.catalogue import resolve_model

    here = resolve_model(spec.source if Path(spec.source).is_dir() else spec.name)
    if here.digest != spec.digest:
        raise ModelError(
            f"model '{spec.name}': the weights in {here.source} (digest {here.digest[:12]}) are "
            f"not those that the run was planned with ({spec.digest[:12]}); put the same weights "
            "on every host, or plan the run again"
        )
    return replace(spec, source=here.source)


def find_loader(name: str) -> EngineLoader:
    """The callable that ``module:attribute`` names, its engine's libraries loaded already.

    Loading torch takes seconds; this way it is done before the first job asks for it.
    """
    if name == KONTEXT:
        import kontext_engine.engine  # noqa: F401

    module, _, attribute = name.partition(":")
    loader: EngineLoader = getattr(importlib.import_module(module), attribute)
    return loader
