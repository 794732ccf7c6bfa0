"""From a model's spec to an engine, inside the engine process. The engine is imported here only,
and lazily: importing this module loads no torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from kontext_engine.api import Engine, EngineOptions
from kontext_engine.errors import ModelError
from kontext_engine.spec import ModelSpec

if TYPE_CHECKING:
    from kontext_engine.engine import KontextEngine

EngineLoader = Callable[[ModelSpec, EngineOptions], Engine]

KONTEXT = "flows.engines.loading:load_kontext"


def not_installed(library: str) -> str:
    """What to say where the engine's libraries are missing."""
    return (
        f"'{library}' is not installed; expected the extra 'engine' of this package; "
        "pip install 'kontext-pipeline[engine]'"
    )


def engine_class() -> type[KontextEngine]:
    """The real engine's class; its libraries take seconds to import.

    Raises:
        ModelError: they are not installed.
    """
    try:
        from kontext_engine.engine import KontextEngine
    except ModuleNotFoundError as error:
        raise ModelError(not_installed(error.name or str(error))) from error
    return KontextEngine


def load_kontext(spec: ModelSpec, options: EngineOptions) -> Engine:
    """The real engine.

    Raises:
        ModelError: the model is not here, cannot be loaded, or has other weights than ``spec``:
            keys name weights, so pictures of others under them would be lies.
    """
    from kontext_engine.catalogue import resolve_model

    here = resolve_model(spec.source)
    if here.digest != spec.digest:
        raise ModelError(
            f"model '{spec.name}': the weights in {here.source} (digest {here.digest[:12]}) are "
            f"not those that the run was planned with ({spec.digest[:12]}); put the same weights "
            "on every host, or plan the run again"
        )
    return engine_class().load(spec, options)


def find_loader(name: str) -> EngineLoader:
    """The callable that ``module:attribute`` names, its engine's libraries loaded already.

    Loading torch takes seconds; this way it is done before the first job asks for it.
    """
    if name == KONTEXT:
        engine_class()
    module, _, attribute = name.partition(":")
    loader: EngineLoader = getattr(importlib.import_module(module), attribute)
    return loader
