"""The three flows: all work that there is, and nobody else owns any.

Results are persisted, and never read: the server then refuses to set a Completed run back.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flows.scheduling.chunk_run import make_chunk_body
from flows.scheduling.forms import CONCURRENCY, ChunkForm, NightlyForm, RunForm
from flows.scheduling.names import MAKE_CHUNK, NIGHTLY, RUN_RECIPE, Queue
from flows.scheduling.night import nightly_body
from flows.scheduling.recipe_run import run_recipe_body

from prefect import Flow, flow  # isort: skip - after server.py, which tells it to send no telemetry
from prefect.client.schemas.objects import State  # isort: skip
from pydantic import BaseModel  # isort: skip


@flow(name=MAKE_CHUNK, persist_result=True, log_prints=False, retries=0, validate_parameters=False)
def make_chunk(store: str, run: str, chunk: str, order: int = 0) -> State[Any]:
    """Make what is missing of one chunk of a run, on a resident engine of this worker."""
    return make_chunk_body(ChunkForm(store=store, run=run, chunk=chunk, order=order))


@flow(name=RUN_RECIPE, persist_result=True, log_prints=False, retries=0, validate_parameters=False)
def run_recipe(
    recipe: str,
    store: str,
    overrides: list[str] | None = None,
    only: list[str] | None = None,
    queue: Queue = "urgent",
    deadline: datetime | None = None,
) -> State[Any]:
    """Make every picture of a recipe that is not there yet; outputs, manifest and report."""
    return run_recipe_body(
        RunForm.model_validate(
            {
                "recipe": recipe,
                "overrides": overrides or [],
                "only": only or [],
                "store": store,
                "queue": queue,
                "deadline": deadline,
            }
        )
    )


@flow(name=NIGHTLY, persist_result=True, log_prints=False, retries=0, validate_parameters=False)
def nightly(
    store: str,
    recipes: str = "",
    concurrency: int = CONCURRENCY,
    deadline_hours: float | None = None,
) -> State[Any]:
    """Run every recipe of a folder, each as a run of its own, a few at once."""
    return nightly_body(
        NightlyForm(
            recipes=recipes, store=store, concurrency=concurrency, deadline_hours=deadline_hours
        )
    )


FLOWS: dict[str, tuple[Flow[Any, Any], type[BaseModel]]] = {
    MAKE_CHUNK: (make_chunk, ChunkForm),
    RUN_RECIPE: (run_recipe, RunForm),
    NIGHTLY: (nightly, NightlyForm),
}
