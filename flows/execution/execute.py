"""Carrying out a plan: find what is done, make what is missing, store each picture at once.

Knows no command line and no Prefect. Every run computes what is missing, so resuming is not a
mode (contract 2); a failure blocks only its descendants (contract 3).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from flows.chunk import cut_chunks, group_chunks, shape_hint
from flows.execution.board import Board
from flows.execution.events import (
    Denoising,
    EngineLoaded,
    EngineLoading,
    Listener,
    Retrying,
    Started,
    ignore,
)
from flows.execution.outcome import Ending, Outcome, State, StepOutcome
from flows.execution.pictures import ContextPictures, encode_png
from flows.execution.provenance import failure_note, new_record
from flows.recipe.step import Plan
from flows.store.base import BlobDamaged, Store, StoreError
from kontext_engine.api import EditFailure, EditRequest, EditResult, Engine, StepProgress
from kontext_engine.errors import CallLogError, Cancelled, EngineError, PictureError, RequestError

log = logging.getLogger(__name__)

EngineFactory = Callable[[], Engine]
CancelSignal = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is handed to the engine at once, and how often a failing step is tried.

    ``requests`` are many batches' worth, so that the engine can form full ones of each shape;
    ``pixels`` bounds the memory of opened pictures (three bytes each).
    """

    attempts: int = 3
    requests: int = 64
    pixels: int = 200_000_000


class _Stopped(Exception):  # noqa: N818 - ends this run's loop, never leaves this module
    """Nothing further can be done; the message says why."""


def never() -> bool:
    """The signal of those who never cancel."""
    return False


def run_plan(
    plan: Plan,
    store: Store,
    engine_factory: EngineFactory,
    *,
    on_event: Listener = ignore,
    cancelled: CancelSignal = never,
    limits: Limits = Limits(),
) -> Outcome:
    """Make every step of ``plan`` that ``store`` does not hold.

    ``engine_factory`` is called at most once, and only if something is missing; a
    ``KeyboardInterrupt`` in it counts as being cancelled. ``cancelled`` is asked at each denoise
    step; what is stored by then stays. Never raises for what may go wrong with a step, a model or
    a disk: the outcome tells.
    """
    run = _Run(plan, store, engine_factory, on_event=on_event, cancelled=cancelled, limits=limits)
    began = time.monotonic()
    ending, why, store_failed = Ending.COMPLETE, "", False
    try:
        run.work()
    except Cancelled:
        ending, why = Ending.INTERRUPTED, "somebody asked to stop; run again to go on"
    except _Stopped as stop:
        ending, why = Ending.STOPPED, str(stop)
    except StoreError as error:
        ending, why, store_failed = Ending.STOPPED, str(error), True
    steps = run.board.outcomes()
    if ending is Ending.COMPLETE and any(step.state is State.FAILED for step in steps.values()):
        ending = Ending.FAILED
    spent = time.monotonic() - began
    return Outcome(steps, ending, why, spent, run.load_seconds, store_failed)


class _Run:
    """One pass over a plan. Holds the board, the engine once it is needed, and the attempts."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        engine_factory: EngineFactory,
        *,
        on_event: Listener,
        cancelled: CancelSignal,
        limits: Limits,
    ) -> None:
        self.board = Board(plan, on_event)
        self.load_seconds = 0.0
        self._plan = plan
        self._store = store
        self._engine_factory = engine_factory
        self._engine: Engine | None = None
        self._tell = on_event
        self._cancelled = cancelled
        self._limits = limits
        self._attempts: Counter[str] = Counter()

    def work(self) -> None:
        self.board.take_from(self._store)
        missing = self.board.missing()
        self._tell(Started(len(self._plan.steps), len(missing)))
        if missing:
            self._store.prepare()  # before minutes are spent on a model for a place like /dev/null
        chunks = cut_chunks(self._plan, missing)
        for keys in group_chunks(self._plan, chunks, self._limits.requests):
            # With their ancestors: one that is found damaged on the way is remade here.
            lineage = self._lineage(keys)
            while ready := self.board.ready(lineage):
                self._ask(self._requests(self._next(ready)))

    def _lineage(self, keys: Sequence[str]) -> tuple[str, ...]:
        wanted = set(keys)
        for key in reversed(tuple(self._plan.steps)):
            if key in wanted:
                wanted.update(self._plan.steps[key].parents)
        return tuple(key for key in self._plan.steps if key in wanted)

    def _next(self, ready: Sequence[str]) -> Sequence[str]:
        """One that has failed before goes alone, and first, so that its children meet others'.

        Fresh steps go together, alike side by side.
        """
        for key in ready:
            if self._attempts[key]:
                return [key]
        alike = sorted(ready, key=lambda key: shape_hint(self._plan.steps[key]))
        return alike[: self._limits.requests]

    def _requests(self, keys: Sequence[str]) -> list[EditRequest]:
        pictures = ContextPictures(self._store, self.board)
        requests: list[EditRequest] = []
        for key in keys:
            self._stop_if_cancelled()
            try:
                requests.append(pictures.request(self._plan.steps[key]))
            except PictureError as error:
                self._fail(key, str(error))
            except BlobDamaged as error:
                self._remake_parents(key, str(error))
            if pictures.pixels > self._limits.pixels:
                break
        return requests

    def _remake_parents(self, key: str, why: str) -> None:
        self._attempts[key] += 1
        if self._attempts[key] >= self._limits.attempts:
            self._fail(key, why)
            return
        for parent in self._plan.steps[key].parents:
            if self._store.find(parent) is None:
                self.board.reopen(parent)

    def _ask(self, requests: Sequence[EditRequest]) -> None:
        if not requests:
            return
        for answer in self._answers(self._loaded_engine(), requests):
            if isinstance(answer, EditResult):
                self._keep(answer)
            else:
                self._retry_or_fail(answer)

    def _answers(
        self, engine: Engine, requests: Sequence[EditRequest]
    ) -> Iterator[EditResult | EditFailure]:
        """One answer for each request, whatever the engine does short of being cancelled."""
        waiting = {request.id: None for request in requests}
        why, retryable = "the engine gave no answer", True
        try:
            for answer in engine.run(requests, self._on_step):
                if answer.id not in waiting:
                    log.warning("the engine answered %r, which was not asked", answer.id)
                    continue
                del waiting[answer.id]
                yield answer
        except Cancelled:
            raise
        except CallLogError as error:
            raise _Stopped(str(error)) from error
        except Exception as error:
            log.debug("the engine raised", exc_info=True)
            why = _describe(error)
            retryable = not (isinstance(error, RequestError) and len(requests) == 1)
        for key in waiting:
            yield EditFailure(key, why, retryable)

    def _keep(self, result: EditResult) -> None:
        step = self._plan.steps[result.id]
        self._attempts[step.key] += 1
        attempts = self._attempts[step.key]
        blob = encode_png(result.image)
        record = self._store.put(new_record(self._plan, step, result, blob, attempts), blob)
        self.board.settle(StepOutcome(step.key, State.DONE, record, attempts=attempts))

    def _retry_or_fail(self, failure: EditFailure) -> None:
        self._attempts[failure.id] += 1
        attempt = self._attempts[failure.id]
        if failure.retryable and attempt < self._limits.attempts:
            label = self._plan.steps[failure.id].label
            self._tell(Retrying(failure.id, label, failure.reason, attempt))
        else:
            self._fail(failure.id, failure.reason)

    def _fail(self, key: str, reason: str) -> None:
        attempts = max(1, self._attempts[key])
        self._store.note_failure(failure_note(self._plan.steps[key], reason, attempts))
        self.board.settle(StepOutcome(key, State.FAILED, reason=reason, attempts=attempts))

    def _on_step(self, progress: StepProgress) -> None:
        self._stop_if_cancelled()
        self._tell(Denoising(progress.ids, progress.step, progress.steps))

    def _stop_if_cancelled(self) -> None:
        if self._cancelled():
            raise Cancelled("asked to stop")

    def _loaded_engine(self) -> Engine:
        if self._engine is None:
            model = self._plan.model.name
            began = time.monotonic()
            try:
                self._tell(EngineLoading(model))
                self._engine = self._engine_factory()
            except KeyboardInterrupt:  # loading asks nobody, so this is how it is stopped
                raise Cancelled("asked to stop") from None
            except Exception as error:
                log.debug("the engine did not load", exc_info=True)
                raise _Stopped(
                    f"model '{model}' could not be loaded: {_describe(error)}"
                ) from error
            self.load_seconds = time.monotonic() - began
            self._check(self._engine)
            self._tell(EngineLoaded(model, self.load_seconds))
            self._stop_if_cancelled()
        return self._engine

    def _check(self, engine: Engine) -> None:
        # Keys name the model and numerics; pictures of others under them would be lies.
        if engine.spec.deciding != self._plan.model.deciding:
            raise _Stopped(
                f"the weights of model '{self._plan.model.name}', or its kontext.json, changed "
                "since the run was planned; run again"
            )
        if engine.numerics != self._plan.numerics:
            raise _Stopped(
                f"the engine computes with {engine.numerics}, the plan expects "
                f"{self._plan.numerics}; start it with the plan's numerics"
            )


def _describe(error: Exception) -> str:
    if isinstance(error, EngineError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
