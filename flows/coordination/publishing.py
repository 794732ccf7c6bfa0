"""A run's end: what was made is found, published, and the run forgotten, beside the ticks.

For a large run that takes minutes, in which the other runs must not stand still. Whatever is cut
short here is done again by the next process: until it is closed, a run stays under way.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from flows.coordination.ledger import Ledger, Order
from flows.coordination.standing import Standing
from flows.coordination.underway import UnderWay
from flows.execution.outcome import Ending, Outcome
from flows.pipeline import Finished
from flows.recipe.step import Plan
from flows.store.keyed import KeyedStore

T = TypeVar("T")

Publish = Callable[[Order, Plan, Outcome], Finished]


class Submit(Protocol):
    """Has work done, now or soon, one after the other; ``ThreadPoolExecutor(1).submit`` is one."""

    def __call__(self, work: Callable[[], T], /) -> Future[T]:
        """Its end to be."""


def at_once(work: Callable[[], T], /) -> Future[T]:
    """Done when it returns."""
    done: Future[T] = Future()
    try:
        done.set_result(work())
    except Exception as error:
        done.set_exception(error)
    return done


@dataclass(frozen=True, slots=True)
class Published:
    """Manifest and report are there; or pictures were found damaged, and nothing is published."""

    outcome: Outcome
    finished: Finished | None = None
    damaged: tuple[str, ...] = ()


class Publisher:
    """Each of its two jobs is begun by the first question and asked for again and again.

    An error is raised once, to whoever asks next; the question after that begins anew.
    """

    def __init__(
        self, store: KeyedStore, ledger: Ledger, publish: Publish, submit: Submit = at_once
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._publish = publish
        self._submit = submit
        self._publishing: dict[str, Future[Published]] = {}
        self._closing: dict[str, Future[None]] = {}

    def published(self, run: UnderWay, ending: Ending | None, seconds: float) -> Published | None:
        """What came of publishing, once it has; ``ending`` is how the run was stopped, if it was.

        ``ending`` and ``seconds``, the run's own, are those of the question that begins it.
        """

        def begin() -> Future[Published]:
            # A copy, because the conductor goes on with its own.
            standing = replace(run.standing, ends=dict(run.standing.ends))
            return self._submit(lambda: self._work(run, standing, ending, seconds))

        done = self._ask(self._publishing, run.order.run, begin)
        return None if done is None else done.result()

    def closed(self, run: str) -> bool:
        """Whether it is forgotten."""
        done = self._ask(self._closing, run, lambda: self._submit(lambda: self._ledger.close(run)))
        if done is None:
            return False
        done.result()
        return True

    def drop(self, run: str) -> None:
        """Its run is not under way any more; what is begun is ended for nobody."""
        for jobs in (self._publishing, self._closing):
            if (job := jobs.pop(run, None)) is not None:
                job.cancel()

    def _ask(
        self, jobs: dict[str, Future[T]], run: str, begin: Callable[[], Future[T]]
    ) -> Future[T] | None:
        if run not in jobs:
            jobs[run] = begin()
        return jobs.pop(run) if jobs[run].done() else None

    def _work(
        self, run: UnderWay, standing: Standing, ending: Ending | None, seconds: float
    ) -> Published:
        records = dict(self._store.find_all(run.plan.steps))
        outcome = standing.outcome(records, ending, seconds)
        if ending is None and (damaged := run.to_make_again(standing.without_picture(records))):
            return Published(outcome, damaged=damaged)
        return Published(outcome, self._publish(run.order, run.plan, outcome))
