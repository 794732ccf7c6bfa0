"""The body of ``run-recipe``: plan, cut, see the chunks to their ends, publish.

It may be killed anywhere and begun again: the stage tells what was planned, its chunks are adopted,
what exists is not made again. Its verdict ends it; said again, it says the same.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.objects import State as FlowState
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.states import Failed

from flows.delivery import Delivered
from flows.estimate import SAMPLE
from flows.execution.cutting import cut
from flows.execution.ends import gather
from flows.execution.look import look
from flows.execution.outcome import Ending, Outcome
from flows.execution.provenance import sources_of
from flows.execution.stages import (
    Stage,
    StageSheet,
    read_stage,
    write_stage,
)
from flows.pipeline import run_folder
from flows.recipe.errors import RecipeError
from flows.recipe.step import Plan
from flows.scheduling.children import Family, children_of
from flows.scheduling.closing import CANCELLED, LATE, Closing, publish_run, state_of_run
from flows.scheduling.forms import RunForm
from flows.scheduling.hand import Hand, Stop, Why, mine, pause
from flows.scheduling.names import CHUNKS_POOL, chunks_of
from flows.scheduling.planning import plan_form, recipe_digest
from flows.scheduling.progress import made_so_far
from flows.scheduling.server import at, connected, history, insist
from flows.scheduling.site import Site, here
from flows.scheduling.statement import Fleet, FleetError, fleet
from flows.scheduling.states import round_of
from flows.settings import SettingsError
from flows.store.base import StoreError
from flows.store.claims import claim
from flows.store.keyed import KeyedStore
from flows.store.leases import LEASES, Lease
from flows.store.record import Record
from flows.store.runfolder import RunFolder
from flows.store.words import EMPTY
from kontext_engine.errors import EngineError

log = logging.getLogger(__name__)

EMPTY_POOL = 120.0  # seconds for which a pool without workers is asked again
FLEET_EVERY = 30.0  # seconds between two looks at who is ONLINE
TOLD_EVERY = 60.0  # seconds between two lines about that nobody can make a run
STOPPING = 20.0  # seconds for chunks of a cancelled run to stop


def run_recipe_body(form: RunForm) -> FlowState[Any]:
    """See a recipe to its end; the state that it ends in.

    Raises:
        Stop: this execution must end; another one goes on.
    """
    site, hand = here(), mine()
    with connected() as client:
        run = _Run(site, hand, client, form)
        try:
            return state_of_run(run.closing.known() or run.carry_out())
        except (RecipeError, SettingsError, FleetError) as error:
            return state_of_run(run.refuse(str(error)))
        except EngineError as error:  # a source has changed; a model's folder is broken
            return state_of_run(run.refuse(f"{form.recipe}: {error}"))
        except StoreError as error:  # what was made stays made; Retry goes on
            return Failed(message=str(error))


@dataclass
class _Run:
    site: Site
    hand: Hand
    client: SyncPrefectClient
    form: RunForm

    def __post_init__(self) -> None:
        self.store: KeyedStore = self.site.store(self.form.store)
        self.objects = self.store.objects
        round_ = round_of(history(self.client, self.hand.run))
        self.closing = Closing(self.objects, self.hand, round_)
        self.say = get_run_logger().log
        self.ending: Ending | None = None
        self.why = ""
        self.fleet = Fleet((), ())
        self._looked = float("-inf")
        self._told = float("-inf")

    def refuse(self, why: str) -> Mapping[str, Any]:
        """It cannot be run as it was asked for; for good."""
        return self.closing.give({"ending": "refused", "why": why})

    def carry_out(self) -> Mapping[str, Any]:
        """All of it; the words of its verdict."""
        number = f"{self.closing.round}-0"
        stage = read_stage(self.objects, str(self.hand.run), number)
        plan = None
        if stage is None:
            plan = self._plan()
            folder = run_folder(plan, self.objects).name
        else:
            folder = stage.sheet.folder
            self._compare(stage)
        with self._folder(folder), self._claimed(folder, stage.plan if stage else plan):
            if stage is None:
                stage = self._cut(number, folder, plan)
            insist(lambda: self.client.update_flow_run(self.hand.run, name=folder), "its name")
            total = len(stage.plan.steps)
            self.say(
                logging.INFO,
                f"{folder}: {total} steps, {len(stage.sheet.cached)} of them there, "
                f"{len(stage.sheet.chunks)} chunks",
            )
            return self._to_the_end(stage)

    def _plan(self) -> Plan:
        self.fleet = self._some_fleet()
        plan = plan_form(self.form, self.site, self.fleet)
        for warning in plan.warnings:
            self.say(logging.WARNING, warning)
        return plan

    def _some_fleet(self) -> Fleet:
        """Who is there; a pool that is empty is asked again for a while."""
        began = time.monotonic()
        while True:
            try:
                found = fleet(self.client)
            except ObjectNotFound:
                raise FleetError(f"no work pool '{CHUNKS_POOL}'; run 'kontext deploy'") from None
            if found.workers or time.monotonic() - began > EMPTY_POOL:
                return found
            pause(self.site.tempo.look)

    def _compare(self, stage: Stage) -> None:
        """A recipe that was edited since does not change a run that is under way."""
        now = recipe_digest(self.form, self.site)
        if now is not None and now != stage.sheet.recipe:
            self.say(
                logging.WARNING,
                f"{self.form.recipe} was edited since; this run goes on as it was planned",
            )

    @contextlib.contextmanager
    def _folder(self, folder: str) -> Iterator[None]:
        """Two runs of one plan on one day have one folder: the second waits for the first."""
        cells = self.site.cells(self.form.store)
        lease = Lease(cells, f"folders/{folder}", self.hand.worker, renew=self.site.tempo.renew)
        told = False
        while (other := lease.take(lambda: self.hand.why() is not None)) is not None:
            if not told and other.holder:
                self.say(logging.INFO, f"the same run, {folder}, is under way; this one waits")
                told = True
            pause(self.site.tempo.look)
        try:
            yield
        finally:
            lease.free()

    @contextlib.contextmanager
    def _claimed(self, folder: str, plan: Plan | None) -> Iterator[None]:
        """Within it no clean-up takes what the plan needs."""
        assert plan is not None  # noqa: S101 - it is the stage's, or was made a moment ago
        keys = (*plan.steps, *(ref.digest for ref in sources_of(plan)))
        say = log.info
        with claim(self.objects, run=folder, plan=plan.digest, keys=keys, say=say):
            yield

    def _cut(self, number: str, folder: str, plan: Plan | None) -> Stage:
        assert plan is not None  # noqa: S101 - there is no stage yet
        there = Delivered(RunFolder(self.objects, folder))
        seen = look(plan, self.store, delivered=there.has)
        sample = self.store.sample(SAMPLE) if seen.missing else ()
        serving = self.fleet.serving(plan.model.digest)
        engines = max(1, sum(one.engines for one in serving))
        sheet = StageSheet(
            folder=folder,
            recipe=recipe_digest(self.form, self.site) or "",
            engines=engines,
            cached=tuple(seen.records),
            sources=tuple(ref.digest for ref in sources_of(plan)),
            began=time.time(),
            chunks=cut(plan, seen, sample, engines, number),
        )
        self.hand.look()
        write_stage(self.objects, str(self.hand.run), number, plan, sheet)
        stage = read_stage(self.objects, str(self.hand.run), number)
        assert stage is not None  # noqa: S101 - it was written
        return stage

    def _to_the_end(self, stage: Stage) -> Mapping[str, Any]:
        family = self._family(stage)
        try:
            records = self._records_of(stage, family)
        except Stop as stop:
            if stop.why is not Why.CANCEL:
                raise
            self._cancel(family)
            records = dict(self.store.peek_all(stage.plan.steps))
        outcome = self._outcome(stage, family, records)
        return self.closing.give(
            publish_run(self.site, self.closing, self.form.store, stage, outcome, self.say)
        )

    def _family(self, stage: Stage) -> Family:
        return Family(
            site=self.site,
            hand=self.hand,
            client=self.client,
            store=self.store,
            cells=self.site.cells(self.form.store),
            plan=stage.plan,
            address=self.form.store,
            queue=self.form.queue,
            children=children_of(stage.sheet.chunks),
            say=self.say,
            workers=lambda: len(self.fleet.serving(stage.plan.model.digest)),
        )

    def _cancel(self, family: Family) -> None:
        """People have cancelled it: its chunks stop, and what was made is published."""
        self.hand.closing = True
        self.ending, self.why = Ending.INTERRUPTED, CANCELLED
        family.cancel(self.why)
        began, prefix = time.monotonic(), f"{LEASES}{chunks_of(self.hand.run)}"
        while time.monotonic() - began < STOPPING:
            held = self.site.cells(self.form.store).list(prefix)
            if not any(sight.size > EMPTY for sight in held.values()):
                return
            pause(1.0)

    # --- what is seen while chunks are made

    def _look(self, stage: Stage, family: Family, runs: Mapping[UUID, FlowRun]) -> None:
        if self.form.deadline is not None and at() > self.form.deadline and not self.why:
            self.ending, self.why = Ending.INTERRUPTED, LATE
            self.say(logging.WARNING, f"{LATE}: what no worker has begun stays undone")
            family.stop(LATE)
        if time.monotonic() - self._looked > FLEET_EVERY:
            self._looked = time.monotonic()
            with contextlib.suppress(ObjectNotFound):
                self.fleet = fleet(self.client)
            family.window = max(family.window, 4 * self.fleet.engines)
        serving = self.fleet.serving(stage.plan.model.digest)
        if not serving and time.monotonic() - self._told > TOLD_EVERY:
            self._told = time.monotonic()
            self.say(
                logging.WARNING,
                f"no worker that serves {stage.plan.model.name} ({stage.plan.model.digest[:12]}) "
                "is online; waiting for one",
            )
        self._show(stage, family, runs)

    def _show(self, stage: Stage, family: Family, runs: Mapping[UUID, FlowRun]) -> None:
        total = sum(len(chunk.keys) for chunk in stage.sheet.chunks)
        done = 0.0
        living = [
            child.run
            for child in family.open
            if child.run is not None and child.run in runs and child.seen == "Running"
        ]
        shares: Mapping[UUID, float] = {}
        with contextlib.suppress(Exception):  # it is only shown
            shares = made_so_far(self.client, living)
        for child in family.children.values():
            size = len(child.sheet.keys)
            if child.ends is not None or child.why:
                done += size
            elif child.run is not None:
                done += size * shares.get(child.run, 0.0)
        words = f"{round(done)} of {total} pictures"
        self.site.progress.tell(self.hand.run, done / total if total else 1.0, words)

    def _records_of(self, stage: Stage, family: Family) -> Mapping[str, Record | None]:
        """Tend the chunks until all have ended, and what they made is there."""
        while True:
            family.tend(lambda runs: self._look(stage, family, runs))
            records = dict(self.store.peek_all(stage.plan.steps))
            if not family.order_lost(records):
                return records

    def _outcome(
        self, stage: Stage, family: Family, records: Mapping[str, Record | None]
    ) -> Outcome:
        plan = stage.plan
        ends = [child.ends for child in family.children.values() if child.ends is not None]
        why = self.why or next(
            (child.why for child in family.children.values() if child.why and not child.ends), ""
        )
        seconds = max(0.0, time.time() - stage.sheet.began)
        ending = self.ending or (Ending.INTERRUPTED if why else None)
        return gather(plan, ends, stage.sheet.cached, records, ending, why, seconds)
