"""A run from recipe to report, in plain functions, which command line and Prefect flow call.

``plan_recipe`` -> ``run_plan`` (chunks, engine, store) -> ``publish`` (outputs, manifest, report).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from flows.defaults import DEFAULT_BATCH, DEFAULT_OUT
from flows.execution.engines import engine_factory
from flows.execution.events import Listener, ignore
from flows.execution.execute import CancelSignal, EngineFactory, never, run_plan
from flows.execution.outcome import Outcome
from flows.files import write_whole
from flows.manifest import FILE_NAME as MANIFEST_NAME
from flows.manifest import Manifest, ManifestError, build_manifest, read_manifest
from flows.numerics import Device, Dtype, choose_numerics
from flows.outputs import OutputWriter
from flows.recipe.step import Plan, SourceImage
from flows.store.atomic import disk_errors
from flows.store.base import Store
from flows.store.local import LocalStore


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What somebody asks for: a recipe and how to run it.

    ``sets`` are ``name=value`` pairs, ``only`` selectors, ``batch`` the most pictures computed
    together (it changes no picture).
    """

    recipe: Path
    out: Path = DEFAULT_OUT
    sets: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    dtype: Dtype | None = None
    device: Device = Device.CPU
    batch: int = DEFAULT_BATCH


@dataclass(frozen=True, slots=True)
class Finished:
    """A run's end: its folder, what is in it, and the manifest that tells."""

    folder: Path
    manifest: Manifest
    report: Path

    @property
    def manifest_path(self) -> Path:
        """Where ``manifest.json`` is."""
        return self.folder / MANIFEST_NAME


@dataclass(frozen=True, slots=True)
class Hooks:
    """How a run is watched, stopped and given its engine; the defaults do what people expect."""

    on_event: Listener = ignore
    cancelled: CancelSignal = never
    factory: Callable[[Plan, Path, int], EngineFactory] = engine_factory


def plan_recipe(request: RunRequest) -> Plan:
    """Read, check and plan the recipe.

    Raises:
        RecipeError: whatever is wrong with it.
    """
    from flows.recipe.plan import make_plan
    from flows.recipe.recipe import load_recipe

    recipe = load_recipe(request.recipe, request.sets)
    numerics = choose_numerics(request.dtype, request.device)
    return make_plan(recipe, numerics=numerics, only=request.only)


def run_recipe(plan: Plan, request: RunRequest, hooks: Hooks = Hooks()) -> Finished:
    """Make what is missing of ``plan`` and publish it under ``request.out``.

    Raises:
        StoreError: ``out`` is full or cannot be written; what is stored stays.
    """
    store = open_store(request.out)
    outcome = execute(plan, request, hooks, store)
    return publish(plan, outcome, store, request.out)


def execute(plan: Plan, request: RunRequest, hooks: Hooks, store: Store) -> Outcome:
    """Make what is missing of ``plan``; never raises for what may go wrong with it."""
    factory = hooks.factory(plan, request.out, request.batch)
    return run_plan(plan, store, factory, on_event=hooks.on_event, cancelled=hooks.cancelled)


def open_store(out: Path) -> Store:
    """The store under ``out``."""
    return LocalStore(out)


def run_folder(plan: Plan, out: Path, day: date | None = None) -> Path:
    """``<out>/runs/<YYYY-MM-DD>-<recipe>-<id>``: the same plan on the same day is the same run."""
    name = re.sub(r"[^A-Za-z0-9._]+", "-", plan.recipe).strip("-.")[:60] or "recipe"
    return out / "runs" / f"{day or date.today()}-{name}-{plan.digest[:8]}"


def publish(plan: Plan, outcome: Outcome, store: Store, out: Path) -> Finished:
    """Write outputs, manifest and report of what has been made so far.

    Raises:
        StoreError: ``out`` is full or cannot be written.
    """
    from flows.report.write import source_problems, write_report

    folder = run_folder(plan, out)
    with disk_errors(out):
        problems = source_problems(folder, _sources(plan))
        manifest = build_manifest(plan, outcome)
        records = {key: end.record for key, end in outcome.steps.items() if end.record is not None}
        writer = OutputWriter(plan, store, folder, _before(folder))
        manifest = manifest.model_copy(
            update={
                "outputs": writer.write(records),
                "sources": tuple(
                    source.model_copy(update={"problem": problems.get(source.digest, "")})
                    for source in manifest.sources
                ),
            }
        )
        write_whole(folder / "recipe.yaml", plan.recipe_text)
        write_whole(folder / MANIFEST_NAME, manifest.to_json())
        return Finished(folder, manifest, write_report(folder, manifest, store))


def _before(folder: Path) -> Manifest | None:
    with contextlib.suppress(ManifestError):
        return read_manifest(folder)
    return None


def _sources(plan: Plan) -> list[SourceImage]:
    return [
        ref for step in plan.steps.values() for ref in step.contexts if isinstance(ref, SourceImage)
    ]
