"""Carrying out a plan: find what is done, make what is missing, store each picture at once.

Knows no command line and no Prefect. Every run computes what is missing, so resuming is not a
mode (contract 2); a failure blocks only its descendants (contract 3).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from flows.chunk import cut_chunks, group_chunks, shape_hint
from flows.execution.asking import Asker, CancelSignal, EngineFactory, Stopped, describe
from flows.execution.board import Board
from flows.execution.events import Listener, Retrying, Started, ignore
from flows.execution.outcome import Ending, Outcome, State, StepOutcome
from flows.execution.pictures import ContextPictures, encode_png
from flows.execution.provenance import failure_note, new_record
from flows.recipe.step import Plan
from flows.store.base import LASTING, BlobDamaged, StoreError
from flows.store.keyed import KeyedStore
from flows.store.record import Record
from kontext_engine.api import EditFailure, EditRequest, EditResult
from kontext_engine.errors import Cancelled, PictureError

log = logging.getLogger(__name__)

__all__ = ["CancelSignal", "EngineFactory", "Limits", "never", "run_plan"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is handed to the engine at once, and how often a failing step is tried.

    ``requests`` are many batches' worth, so that the engine can form full ones of each shape;
    ``pixels`` bounds the memory of opened pictures (three bytes each).
    """

    attempts: int = 3
    requests: int = 64
    pixels: int = 200_000_000


class Aftercare(Protocol):
    """Whoever makes something of pictures while they are in hand. ``StoreError`` ends the run."""

    def opened(self, digest: str, picture: Image.Image) -> None:
        """A source picture was opened."""

    def made(self, record: Record, picture: Image.Image) -> None:
        """A step's picture was made and stored."""

    def found(self, records: Mapping[str, Record]) -> Collection[str]:
        """Pictures that are there, unread; the keys of those that turn out to be damaged."""


class NoCare:
    """Nothing is made of the pictures."""

    def opened(self, digest: str, picture: Image.Image) -> None:
        """Do nothing."""

    def made(self, record: Record, picture: Image.Image) -> None:
        """Do nothing."""

    def found(self, records: Mapping[str, Record]) -> Collection[str]:  # noqa: ARG002
        """None is damaged as far as is known."""
        return ()


USUAL = Limits()
NO_CARE = NoCare()


def never() -> bool:
    """The signal of those who never cancel."""
    return False


def run_plan(
    plan: Plan,
    store: KeyedStore,
    engine_factory: EngineFactory,
    *,
    on_event: Listener = ignore,
    cancelled: CancelSignal = never,
    limits: Limits = USUAL,
    care: Aftercare = NO_CARE,
) -> Outcome:
    """Make every step of ``plan`` that ``store`` does not hold.

    ``engine_factory`` is called at most once, and only if something is missing; a
    ``KeyboardInterrupt`` in it counts as being cancelled. ``cancelled`` is asked at each denoise
    step; what is stored by then stays. Never raises for what may go wrong with a step, a model or
    a disk: the outcome tells. What is there is taken for sound until it is read.
    """
    asker = Asker(plan, engine_factory, on_event=on_event, cancelled=cancelled)
    run = _Run(plan, store, asker, on_event, limits, care)
    began = time.monotonic()
    ending, why, store_failed, refuses = Ending.COMPLETE, "", False, False
    try:
        run.work()
    except Cancelled:
        ending, why = Ending.INTERRUPTED, "somebody asked to stop; run again to go on"
    except Stopped as stop:
        ending, why = Ending.STOPPED, str(stop)
    except StoreError as error:
        ending, why, store_failed = Ending.STOPPED, str(error), True
        refuses = isinstance(error, LASTING)
    steps = run.board.outcomes()
    if ending is Ending.COMPLETE and any(step.state is State.FAILED for step in steps.values()):
        ending = Ending.FAILED
    spent = time.monotonic() - began
    failed = {key for key, step in steps.items() if step.state is State.FAILED}
    broke = {key: words for key, words in asker.broke.items() if key in failed}
    loaded = asker.load_seconds
    return Outcome(steps, ending, why, spent, loaded, store_failed, refuses, broke=broke)


class _Run:
    """One pass over a plan. Holds the board and the attempts."""

    def __init__(
        self,
        plan: Plan,
        store: KeyedStore,
        asker: Asker,
        on_event: Listener,
        limits: Limits,
        care: Aftercare,
    ) -> None:
        self.board = Board(plan, on_event)
        self._plan = plan
        self._store = store
        self._asker = asker
        self._tell = on_event
        self._limits = limits
        self._care = care
        self._attempts: Counter[str] = Counter()

    def work(self) -> None:
        found = self.board.take_from(self._store)
        self._tell(Started(len(self._plan.steps), len(self.board.missing())))
        for key in self._care.found(found):
            self.board.reopen(key)
        missing = self.board.missing()
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
        pictures = ContextPictures(self._store, self.board, self._care.opened)
        requests: list[EditRequest] = []
        for key in keys:
            self._asker.stop_if_cancelled()
            try:
                requests.append(pictures.request(self._plan.steps[key]))
            except PictureError as error:
                self._fail(key, str(error))
            except BlobDamaged as error:
                self._remake_parents(key, str(error))
            except StoreError:
                raise
            except Exception as error:  # decoders of untrusted data raise nearly anything
                log.debug("a picture could not be opened", exc_info=True)
                self._fail(key, describe(error))
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
        for answer in self._asker.answers(requests):
            if isinstance(answer, EditResult):
                self._keep(answer)
            else:
                self._retry_or_fail(answer)

    def _keep(self, result: EditResult) -> None:
        step = self._plan.steps[result.id]
        self._attempts[step.key] += 1
        attempts = self._attempts[step.key]
        try:
            picture = result.image.convert("RGB")
            blob = encode_png(picture)
        except Exception as error:
            log.debug("a picture could not be encoded", exc_info=True)
            self._fail(step.key, describe(error))
            return
        record = new_record(self._plan, step, result, blob, attempts)
        held = self._store.put(record, blob)
        self.board.settle(StepOutcome(step.key, State.DONE, held, attempts=attempts))
        if held.blob == record.blob:
            self._care.made(held, picture)
        elif self._care.found({step.key: held}):  # another writer was first, and is damaged
            self.board.reopen(step.key)
            self._retry_or_fail(EditFailure(step.key, "its picture was damaged", retryable=True))

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
