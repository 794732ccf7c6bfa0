"""Carrying out a plan: make what is missing, store each picture at once, with its files.

Knows no command line and no Prefect. Every run computes what is missing, so resuming is not a
mode (contract 2); a failure blocks only its descendants (contract 3).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flows.plan.step import Plan
from flows.run.asking import Asker, CancelSignal, EngineFactory, Stopped, describe
from flows.run.board import Board
from flows.run.events import Listener, Retrying, Started, ignore
from flows.run.keeping import Keeper
from flows.run.look import Look, look
from flows.run.outcome import Ending, Outcome, State, StepOutcome
from flows.run.pictures import ContextPictures
from flows.run.pieces import connected, shape_hint
from flows.run.provenance import failure_note, new_record
from flows.run.regions import PromiseBroken
from flows.run.signing import UNSIGNED, Signing
from flows.store.base import LASTING, BlobDamaged, StoreError
from flows.store.keyed import KeyedStore
from kontext_engine.api import EditFailure, EditRequest, EditResult
from kontext_engine.errors import Cancelled, PictureError
from kontext_engine.geometry import MAX_PIXELS

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is handed to the engine at once, and how often a failing step is tried.

    ``requests`` are many batches' worth, so that the engine can form full ones of each shape;
    ``pixels`` bounds the memory of opened pictures (three bytes each), ``largest`` is the most that
    a source may have.
    """

    attempts: int = 3
    requests: int = 64
    pixels: int = 200_000_000
    largest: int = MAX_PIXELS


USUAL = Limits()


def never() -> bool:
    """The signal of those who never cancel."""
    return False


def run_plan(
    plan: Plan,
    store: KeyedStore,
    engine_factory: EngineFactory,
    *,
    seen: Look | None = None,
    on_event: Listener = ignore,
    cancelled: CancelSignal = never,
    limits: Limits = USUAL,
    signing: Signing = UNSIGNED,
) -> Outcome:
    """Make what is missing by ``seen``, a look at ``store`` (default: at the whole plan).

    ``engine_factory`` is called at most once, and only if something is missing; a
    ``KeyboardInterrupt`` in it counts as being cancelled. ``cancelled`` is asked at each denoise
    step; what is stored by then stays. Everything is stored at once, picture by picture, with its
    thumbnail and output files. Raises nothing for what may go wrong with a step, a model or a
    disk: the outcome tells, of all steps that were looked at. What is there is taken for sound
    until it is read; a parent that proves damaged is made again.

    Raises:
        StoreError: ``seen`` was not given, and the store cannot be looked at.
    """
    seen = look(plan, store) if seen is None else seen
    asker = Asker(plan, engine_factory, on_event=on_event, cancelled=cancelled)
    keeper = Keeper(plan, seen.wanted, store, cancelled, signing)
    run = _Run(plan, store, asker, keeper, on_event, limits)
    began = time.monotonic()
    ending, why, store_failed, refuses = Ending.COMPLETE, "", False, False
    try:
        run.work(seen)
    except Cancelled:
        ending, why = Ending.INTERRUPTED, "somebody asked to stop; run again to go on"
    except Stopped as stop:
        ending, why = Ending.STOPPED, str(stop)
    except StoreError as error:
        ending, why, store_failed = Ending.STOPPED, str(error), True
        refuses = isinstance(error, LASTING)
    steps = run.board.outcomes()
    failed = {key for key, step in steps.items() if step.state is State.FAILED}
    if ending is Ending.COMPLETE and failed:
        ending = Ending.FAILED
    return Outcome(
        steps,
        ending,
        why,
        seconds=time.monotonic() - began,
        load_seconds=asker.load_seconds,
        store_failed=store_failed,
        store_refuses=refuses,
        problems=dict(keeper.problems),
        broke={key: words for key, words in asker.broke.items() if key in failed},
    )


@dataclass
class _Run:
    """One pass over a plan. Holds the board and the attempts."""

    plan: Plan
    store: KeyedStore
    asker: Asker
    keeper: Keeper
    tell: Listener
    limits: Limits

    def __post_init__(self) -> None:
        self.board = Board(self.plan, self.tell)
        self.attempts: Counter[str] = Counter()
        self.pictures = ContextPictures(
            self.store,
            self.board,
            self.keeper.opened,
            self.plan.model,
            room=self.limits.pixels,
            largest=self.limits.largest,
        )

    def work(self, seen: Look) -> None:
        self.tell(Started(len(seen.records) + len(seen.missing), len(seen.missing)))
        self.board.take(seen)
        damaged = self.keeper.found(seen.records)
        for key in damaged:
            self._look_again(key)
        if seen.missing or damaged:
            self.store.prepare()  # before minutes are spent on a model for a place like /dev/null
        for keys in in_groups(self.plan, (*seen.missing, *damaged), self.limits.requests):
            while ready := self.board.ready(keys):
                self._ask(self._requests(self._next(ready)))

    def _look_again(self, key: str) -> None:
        self.pictures.drop(key)
        self.board.reopen(key, look(self.plan, self.store, [key]))

    def _next(self, ready: Sequence[str]) -> Sequence[str]:
        """One that has failed before goes alone, and first, so that its children meet others'.

        Fresh steps go together, alike side by side.
        """
        for key in ready:
            if self.attempts[key]:
                return [key]
        alike = sorted(ready, key=lambda key: shape_hint(self.plan.steps[key]))
        return alike[: self.limits.requests]

    def _requests(self, keys: Sequence[str]) -> list[EditRequest]:
        self.pictures.begin()
        requests: list[EditRequest] = []
        for key in keys:
            self.asker.stop_if_cancelled()
            try:
                requests.append(self.pictures.request(self.plan.steps[key]))
            except PictureError as error:
                self._fail(key, str(error))
            except BlobDamaged as error:
                self._remake_parents(key, str(error))
            except StoreError:
                raise
            except Exception as error:  # decoders of untrusted data raise nearly anything
                log.debug("a picture could not be opened", exc_info=True)
                self._fail(key, describe(error))
            if self.pictures.full:
                break
        return requests

    def _remake_parents(self, key: str, why: str) -> None:
        self.attempts[key] += 1
        if self.attempts[key] >= self.limits.attempts:
            self._fail(key, why)
            return
        for parent in self.plan.steps[key].parents:
            if self.store.peek(parent) != self.board.record(parent):
                self._look_again(parent)

    def _ask(self, requests: Sequence[EditRequest]) -> None:
        if not requests:
            return
        for answer in self.asker.answers(requests):
            if isinstance(answer, EditResult):
                self._keep(answer)
            else:
                self._retry_or_fail(answer)

    def _keep(self, result: EditResult) -> None:
        step = self.plan.steps[result.id]
        self.attempts[step.key] += 1
        attempts = self.attempts[step.key]
        try:
            result, blob = self.pictures.finished(step, result)
        except PromiseBroken as error:
            self._fail(step.key, str(error))
            return
        except StoreError:
            raise
        except Exception as error:
            log.debug("a picture could not be encoded", exc_info=True)
            self._fail(step.key, describe(error))
            return
        picture, proof = result.image, self.pictures.proofs.pop(step.key, {})
        record = new_record(self.plan, step, result, blob, attempts, proof)
        held = self.store.put(record, blob)
        if proof and held.blob == record.blob and self.store.read(held) != blob:
            raise StoreError(f"{held.blob}: was stored otherwise than it was written")
        end = StepOutcome(state=State.DONE, record=held, attempts=attempts)
        self.board.settle(step.key, end)
        if held.blob == record.blob:
            if self.board.is_wanted(step.key):
                self.pictures.hold(step.key, picture)
            self.keeper.made(held, picture)
        elif self.keeper.found({step.key: held}):  # another writer was first, and is damaged
            self._look_again(step.key)
            self._retry_or_fail(EditFailure(step.key, "its picture was damaged", retryable=True))

    def _retry_or_fail(self, failure: EditFailure) -> None:
        self.attempts[failure.id] += 1
        attempt = self.attempts[failure.id]
        if failure.retryable and attempt < self.limits.attempts:
            label = self.plan.steps[failure.id].label
            self.tell(Retrying(failure.id, label, failure.reason, attempt))
        else:
            self._fail(failure.id, failure.reason)

    def _fail(self, key: str, reason: str) -> None:
        attempts = max(1, self.attempts[key])
        self.store.note_failure(failure_note(self.plan.steps[key], reason, attempts))
        end = StepOutcome(state=State.FAILED, reason=reason, attempts=attempts)
        self.board.settle(key, end)


def in_groups(plan: Plan, keys: Sequence[str], width: int) -> Iterator[tuple[str, ...]]:
    """Connected pieces to be worked on side by side, so that requests of one shape meet.

    Pieces that look alike come together; a group is closed when it starts at least ``width``
    pictures at once, so that finished variants appear early also in a long run.
    """
    group: list[str] = []
    starts = 0

    def look_of(piece: Sequence[str]) -> tuple[str, ...]:
        return tuple(shape_hint(plan.steps[key]) for key in piece)

    for piece in sorted(connected(plan, keys), key=look_of):
        inside = set(piece)
        group.extend(piece)
        starts += sum(inside.isdisjoint(plan.steps[key].parents) for key in piece)
        if starts >= width:
            yield tuple(group)
            group, starts = [], 0
    if group:
        yield tuple(group)
