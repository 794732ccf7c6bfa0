"""Asking the engine: it is loaded when first needed, and every request gets its one answer.

A call that breaks as a whole (the engine's process died, the device failed) says nothing of which
picture broke it. So nobody is charged: what is unanswered is asked again in two halves, until the
one that breaks it is alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence

from flows.plan.step import Plan
from flows.recipe.naming import legible
from flows.run.events import Denoising, EngineLoaded, EngineLoading, Listener
from kontext_engine.api import EditFailure, EditRequest, EditResult, Engine, StepProgress
from kontext_engine.errors import (
    Cancelled,
    EngineError,
    ModelError,
    RequestError,
)

log = logging.getLogger(__name__)

EngineFactory = Callable[[], Engine]
CancelSignal = Callable[[], bool]


class Stopped(Exception):  # noqa: N818 - ends a run's loop, and becomes its ending there
    """Nothing further can be done; the message says why."""


class Asker:
    """A plan's engine. ``load_seconds`` is what loading it took, 0 when it was not needed.

    ``broke`` tells of the pictures at which the engine itself broke, asked for alone, and how.
    """

    def __init__(
        self,
        plan: Plan,
        engine_factory: EngineFactory,
        *,
        on_event: Listener,
        cancelled: CancelSignal,
    ) -> None:
        self.load_seconds = 0.0
        self.broke: dict[str, str] = {}
        self._plan = plan
        self._engine_factory = engine_factory
        self._engine: Engine | None = None
        self._tell = on_event
        self._cancelled = cancelled

    def answers(self, requests: Sequence[EditRequest]) -> Iterator[EditResult | EditFailure]:
        """One answer for each request, whatever the engine does short of being cancelled.

        Raises:
            Cancelled: somebody asked to stop.
            Stopped: there is no engine to be had, or it can do nothing further.
        """
        waiting = {request.id: request for request in requests}
        broken: Exception | None = None
        try:
            for answer in self._loaded().run(requests, self._on_step):
                if answer.id not in waiting:
                    log.warning("the engine answered %r, which was not asked", answer.id)
                    continue
                del waiting[answer.id]
                yield answer
        except (Cancelled, Stopped):
            raise
        except ModelError as error:
            raise Stopped(str(error)) from error
        except Exception as error:
            log.debug("the engine raised", exc_info=True)
            broken = error
        left = tuple(waiting.values())
        if broken is None or len(requests) == 1:
            yield from (self._failure(request, broken) for request in left)
        elif left:
            log.warning("%s; %d pictures are asked again", describe(broken), len(left))
            for part in (left[: len(left) // 2], left[len(left) // 2 :]):
                if part:
                    yield from self.answers(part)

    def _failure(self, request: EditRequest, broken: Exception | None) -> EditFailure:
        """Of a request that got no answer, and stood alone if its call broke."""
        if broken is None:
            return EditFailure(request.id, "the engine gave no answer", retryable=True)
        retryable = not isinstance(broken, RequestError)
        if retryable:
            self.broke[request.id] = describe(broken)
        return EditFailure(request.id, describe(broken), retryable)

    def stop_if_cancelled(self) -> None:
        """Raise ``Cancelled`` if somebody has asked to stop."""
        if self._cancelled():
            raise Cancelled("asked to stop")

    def _on_step(self, progress: StepProgress) -> None:
        self.stop_if_cancelled()
        self._tell(Denoising(progress.ids, progress.step, progress.steps))

    def _loaded(self) -> Engine:
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
                raise Stopped(f"model '{model}' could not be loaded: {describe(error)}") from error
            self.load_seconds = time.monotonic() - began
            self._check(self._engine)
            self._tell(EngineLoaded(model, self.load_seconds))
            self.stop_if_cancelled()
        return self._engine

    def _check(self, engine: Engine) -> None:
        # Keys name the model and numerics; pictures of others under them would be lies.
        if engine.spec.deciding != self._plan.model.deciding:
            raise Stopped(
                f"the weights of model '{self._plan.model.name}', or its kontext.json, changed "
                "since the run was planned; run again"
            )
        if engine.numerics != self._plan.numerics:
            raise Stopped(
                f"the engine computes with {engine.numerics}, the plan expects "
                f"{self._plan.numerics}; start it with the plan's numerics"
            )


def describe(error: Exception) -> str:
    """An error in one line: an engine's own words, or the kind of any other and what it says."""
    text = legible(str(error))  # it may name a file in other bytes than UTF-8
    if isinstance(error, EngineError):
        return text
    lines = text.strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
