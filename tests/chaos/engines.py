"""Engines for workers' engine processes, that keep a log of what they compute.

``kontext worker`` keeps none: a store in S3 has nothing to append to. Each worker has its own file,
``CALLS`` in its environment, which its engines share.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from flows.engines.loading import load_kontext
from kontext_engine.api import EditFailure, EditRequest, EditResult, Engine, StepCallback
from kontext_engine.calllog import CallLog
from kontext_engine.fake import FakeEngine

CALLS = "TEST_CALLS"
SECONDS = "TEST_SECONDS_PER_EDIT"
DEADLY = "kill the engine"


@dataclass(frozen=True)
class Logged:
    """An engine that also logs its denoise steps: when the last one was is what cancelling asks."""

    engine: Engine
    log: CallLog

    @property
    def spec(self):
        return self.engine.spec

    @property
    def numerics(self):
        return self.engine.numerics

    def run(
        self, requests: Sequence[EditRequest], on_step: StepCallback | None = None
    ) -> Iterator[EditResult | EditFailure]:
        def watched(progress) -> None:
            self.log.write("step", progress.ids[:1])
            if on_step is not None:
                on_step(progress)

        return self.engine.run(requests, watched)


def logged(spec, options):
    """The real engine, with the model of this machine."""
    log = CallLog(os.environ[CALLS])
    log.write("load", [f"{spec.name} {spec.digest}"])
    return Logged(load_kontext(spec, replace(options, call_log=os.environ[CALLS])), log)


def sleeping(spec, options):
    """Takes the time that it is told to, and none of the processor's."""
    log = CallLog(os.environ[CALLS])
    log.write("load", [f"{spec.name} {spec.digest}"])
    options = replace(options, call_log=os.environ[CALLS])
    seconds = float(os.environ[SECONDS])
    return Logged(FakeEngine(spec, options, seconds_per_edit=seconds), log)


@dataclass(frozen=True)
class Claiming(Logged):
    """Says that an edit took ten seconds, so that a minute's chunk is over in a moment.

    A prompt that holds ``DEADLY`` kills its process.
    """

    def run(
        self, requests: Sequence[EditRequest], on_step: StepCallback | None = None
    ) -> Iterator[EditResult | EditFailure]:
        if any(DEADLY in request.prompt for request in requests):
            os.kill(os.getpid(), signal.SIGKILL)
        for answer in super().run(requests, on_step):
            yield replace(answer, seconds=10.0) if isinstance(answer, EditResult) else answer


def swift(spec, options):
    """``sleeping``, and its records claim more time: runs of a few seconds have several chunks."""
    slept = sleeping(spec, options)
    return Claiming(slept.engine, slept.log)


def instant(spec, options):
    """Takes no time, and keeps no log."""
    return FakeEngine(spec, options)
