"""The Prefect flow ``run-recipe``: the functions of ``flows.pipeline`` where Prefect can see them.

The store is the one owner of "done": Prefect persists and caches no result here. Only this module
imports prefect; without a server ``kontext run`` never comes here.
"""

from __future__ import annotations

import logging
import os
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path

# Before prefect is imported, which reads its settings then.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State as FlowState
from prefect.states import Cancelled, Completed, Failed

from flows.defaults import DEFAULT_BATCH, DEFAULT_OUT
from flows.execution.events import (
    EngineLoaded,
    Event,
    Listener,
    Retrying,
    Settled,
    Started,
    both,
)
from flows.execution.outcome import Ending, Outcome, State
from flows.numerics import Device, Dtype
from flows.pipeline import (
    Finished,
    Hooks,
    RunRequest,
    claimed,
    execute,
    links_for,
    plan_recipe,
    publish,
    run_folder,
)
from flows.recipe.errors import RecipeError
from flows.recipe.step import Plan
from flows.settings import Settings, SettingsError
from flows.store.address import open_store
from flows.store.base import StoreError


class FlowError(Exception):
    """The flow could not be run at all; the message says why."""


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who called the flow in this process: its hooks and settings, and where it finds the end."""

    hooks: Hooks
    settings: Settings | None = None
    finished: list[Finished] = field(default_factory=list)


# Flow parameters travel as JSON; a caller's own functions cannot, and come this way.
_caller: ContextVar[_Caller | None] = ContextVar("kontext_caller", default=None)


def run_as_flow(request: RunRequest, hooks: Hooks) -> Finished:
    """Run ``run-recipe`` in this process, recorded by the Prefect API that is configured.

    Raises:
        RecipeError: the recipe is wrong; no flow run is made of it.
        FlowError: Prefect cannot be reached, or the flow ended without a result.
    """
    plan_recipe(request)
    caller = _Caller(hooks, request.settings)
    token = _caller.set(caller)
    try:
        state = run_recipe_flow(
            recipe=request.recipe,
            out=str(request.out),
            sets=list(request.sets),
            only=list(request.only),
            dtype=request.dtype,
            device=request.device,
            batch=request.batch,
            return_state=True,
        )
    except Exception as error:
        where = os.environ.get("PREFECT_API_URL", "its temporary server")
        raise FlowError(
            f"Prefect at {where}: {type(error).__name__}: {error}; start it with 'prefect server "
            "start', or run with --no-prefect"
        ) from error
    finally:
        _caller.reset(token)
    if not caller.finished:
        raise FlowError(f"the flow run ended as {state.name}: {state.message}")
    return caller.finished[0]


@flow(name="run-recipe", persist_result=False, retries=0)
def run_recipe_flow(
    recipe: Path,
    *,
    out: str = str(DEFAULT_OUT),
    sets: list[str] | None = None,
    only: list[str] | None = None,
    dtype: Dtype | None = None,
    device: Device = Device.CPU,
    batch: int = DEFAULT_BATCH,
) -> FlowState[None]:
    """Make every picture of a recipe that is not there yet; write outputs, manifest and report.

    Args:
        recipe: the recipe's YAML file, on the host that runs this flow.
        out: where pictures and runs are kept: a folder or s3://bucket/prefix.
        sets: ``name=value`` pairs that change variables or settings.
        only: selectors of steps or variants; empty is all.
        dtype: precision; default: float32 on cpu, bfloat16 on cuda.
        device: where to compute.
        batch: the most pictures computed together; changes no picture.
    """
    caller = _caller.get() or _Caller(Hooks())
    request = RunRequest(
        recipe,
        out,
        tuple(sets or ()),
        tuple(only or ()),
        dtype,
        device,
        batch,
        settings=caller.settings,
    )
    logger = get_run_logger()
    try:
        plan = plan_recipe(request)
        for warning in plan.warnings:
            logger.warning(warning)
        store = open_store(request.out, request.chosen)
        run = run_folder(plan, store.objects)
        with claimed(plan, run, replace(caller.hooks, say=logger.info)):
            outcome = _make(plan, request, caller.hooks)
            finished = publish(plan, outcome, store, run, links_for(run, request.chosen))
    except (RecipeError, SettingsError, StoreError) as error:
        # A person's mistake or a full disk: a message, not a traceback.
        return Failed(message=str(error))
    logger.info("report: %s", finished.report)
    caller.finished.append(finished)
    return _final_state(finished)


# Prefect keeps no result of it: the store is the one owner of "done".
@task(name="make pictures", persist_result=False, cache_policy=NO_CACHE, retries=0)
def _make(plan: Plan, request: RunRequest, hooks: Hooks) -> Outcome:
    listener = both(hooks.on_event, _log_events())
    store = open_store(request.out, request.chosen)
    return execute(plan, request, replace(hooks, on_event=listener), store)


def _final_state(finished: Finished) -> FlowState[None]:
    counts = ", ".join(f"{n} {state.value}" for state, n in finished.manifest.counts.items() if n)
    if finished.manifest.whole:
        return Completed(message=counts)
    if finished.manifest.ending is Ending.INTERRUPTED:
        return Cancelled(message=f"interrupted: {counts}")
    why = f"; {finished.manifest.why}" if finished.manifest.why else ""
    return Failed(message=f"{counts}{why}; see {finished.report}")


def _log_events() -> Listener:
    """A listener that tells the run's log what a person would want to read there."""
    logger = get_run_logger()

    def hear(event: Event) -> None:
        match event:
            case Started(total=total, missing=missing):
                logger.info("%d steps, %d of them to do", total, missing)
            case EngineLoaded(model=model, seconds=seconds):
                logger.info("%s loaded in %.1f s", model, seconds)
            case Retrying(label=label, reason=reason):
                logger.warning("again: %s (%s)", label, reason)
            case Settled(outcome=outcome, label=label) if outcome.state is not State.CACHED:
                bad = outcome.state in {State.FAILED, State.BLOCKED}
                level = logging.WARNING if bad else logging.INFO
                logger.log(level, "%s: %s %s", outcome.state.value, label, outcome.reason)

    return hear
