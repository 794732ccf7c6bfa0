"""What things are called in Prefect. No Prefect here: the command line reads it, too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

WORKER_TYPE: Final = "kontext"  # of both pools
PARENTS_POOL: Final = "kontext-parents"  # run-recipe and nightly; they need no engine
CHUNKS_POOL: Final = "kontext"  # make-chunk

Queue = Literal["urgent", "nightly"]
# Of the chunks' pool; the lower number goes first, and nothing of the other starts before.
PRIORITIES: Final[dict[Queue, int]] = {"urgent": 1, "nightly": 10}

RUN_RECIPE: Final = "run-recipe"
NIGHTLY: Final = "nightly"
MAKE_CHUNK: Final = "make-chunk"
PARENTS: Final = (RUN_RECIPE, NIGHTLY)


def deployment(flow: str) -> str:
    """``run-recipe/run-recipe``: each flow has one deployment under its own name.

    Recipes with parameters have one of ``run-recipe`` each beside it.
    """
    return f"{flow}/{flow}"


def recipe_deployment(recipe: str) -> str:
    """What the deployment of a recipe with parameters is called: ``seasons``, ``spring.looks``."""
    name = re.sub(r"[/%&<>]", ".", recipe)
    return name if name != RUN_RECIPE else f"{name}."


def parent_name(flow_run: object) -> str:
    """What a parent's lease and verdicts are called: by its flow run, which nobody else has."""
    return f"parents/{flow_run}"


def chunks_of(flow_run: object) -> str:
    """The beginning of the names of a parent's chunks."""
    return f"chunks/{flow_run}/"


def lease_name(flow_run: object, parameters: Mapping[str, Any]) -> str:
    """What the lease of a run is called: a chunk's by what it makes, a parent's by its run."""
    if {"run", "chunk"} <= parameters.keys():
        return f"{chunks_of(parameters['run'])}{parameters['chunk']}"
    return parent_name(flow_run)
