"""A run from recipe to report, in plain functions, which command line and Prefect flow call.

``plan_recipe`` -> ``run_recipe``: a claim on its keys, against a clean-up; a look at what is there;
``run_plan`` (what is missing, pictures and files, into the store); ``publish`` (copies, report, and
the manifest last).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from flows.decisions.decided import read_decided
from flows.engines.loading import engine_class
from flows.plan.step import Plan
from flows.recipe.naming import run_slug
from flows.run.approved import approvals_of
from flows.run.asking import CancelSignal, EngineFactory
from flows.run.composing import Composer
from flows.run.delivery import Delivered, Delivery
from flows.run.events import Listener, ignore
from flows.run.execute import Limits, never, run_plan
from flows.run.judging import decided_since, join, next_plan, open_picks
from flows.run.look import look
from flows.run.manifest import FILE_NAME as MANIFEST_NAME
from flows.run.manifest import Manifest
from flows.run.manifesting import build_manifest
from flows.run.outcome import Ending, Outcome
from flows.run.report.links import PAGE, RELATIVE, Links
from flows.run.signing import Signing
from flows.run.table import FILE_NAME as TABLE_NAME
from flows.run.table import JSON_NAME, outputs_csv, outputs_json
from flows.settings import DEFAULT_OUT, Settings
from flows.settings.address import is_s3
from flows.settings.load import load_settings
from flows.store.address import open_store
from flows.store.base import StoreError
from flows.store.claims import claim
from flows.store.keyed import KeyedStore
from flows.store.lock import Say, silent
from flows.store.objects import Objects
from flows.store.runfolder import RunFolder
from kontext_engine.api import Engine, EngineOptions
from kontext_engine.numerics import Dtype, choose_numerics

CALL_LOG = "calls.jsonl"


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


def engine_factory(plan: Plan, out: str | Path, batch: int) -> EngineFactory:
    """A call that loads the plan's model with the plan's numerics, when it is made.

    The engine's calls are logged beside a store in a folder; S3 has nothing to append to.
    """
    log = None if is_s3(out) else str(Path(out) / CALL_LOG)
    options = EngineOptions(numerics=plan.numerics, max_batch=batch, call_log=log)

    def load() -> Engine:
        return engine_class().load(plan.model, options)

    return load


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
        StoreError: what was decided cannot be read.
    """
    from flows.plan.plan import make_plan
    from flows.plan.reading import read_recipe

    settings = request.effective
    recipe = read_recipe(request.recipe, request.sets, settings)
    numerics = choose_numerics(request.dtype, settings.device)
    store = open_store(request.out, settings)
    decided = read_decided(store, settings, recipe.name, recipe.path.name)
    return make_plan(
        recipe, numerics=numerics, only=request.only, settings=settings, decided=decided
    )


def run_recipe(plan: Plan, request: RunRequest, hooks: Hooks = Hooks()) -> Finished:
    """Make what is missing of ``plan``, pictures and files, and publish it under ``request.out``.

    What judges pick opens the next stage of the same run. No clean-up takes what the plan needs
    from the first look on.

    Raises:
        StoreError: the store is full, cannot be written, or is away; what is stored stays.
    """
    store = open_store(request.out, request.effective)
    earlier: Outcome | None = None
    judged: list[str] = []
    while True:
        run, keys = run_folder(plan, store.objects), tuple(plan.steps)
        with claim(store.objects, run=run.name, plan=plan.digest, keys=keys, say=hooks.say):
            there = Delivered(run)
            outcome = run_plan(
                plan,
                store,
                hooks.factory(plan, request.out, request.effective.batch),
                seen=look(plan, store, delivered=there.has),
                on_event=hooks.on_event,
                cancelled=hooks.cancelled,
                limits=Limits(largest=request.effective.inputs.max_pixels),
                signing=Signing.of(request.effective),
            )
            outcome = join(earlier, outcome) if earlier is not None else outcome
            following = _next_stage(plan, outcome, store, request, judged)
            if following is None:
                _tell_decided(plan, store, request, hooks.say)
                return publish(plan, outcome, store, run, request.effective, there)
        plan, earlier = following, outcome


def _next_stage(
    plan: Plan, outcome: Outcome, store: KeyedStore, request: RunRequest, judged: list[str]
) -> Plan | None:
    """The plan with what judges have picked by now, whose labels are added to ``judged``."""
    if outcome.ending in (Ending.INTERRUPTED, Ending.STOPPED) or not open_picks(plan):
        return None
    settings = request.effective
    decided = read_decided(store, settings, plan.recipe, plan.recipe_path.name)
    return next_plan(plan, outcome, store, settings, decided, judged, plan.recipe_path)


def _tell_decided(plan: Plan, store: KeyedStore, request: RunRequest, say: Say) -> None:
    if plan.picks:
        decided = read_decided(store, request.effective, plan.recipe, plan.recipe_path.name)
        for line in decided_since(plan, decided):
            say(line)


def run_folder(plan: Plan, objects: Objects, day: date | None = None) -> RunFolder:
    """``runs/<YYYY-MM-DD>-<recipe>-<id>``: the same plan on the same day is the same run.

    The day is that of UTC: runs are listed by it, whatever machine each was made on.
    """
    name = f"{day or datetime.now(UTC).date()}-{run_slug(plan.recipe)}-{plan.digest[:8]}"
    return RunFolder(objects, name)


def links_for(run: RunFolder, settings: Settings) -> Links:
    """How the page names its pictures; a folder has no other links than relative ones."""
    if settings.links == "presigned" and is_s3(run.where):
        return Links(run, settings.presign_seconds)
    return RELATIVE


def publish(
    plan: Plan,
    outcome: Outcome,
    store: KeyedStore,
    run: RunFolder,
    settings: Settings | None = None,
    there: Delivered | None = None,
    links: Links | None = None,
    shared: Links | None = None,
) -> Finished:
    """Bring outputs and thumbnails into the run's folder, write report and manifest.

    Everything is copied within the home: nothing is read or encoded but for files that are made of
    several pictures, and are not there yet. An output that is not there, and a source that could
    not be opened, are told with their problems. ``there`` is what the folder holds already, if that
    is known. ``links`` are the page's, by default what ``settings`` say; with ``shared`` it is
    there a second time, with these links.

    The manifest is last: where one is, everything that it names is there. Into a server that has
    just been given up on nothing is written: each try would take as long again.

    Raises:
        StoreError: the home is full, cannot be written, or is away.
    """
    from flows.run.report.thumbs import Thumbnails, bring_sources
    from flows.run.report.write import write_report

    if outcome.store_failed and not run.is_near:
        raise StoreError(outcome.why)
    settings = settings or Settings()
    there = there or Delivered(run)
    thumbs = Thumbnails(run, there.files)
    records = {key: end.record for key, end in outcome.steps.items() if end.record is not None}
    composer = Composer(plan, store, records, Signing.of(settings))
    told = {**outcome.problems, **composer.compose(there)}
    outputs = Delivery(plan, store, run, there, told).bring(records)
    problems = bring_sources(plan, outcome, thumbs, store.objects, settings.inputs.max_pixels)
    manifest = build_manifest(plan, outcome, outputs, problems)
    write_report(run, manifest, store, links or links_for(run, settings), thumbs, shared)
    # Where nobody had decided anything when it was planned, nobody is asked.
    approvals = approvals_of(manifest, store.objects) if plan.numbers else {}
    run.write(TABLE_NAME, outputs_csv(manifest, approvals))
    run.write(JSON_NAME, outputs_json(manifest, approvals))
    run.write("recipe.yaml", plan.recipe_text)
    run.write(MANIFEST_NAME, manifest.to_json())
    return Finished(run, manifest)
