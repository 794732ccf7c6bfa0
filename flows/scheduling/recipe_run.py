"""The body of ``run-recipe``: plan, cut, see the chunks to their ends, publish.

It may be killed anywhere and begun again: the stage tells what was planned, its chunks are adopted,
what exists is not made again. Its verdict ends it; said again, it says the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient

from flows.decisions.decided import read_decided
from flows.plan.estimate import SAMPLE
from flows.plan.plan import make_plan
from flows.plan.reading import read_recipe
from flows.plan.step import Plan
from flows.problems import Problem
from flows.recipe.catalog import Catalog, Found
from flows.recipe.errors import RecipeError
from flows.run.cutting import cut
from flows.run.delivery import Delivered
from flows.run.ends import gather
from flows.run.judging import decided_since, join, next_plan, open_picks
from flows.run.look import look
from flows.run.outcome import Ending, Outcome
from flows.run.pipeline import run_folder
from flows.run.provenance import sources_of
from flows.run.sources import put_sources
from flows.run.stages import Stage, StageSheet, read_stage, write_stage
from flows.scheduling.attempt import pause
from flows.scheduling.chunks import ChunksParent
from flows.scheduling.forms import RunForm
from flows.scheduling.parcel import is_parcel, unpacked
from flows.scheduling.parent import CANCELLED
from flows.scheduling.progress import Told, made_so_far
from flows.scheduling.publishing import publish_run
from flows.scheduling.shown import Shown
from flows.scheduling.statement import Fleet, FleetError, fleet
from flows.settings.load import load_settings
from flows.store.claims import claim
from flows.store.leases import LEASES
from flows.store.runfolder import RunFolder
from flows.store.words import EMPTY
from kontext_engine.errors import EngineError

log = logging.getLogger(__name__)

EMPTY_POOL = 120.0  # seconds for which a pool without workers is asked again
FLEET_EVERY = 30.0  # seconds between two looks at who is ONLINE
TOLD_EVERY = 60.0  # seconds between two lines about that nobody can make a run
STOPPING = 20.0  # seconds for chunks of a cancelled run to stop


class RecipeRun(ChunksParent):
    """One execution of it."""

    def __init__(self, client: SyncPrefectClient, form: RunForm) -> None:
        super().__init__(client, form)
        self.fleet = Fleet((), ())
        self.shown = Shown(self.attempt, self.objects)

    def make(self) -> Mapping[str, Any]:
        """All of it; the words of its verdict."""
        try:
            return self._make()
        except EngineError as error:  # a source has changed; a model's folder is broken
            raise RecipeError([Problem(self.form.recipe, None, str(error))]) from error

    def _make(self) -> Mapping[str, Any]:
        """Stage by stage: what judges have picked opens the next."""
        number, earlier, judged = 0, None, list[str]()
        following: tuple[Plan, str] | None = None
        while True:
            ended = self._stage(number, following, earlier, judged)
            if isinstance(ended, Mapping):
                return ended
            earlier, following, number = *ended, number + 1

    def _stage(
        self,
        count: int,
        following: tuple[Plan, str] | None,
        earlier: Outcome | None,
        judged: list[str],
    ) -> Mapping[str, Any] | tuple[Outcome, tuple[Plan, str]]:
        """One stage: the verdict's words after the last one, or else what came of it so far, and
        the next one's plan with the recipe's digest.
        """
        number = f"{self.round}-{count}"
        stage = read_stage(self.objects, str(self.attempt.run), number)
        if stage is not None:
            plan, digest, folder = stage.plan, stage.sheet.recipe, stage.sheet.folder
            if not count:
                self._compare(digest)
        else:
            if following is None:
                self.fleet = self._some_fleet()
            plan, digest = following or self._plan()
            folder = run_folder(plan, self.objects).name
        with self._folder(folder), self._claimed(folder, plan):
            self.take(stage or self._cut(number, folder, plan, digest))
            self.client.update_flow_run(self.attempt.run, name=folder)
            sheet = self.stage.sheet
            self.say(
                logging.INFO,
                f"{folder}: {len(plan.steps)} steps, {len(sheet.cached)} of them there, "
                f"{len(sheet.chunks)} chunks",
            )
            # A large one's memory counts; its stage has what is needed.
            del plan, stage, following
            outcome = self._outcome()
            outcome = join(earlier, outcome) if earlier is not None else outcome
            opened = self._following(outcome, judged)
            if opened is not None:
                return outcome, (opened, digest)
            return self.give(publish_run(self, self.stage, outcome, self.shown))

    def _following(self, outcome: Outcome, judged: list[str]) -> Plan | None:
        """The plan with what judges have picked by now, whose labels are added to ``judged``."""
        plan = self.stage.plan
        ended = outcome.ending in (Ending.INTERRUPTED, Ending.STOPPED)
        if not plan.picks or ended:
            return None
        with self._recipe() as (found, _):
            settings, before = found.settings, len(judged)
            decided = read_decided(self.store, settings, plan.recipe, plan.recipe_path.name)
            libraries = self._cutting(plan.model.name) if open_picks(plan) else None
            opened = next_plan(
                plan, outcome, self.store, settings, decided, judged, found.path, libraries
            )
            if opened is None:
                for line in decided_since(plan, decided):
                    self.say(logging.INFO, line)
                return None
            put_sources(opened, self.store)
        made = len(judged) - before
        self.say(logging.INFO, f"judges have picked {made}: the next stage begins")
        return opened

    def _cutting(self, model: str) -> Mapping[str, str]:
        """The libraries that the workers of a model cut with."""
        if not self.fleet.models:  # a revived body goes on without having asked
            self.fleet = self._some_fleet()
        return self.fleet.cutting(model)

    # --- before it begins

    def _some_fleet(self) -> Fleet:
        """Who is there; a pool that is empty is asked again for a while."""
        began = time.monotonic()
        while True:
            found = fleet(self.client)
            if found.workers or time.monotonic() - began > EMPTY_POOL:
                return found
            pause(self.site.tempo.look)

    @contextlib.contextmanager
    def _recipe(self) -> Iterator[tuple[Found, str]]:
        """The recipe that the form names, as a file for a while; the SHA-256 of its text."""
        settings = self.site.settings.given(store=self.form.store)
        if is_parcel(self.form.recipe):
            recipe = unpacked(self.form.recipe, self.objects, settings)
        else:
            recipe = Catalog(self.site.recipes, settings).fetched(self.form.recipe)
        with recipe as found:
            digest = ""
            if not is_parcel(self.form.recipe):  # its folder says what it belongs to
                near = load_settings(found.path.parent).project
                project = near or found.settings.project
                own = found.settings.model_copy(update={"project": project})
                found = replace(found, settings=own)  # noqa: PLW2901 - the same, as it is here
            with contextlib.suppress(OSError):  # loading tells
                digest = hashlib.sha256(found.path.read_bytes()).hexdigest()
            yield found, digest

    def _plan(self) -> tuple[Plan, str]:
        """Keyed as the workers will compute; its sources are stored. With the recipe's digest."""
        with self._recipe() as (found, digest):
            recipe = read_recipe(found.path, self.form.sets, found.settings, found.fetch)
            model, numerics = self.fleet.model(recipe.document.model)
            plan = make_plan(
                recipe,
                model=model,
                numerics=numerics,
                only=tuple(self.form.only),
                settings=found.settings,
                decided=read_decided(self.store, found.settings, recipe.name, found.path.name),
                libraries=self._cutting(recipe.document.model),
            )
            # Before the recipe's folder goes, which may be here for planning only.
            put_sources(plan, self.store)
        for warning in plan.warnings:
            self.say(logging.WARNING, warning)
        return plan, digest

    def _compare(self, planned: str) -> None:
        """A recipe that was edited since does not change a run that is under way."""
        with contextlib.suppress(RecipeError), self._recipe() as (_, digest):
            if digest not in {"", planned}:
                words = "was edited since; this run goes on as it was planned"
                self.say(logging.WARNING, f"{self.form.recipe} {words}")

    @contextlib.contextmanager
    def _folder(self, folder: str) -> Iterator[None]:
        """Two runs of one plan on one day have one folder: the second waits for the first."""
        lease = self.site.lease(self.form.store, f"folders/{folder}")
        told = False
        while (other := lease.take(lambda: self.attempt.why() is not None)) is not None:
            if not told and other.holder:
                self.say(logging.INFO, f"the same run, {folder}, is under way; this one waits")
                told = True
            pause(self.site.tempo.look)
        try:
            yield
        finally:
            lease.free()

    def _claimed(self, folder: str, plan: Plan) -> contextlib.AbstractContextManager[None]:
        """Within it no clean-up takes what the plan needs."""
        keys = (*plan.steps, *(ref.digest for ref in sources_of(plan)))
        return claim(self.objects, run=folder, plan=plan.digest, keys=keys, say=log.info)

    def _cut(self, number: str, folder: str, plan: Plan, digest: str) -> Stage:
        there = Delivered(RunFolder(self.objects, folder))
        seen = look(plan, self.store, delivered=there.has)
        sample = self.store.sample(SAMPLE) if seen.missing else ()
        serving = self.fleet.serving(plan.model.digest)
        engines = max(1, sum(one.engines for one in serving))
        sheet = StageSheet(
            folder=folder,
            recipe=digest,
            engines=engines,
            cached=tuple(seen.records),
            sources=tuple(ref.digest for ref in sources_of(plan)),
            began=time.time(),
            chunks=cut(plan, seen, sample, engines, number),
        )
        self.attempt.look()
        return write_stage(self.objects, str(self.attempt.run), number, plan, sheet)

    # --- while chunks are made

    def workers(self) -> int:
        """How many could make these chunks."""
        return len(self.fleet.serving(self.stage.plan.model.digest))

    def show(self) -> None:
        """Keep the deadline, look who is there, and move the bar."""
        if self.is_late(self.form.deadline, "what no worker has begun stays undone"):
            self.stop()
        if self.is_due("fleet", FLEET_EVERY):
            with contextlib.suppress(FleetError):
                self.fleet = fleet(self.client)
            self.window = max(self.window, 4 * self.fleet.engines)
        if not self.workers() and self.is_due("nobody", TOLD_EVERY):
            model = self.stage.plan.model
            self.say(
                logging.WARNING,
                f"no worker that serves {model.name} ({model.digest[:12]}) is online; "
                "waiting for one",
            )
        self._show_pictures()

    def _show_pictures(self) -> None:
        """The bar, and the page that people look at."""
        taken = self.shown.taken
        ended = [one for one in self.children.values() if one.over and one.name not in taken]
        running = [one for one in self.open if one.now == "Running"]
        told: Mapping[UUID | None, Told] = {}
        with contextlib.suppress(Exception):  # it is only shown
            runs = [one.run for one in (*running, *ended) if one.run is not None]
            told = made_so_far(self.client, runs)
        for child in ended:
            self.shown.take(child.name, child.ends, self.stage.plan)
        done = total = float(len(self.stage.sheet.cached))
        for child in self.children.values():
            size = len(child.sheet.keys)
            total += size
            if child.over:
                done += taken[child.name]
            elif (known := told.get(child.run)) is not None:
                done += size * known.share
        words = f"{round(done)} of {round(total)} pictures"
        self.site.progress.tell(self.attempt.run, done / total if total else 1.0, words)
        self.shown.look(words, [name for one in told.values() for name in one.newest])

    # --- its end

    def _outcome(self) -> Outcome:
        """Tend the chunks until all have ended, and what they made is there."""
        plan, sheet = self.stage.plan, self.stage.sheet
        while True:
            self.tend()
            stopped = self.why == CANCELLED
            if stopped:
                self._wait_until_stopped()
            records = dict(self.store.peek_all(plan.steps))
            if stopped or not self.order_lost(records):
                break
        children = self.children.values()
        ends = [child.ends for child in children if child.ends is not None]
        why = self.why or next((child.why for child in children if child.why), "")
        seconds = max(0.0, time.time() - sheet.began)
        ending = Ending.INTERRUPTED if why else None
        return gather(plan, ends, sheet.cached, records, ending, why, seconds)

    def _wait_until_stopped(self) -> None:
        began = time.monotonic()
        while time.monotonic() - began < STOPPING:
            held = self.cells.list(LEASES + self.prefix)
            if not any(sight.size > EMPTY for sight in held.values()):
                return
            pause(1.0)
