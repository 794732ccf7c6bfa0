"""A run from recipe to report, in plain functions, which command line and Prefect flow call.

``plan_recipe`` -> ``claimed`` (keys, against a clean-up) -> ``execute`` (what is missing, pictures
and files, into the store) -> ``publish`` (copies, report, and the manifest last).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from flows.delivery import Delivery
from flows.execution.asking import CancelSignal, EngineFactory
from flows.execution.engines import engine_factory
from flows.execution.events import Event, Listener, Settled, Started, ignore
from flows.execution.execute import never
from flows.execution.outcome import Outcome, State, StepOutcome
from flows.execution.work import do_work, look
from flows.manifest import FILE_NAME as MANIFEST_NAME
from flows.manifest import Manifest, ManifestError, build_manifest, read_manifest
from flows.numerics import Dtype, choose_numerics
from flows.recipe.step import Plan
from flows.report.links import PAGE, RELATIVE, Links, PresignedLinks
from flows.settings import DEFAULT_OUT, Settings
from flows.settings.load import load_settings
from flows.store.address import is_s3, open_store
from flows.store.base import StoreError
from flows.store.claims import claim
from flows.store.keyed import KeyedStore
from flows.store.lock import Say, silent
from flows.store.objects import Objects
from flows.store.runfolder import RunFolder


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What somebody asks for: a recipe and how to run it.

    ``out`` is the store: a folder or ``s3://bucket/prefix``. ``sets`` are ``name=value`` pairs,
    ``only`` selectors. ``settings`` are those of this process unless given; ``out`` stands over
    theirs.
    """

    recipe: Path
    out: str | Path = DEFAULT_OUT
    sets: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    dtype: Dtype | None = None
    settings: Settings | None = None

    @property
    def effective(self) -> Settings:
        """The settings, with the store that was asked for.

        Raises:
            SettingsError: they are wrong.
        """
        return (self.settings or load_settings()).given(store=str(self.out))


@dataclass(frozen=True, slots=True)
class Finished:
    """A run's end: its folder, and the manifest that tells what is in it."""

    run: RunFolder
    manifest: Manifest

    @property
    def folder(self) -> str:
        """What people call the run's folder."""
        return self.run.where

    @property
    def report(self) -> str:
        """Where the page is."""
        return self.run.at(PAGE)

    @property
    def manifest_path(self) -> str:
        """Where ``manifest.json`` is."""
        return self.run.at(MANIFEST_NAME)


@dataclass(frozen=True, slots=True)
class Hooks:
    """How a run is watched, stopped and given its engine; the defaults do what people expect.

    ``say`` is told what a person would want to know while nothing else happens.
    """

    on_event: Listener = ignore
    cancelled: CancelSignal = never
    factory: Callable[[Plan, str | Path, int], EngineFactory] = engine_factory
    say: Say = silent


def plan_recipe(request: RunRequest) -> Plan:
    """Read, check and plan the recipe.

    Raises:
        RecipeError: whatever is wrong with it.
        SettingsError: the settings are wrong.
    """
    from flows.recipe.plan import make_plan
    from flows.recipe.recipe import load_recipe

    recipe, settings = load_recipe(request.recipe, request.sets), request.effective
    numerics = choose_numerics(request.dtype, settings.device)
    return make_plan(recipe, numerics=numerics, only=request.only, settings=settings)


def run_recipe(plan: Plan, request: RunRequest, hooks: Hooks = Hooks()) -> Finished:
    """Make what is missing of ``plan`` and publish it under ``request.out``.

    Raises:
        StoreError: the store is full, cannot be written, or is away; what is stored stays.
    """
    store = open_store(request.out, request.effective)
    run = run_folder(plan, store.objects)
    with claimed(plan, run, hooks):
        outcome = execute(plan, request, hooks, store)
        return publish(plan, outcome, store, run, links_for(run, request.effective))


def claimed(plan: Plan, run: RunFolder, hooks: Hooks) -> contextlib.AbstractContextManager[None]:
    """Within it no clean-up takes what ``plan`` needs; around everything from the first look-up.

    Raises:
        StoreError: on entering, if the home fails.
    """
    keys = tuple(plan.steps)
    return claim(run.objects, run=run.name, plan=plan.digest, keys=keys, say=hooks.say)


def execute(plan: Plan, request: RunRequest, hooks: Hooks, store: KeyedStore) -> Outcome:
    """Make what is missing of ``plan``, pictures and files; the outcome of all its steps.

    Raises:
        StoreError: the store cannot even be looked at; whatever goes wrong later, the outcome
            tells.
    """
    seen = look(plan, store)
    hooks.on_event(Started(len(plan.steps), len(seen.missing.keys)))
    for key, record in seen.records.items():
        hooks.on_event(Settled(StepOutcome(key, State.CACHED, record), plan.steps[key].label))
    outcome = do_work(
        plan,
        seen.missing.keys,
        store,
        hooks.factory(plan, request.out, request.effective.batch),
        on_event=_without_start(hooks.on_event),
        cancelled=hooks.cancelled,
        outputs=seen.missing.outputs,
    )
    return seen.complete(plan, outcome)


def _without_start(listener: Listener) -> Listener:
    """The whole plan's start was told already."""

    def hear(event: Event) -> None:
        if not isinstance(event, Started):
            listener(event)

    return hear


def run_folder(plan: Plan, objects: Objects, day: date | None = None) -> RunFolder:
    """``runs/<YYYY-MM-DD>-<recipe>-<id>``: the same plan on the same day is the same run.

    The day is that of UTC: runs are listed by it, whatever machine each was made on.
    """
    name = re.sub(r"[^A-Za-z0-9._]+", "-", plan.recipe).strip("-.")[:60] or "recipe"
    return RunFolder(objects, f"{day or datetime.now(UTC).date()}-{name}-{plan.digest[:8]}")


def links_for(run: RunFolder, settings: Settings) -> Links:
    """How the page names its pictures; a folder has no other links than relative ones."""
    if settings.links == "presigned" and is_s3(run.where):
        return PresignedLinks(run, settings.presign_seconds)
    return RELATIVE


def publish(
    plan: Plan,
    outcome: Outcome,
    store: KeyedStore,
    run: RunFolder,
    links: Links = RELATIVE,
) -> Finished:
    """Bring outputs and thumbnails into the run's folder, write report and manifest.

    Everything is copied within the home: no picture is read, nothing is encoded. An output that
    is not there, and a source that could not be opened, are told with their problems.

    The manifest is last: where one is, everything that it names is there. Into a server that has
    just been given up on nothing is written: each try would take as long again.

    Raises:
        StoreError: the home is full, cannot be written, or is away.
    """
    from flows.report.sources import bring_sources
    from flows.report.thumbs import Thumbnails
    from flows.report.write import write_report

    if outcome.store_failed and not run.is_near:
        raise StoreError(outcome.why)
    manifest = build_manifest(plan, outcome)
    records = {key: end.record for key, end in outcome.steps.items() if end.record is not None}
    outputs = Delivery(plan, store, run, _before(run), outcome.problems).bring(records)
    problems = bring_sources(plan, outcome, Thumbnails(run), store.objects, near=run.is_near)
    sources = tuple(
        source.model_copy(update={"problem": problems.get(source.digest, "")})
        for source in manifest.sources
    )
    manifest = manifest.model_copy(update={"outputs": outputs, "sources": sources})
    write_report(run, manifest, store, links)
    run.write("recipe.yaml", plan.recipe_text)
    run.write(MANIFEST_NAME, manifest.to_json())
    return Finished(run, manifest)


def _before(run: RunFolder) -> Manifest | None:
    with contextlib.suppress(ManifestError):
        return read_manifest(run)
    return None
