"""The body of ``make-chunk``: what is missing of one chunk, on an engine of this worker.

What it makes is stored picture by picture. It ends with a verdict, unless it must stop or comes
to nothing; then somebody else goes on with what is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from prefect.client.schemas.objects import State as FlowState
from prefect.states import Completed, Failed

from flows.engines.pooled import PooledEngine
from flows.execution.asking import EngineFactory
from flows.execution.ends import ChunkEnds
from flows.execution.events import Event, Settled, both
from flows.execution.execute import run_plan
from flows.execution.look import look
from flows.execution.outcome import Ending, Outcome, State
from flows.execution.stages import ChunkSheet, Stage, read_stage
from flows.execution.verdicts import give, verdict
from flows.recipe.planfile import local_model
from flows.recipe.step import Plan
from flows.scheduling.forms import ChunkForm
from flows.scheduling.hand import Hand, Stop, Why, mine, pause
from flows.scheduling.names import chunks_of
from flows.scheduling.site import Site, here
from flows.store.base import LASTING, StoreError
from flows.store.keyed import KeyedStore
from flows.store.lanes import LANES, in_lanes
from kontext_engine.errors import ModelError

log = logging.getLogger(__name__)


def make_chunk_body(form: ChunkForm) -> FlowState[Any]:
    """Carry out one attempt; the state that it ends in.

    Raises:
        Stop: it must end before its work does.
    """
    try:
        return _make(form)
    except LASTING as error:
        return Failed(message=f"worker '{here().worker}': {error}")
    except StoreError as error:  # it was waited for as long as the settings say
        raise Stop(Why.AWAY, str(error)) from None


def _make(form: ChunkForm) -> FlowState[Any]:
    site, hand = here(), mine()
    store = site.store(form.store)
    if verdict(store.objects, hand.name, form.order) is not None:
        return Completed(message="was made", data="made")
    stage = read_stage(store.objects, form.run, form.chunk.rpartition("-")[0])
    if stage is None:
        return Failed(message=f"worker '{site.worker}': no stage of run {form.run} in {form.store}")
    sheet = stage.chunk(form.chunk)
    plan = replace(stage.plan, model=_model(site, stage.plan))
    keys = _not_blocked(plan, sheet, _failed_before(store, form, stage, sheet))
    outcome = _carry_out(site, hand, store, plan, sheet, keys, form.order)
    return _ended(site, hand, store, form, sheet, outcome)


def _model(site: Site, plan: Plan) -> Any:
    served = site.models.get(plan.model.digest)
    if served is not None:
        return replace(plan.model, source=served.source)
    try:
        return local_model(plan.model)
    except ModelError as error:
        if plan.model.digest not in site.lacking:
            site.lacking.add(plan.model.digest)
            log.warning("chunks of %s go back: %s", plan.model.name, error)
        raise Stop(Why.LACKING, str(error)) from None


def _failed_before(store: KeyedStore, form: ChunkForm, stage: Stage, sheet: ChunkSheet) -> set[str]:
    """Steps that have failed in the chunks that this one comes after; they are not tried again."""
    failed: set[str] = set()
    for name in sheet.after:
        for order in range(form.order + 1):
            words = verdict(store.objects, f"{chunks_of(form.run)}{name}", order)
            if words is not None:
                ends = ChunkEnds.from_json(words).steps
                bad = (State.FAILED, State.BLOCKED)
                failed.update(key for key, end in ends.items() if end.state in bad)
    return failed & set(stage.plan.steps)


def _not_blocked(plan: Plan, sheet: ChunkSheet, failed: Collection[str]) -> tuple[str, ...]:
    blocked = set(failed)
    for key in plan.steps if failed else ():
        if not blocked.isdisjoint(plan.steps[key].parents):
            blocked.add(key)
    return tuple(key for key in sheet.keys if key not in blocked)


def _carry_out(
    site: Site,
    hand: Hand,
    store: KeyedStore,
    plan: Plan,
    sheet: ChunkSheet,
    keys: tuple[str, ...],
    order: int,
) -> Outcome:
    made, settled_since = [0], [0]

    def hear(event: Event) -> None:
        if isinstance(event, Settled):
            if event.outcome.state is State.DONE:
                hand.lease.made += 1
                site.setbacks.fruitful()
            if event.key in wanted and event.outcome.state in (State.DONE, State.CACHED):
                made[0] += 1
                words = f"{made[0]} of {len(sheet.keys)} pictures"
                site.progress.tell(hand.run, made[0] / len(sheet.keys), words)
            if hand.why() is not None:
                settled_since[0] += 1

    def stop() -> bool:
        # Suspended, a chunk ends after the picture it is at.
        why = hand.why()
        return why is not None and (hand.at_once() or settled_since[0] > 0)

    if order:  # it is ordered again because pictures were lost: what is damaged is set aside
        for _ in in_lanes(store.find, keys, LANES):
            pass
    wanted = set(keys)
    listener = both(lambda event: site.counts.hear(event, wanted), hear)
    try:
        return run_plan(
            plan,
            store,
            _engines(site, hand, plan),
            seen=look(plan, store, keys, sheet.outputs),
            on_event=listener,
            cancelled=stop,
        )
    finally:
        hand.stopped = None


def _engines(site: Site, hand: Hand, plan: Plan) -> EngineFactory:
    def load() -> PooledEngine:
        if site.pool is None:
            raise ModelError("this worker has no engines; start one with --serve chunks")
        engine = PooledEngine(site.pool, plan.model, plan.numerics)
        hand.stopped = engine.cancel
        if hand.at_once():
            engine.cancel()
        return engine.load()

    return load


def _ended(
    site: Site,
    hand: Hand,
    store: KeyedStore,
    form: ChunkForm,
    sheet: ChunkSheet,
    outcome: Outcome,
) -> FlowState[Any]:
    ends = ChunkEnds.of(outcome, sheet.keys)
    made = sum(end.state in (State.DONE, State.CACHED) for end in ends.steps.values())
    count = f"{made} of {len(sheet.keys)} made"
    if outcome.ending is Ending.INTERRUPTED:
        raise Stop(hand.why() or Why.DRAIN)
    if outcome.store_failed and not outcome.store_refuses:
        raise Stop(Why.AWAY, outcome.why)
    hurt = next(iter(outcome.broke.values()), "")
    if outcome.ending is Ending.STOPPED or hurt:
        why = hurt or outcome.why
        if not hand.lease.made:
            site.setbacks.fruitless(why)
        site.counts.ended("failed")
        return Failed(message=f"worker '{site.worker}': {count}: {why}")
    if not hand.lease.sure(pause):
        raise Stop(Why.LOST)
    give(store.objects, hand.name, form.order, ends.to_json())
    failed = sum(end.state is State.FAILED for end in ends.steps.values())
    site.counts.ended("failed" if failed else "completed")
    if failed:
        reason = next(e.reason for e in ends.steps.values() if e.state is State.FAILED)
        return Failed(message=f"{count}, {failed} failed: {reason}")
    return Completed(message=f"{count}, {outcome.seconds:.1f} s", data="made")
