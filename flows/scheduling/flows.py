"""The three flows: all work that there is, and nobody else owns any.

Each is called with its form, which the fence has checked. Results are persisted, and never read:
the server then refuses to set a Completed run back.
"""

from __future__ import annotations

from typing import Any

from prefect import Flow, flow
from prefect.client.schemas.objects import State
from pydantic import BaseModel

from flows.scheduling.chunk_run import make_chunk_body
from flows.scheduling.forms import ChunkForm, NightlyForm, RunForm
from flows.scheduling.names import MAKE_CHUNK, NIGHTLY, RUN_RECIPE
from flows.scheduling.night import Night
from flows.scheduling.parent import carry_out
from flows.scheduling.recipe_run import RecipeRun

_OURS: dict[str, Any] = {
    "persist_result": True,
    "log_prints": False,
    "retries": 0,
    "validate_parameters": False,
}


@flow(name=MAKE_CHUNK, **_OURS)
def make_chunk(form: ChunkForm) -> State[Any]:
    """Make what is missing of one chunk of a run, on a resident engine of this worker."""
    return make_chunk_body(form)


@flow(name=RUN_RECIPE, **_OURS)
def run_recipe(form: RunForm) -> State[Any]:
    """Make every picture of a recipe that is not there yet; outputs, manifest and report."""
    return carry_out(RecipeRun, form)


@flow(name=NIGHTLY, **_OURS)
def nightly(form: NightlyForm) -> State[Any]:
    """Run every recipe of a folder, each as a run of its own, a few at once."""
    return carry_out(Night, form)


FLOWS: dict[str, tuple[Flow[Any, Any], type[BaseModel]]] = {
    MAKE_CHUNK: (make_chunk, ChunkForm),
    RUN_RECIPE: (run_recipe, RunForm),
    NIGHTLY: (nightly, NightlyForm),
}
