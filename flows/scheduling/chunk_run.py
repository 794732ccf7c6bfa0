"""The body of ``make-chunk``: what is missing of one chunk, on an engine of this worker.

What it makes is stored picture by picture. It ends with a verdict, unless it must stop or comes
to nothing; then somebody else goes on with what is missing.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from prefect.client.schemas.objects import State as FlowState
from prefect.logging.loggers import LoggingAdapter
from prefect.states import Completed, Failed

from flows.engines.pooled import PooledEngine
from flows.plan.models import local_model
from flows.plan.step import Plan
from flows.run.asking import EngineFactory
from flows.run.ends import ChunkEnds
from flows.run.events import Event, Retrying, Settled
from flows.run.execute import Limits, run_plan
from flows.run.look import look
from flows.run.outcome import Ending, Outcome, State
from flows.run.signing import Signing
from flows.run.stages import ChunkSheet, read_stage
from flows.run.thumbs import Thumbnail
from flows.run.verdicts import give, verdict
from flows.scheduling.attempt import Attempt, Stop, Why, mine
from flows.scheduling.forms import ChunkForm
from flows.scheduling.names import chunks_of
from flows.scheduling.shown import NEWEST, log_of
from flows.store.base import LASTING, StoreError
from flows.store.keyed import KeyedStore
from flows.store.lanes import LANES, in_lanes
from flows.store.record import Record
from kontext_engine.errors import ModelError
from kontext_engine.spec import ModelSpec

log = logging.getLogger(__name__)

TOLD = 20  # lines about trouble in a run's log, of one attempt at a chunk

_BAD = (State.FAILED, State.BLOCKED)
_MADE = (State.DONE, State.CACHED)


def make_chunk_body(form: ChunkForm) -> FlowState[Any]:
    """Carry out one attempt; the state that it ends in.

    Raises:
        Stop: it must end before its work does.
    """
    attempt = mine()
    try:
        return _make(attempt, attempt.site.store(form.store), form)
    except LASTING as error:
        return Failed(message=f"worker '{attempt.site.worker}': {error}")
    except StoreError as error:  # it was waited for as long as the settings say
        raise Stop(Why.AWAY, str(error)) from None


def _make(attempt: Attempt, store: KeyedStore, form: ChunkForm) -> FlowState[Any]:
    if verdict(store.objects, attempt.name, form.order) is not None:
        return Completed(message="was made", data="made")
    stage = read_stage(store.objects, form.run, form.chunk.rpartition("-")[0])
    if stage is None:
        worker = attempt.site.worker
        return Failed(message=f"worker '{worker}': no stage of run {form.run} in {form.store}")
    sheet = stage.chunk(form.chunk)
    plan = replace(stage.plan, model=_model(attempt, stage.plan))
    keys = _not_blocked(plan, sheet, _failed_before(store, form, sheet))
    if form.order:  # it is ordered again because pictures were lost: what is damaged is set aside
        for _ in in_lanes(store.find, keys, LANES):
            pass
    outcome = _carry_out(attempt, store, plan, sheet, keys, form.run)
    return _ended(attempt, store, form, sheet, outcome)


def _model(attempt: Attempt, plan: Plan) -> ModelSpec:
    site, digest = attempt.site, plan.model.digest
    if digest in site.models:
        return replace(plan.model, source=site.models[digest].source)
    try:
        return local_model(plan.model)
    except ModelError as error:
        if digest not in site.lacking:
            site.lacking.add(digest)
            log.warning("chunks of %s go back: %s", plan.model.name, error)
        raise Stop(Why.LACKING, str(error)) from None


def _failed_before(store: KeyedStore, form: ChunkForm, sheet: ChunkSheet) -> set[str]:
    """Steps that have failed in the chunks that this one comes after; they are not tried again."""
    failed: set[str] = set()
    for name in sheet.after:
        for order in itertools.count():
            words = verdict(store.objects, f"{chunks_of(form.run)}{name}", order)
            if words is not None:
                ends = ChunkEnds.from_json(words).steps
                failed.update(key for key, end in ends.items() if end.state in _BAD)
            elif order >= form.order:  # it may have been ordered more often than this one
                break
    return failed


def _not_blocked(plan: Plan, sheet: ChunkSheet, failed: Collection[str]) -> tuple[str, ...]:
    blocked = set(failed)
    for key in plan.steps if failed else ():
        if not blocked.isdisjoint(plan.steps[key].parents):
            blocked.add(key)
    return tuple(key for key in sheet.keys if key not in blocked)


def _carry_out(
    attempt: Attempt,
    store: KeyedStore,
    plan: Plan,
    sheet: ChunkSheet,
    keys: tuple[str, ...],
    run: str,
) -> Outcome:
    site, wanted = attempt.site, set(keys)
    made = settled_since = 0
    tell = Trouble(log_of(run))
    newest: deque[str] = deque(maxlen=NEWEST)

    def hear(event: Event) -> None:
        nonlocal made, settled_since
        site.counts.hear(event, wanted)
        tell.hear(event)
        if isinstance(event, Settled):
            if event.outcome.state is State.DONE:
                attempt.lease.made += 1
                site.setbacks.fruitful()
            if event.key in wanted and event.outcome.state in _MADE:
                made += 1
                words = f"{made} of {len(sheet.keys)} pictures"
                newest.extend(_thumbnails(event.outcome.record))
                site.progress.tell(attempt.run, made / len(sheet.keys), words, newest)
            if attempt.why() is not None:
                settled_since += 1

    def stop() -> bool:
        # Suspended, a chunk ends after the picture it is at.
        return attempt.at_once() or (attempt.why() is not None and settled_since > 0)

    try:
        return run_plan(
            plan,
            store,
            _engines(attempt, plan),
            seen=look(plan, store, keys, sheet.outputs),
            on_event=hear,
            cancelled=stop,
            limits=Limits(largest=site.settings.inputs.max_pixels),
            signing=Signing.of(site.settings),
        )
    finally:
        attempt.stopped = None


def _thumbnails(record: Record | None) -> Iterator[str]:
    """The name of a picture's thumbnail in the store, if there is a picture."""
    if record is not None:
        yield Thumbnail.of(record.blob, record.width, record.height).name


class Trouble:
    """Failures and repeated attempts, told in the log of the run as they happen."""

    def __init__(self, log: LoggingAdapter) -> None:
        self._log = log
        self._told = 0

    def hear(self, event: Event) -> None:
        """Tell it, unless too much was told already."""
        if isinstance(event, Retrying):
            words = f"attempt {event.attempt} failed: {event.reason}; tried again"
        elif isinstance(event, Settled) and event.outcome.state is State.FAILED:
            words = f"failed: {event.outcome.reason}"
        else:
            return
        self._told += 1
        if self._told <= TOLD:
            self._log.warning("%s: %s", event.label, words)
        elif self._told == TOLD + 1:
            self._log.warning("there is more trouble in this chunk, which is not told here")


def _engines(attempt: Attempt, plan: Plan) -> EngineFactory:
    def load() -> PooledEngine:
        pool = attempt.site.pool
        if pool is None:
            raise ModelError("this worker has no engines; start one with --serve chunks")
        engine = PooledEngine(pool, plan.model, plan.numerics)
        attempt.stopped = engine.cancel
        if attempt.at_once():
            engine.cancel()
        return engine.load()

    return load


def _ended(
    attempt: Attempt, store: KeyedStore, form: ChunkForm, sheet: ChunkSheet, outcome: Outcome
) -> FlowState[Any]:
    site = attempt.site
    ends = ChunkEnds.of(outcome, sheet.keys)
    made = sum(end.state in _MADE for end in ends.steps.values())
    count = f"{made} of {len(sheet.keys)} made"
    if outcome.ending is Ending.INTERRUPTED:
        raise Stop(attempt.why() or Why.DRAIN)
    if outcome.store_failed and not outcome.store_refuses:
        raise Stop(Why.AWAY, outcome.why)
    hurt = next(iter(outcome.broke.values()), "")
    if outcome.ending is Ending.STOPPED or hurt:
        why = hurt or outcome.why
        if not attempt.lease.made:
            site.setbacks.fruitless(why)
        site.counts.ended("failed")
        return Failed(message=f"worker '{site.worker}': {count}: {why}")
    attempt.be_sure()
    give(store.objects, attempt.name, form.order, ends.to_json())
    failed = [end.reason for end in ends.steps.values() if end.state is State.FAILED]
    site.counts.ended("failed" if failed else "completed")
    if failed:
        return Failed(message=f"{count}, {len(failed)} failed: {failed[0]}")
    return Completed(message=f"{count}, {outcome.seconds:.1f} s", data="made")
