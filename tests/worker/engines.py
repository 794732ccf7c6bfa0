"""Engines for engine processes: named on the command line as ``tests.worker.engines:slow``."""

from __future__ import annotations

import os

from kontext_engine.errors import ModelError
from kontext_engine.fake import FakeEngine, FakeFaults

SECONDS = "TEST_SECONDS_PER_EDIT"


def slow(spec, options):
    """The fake engine; a prompt with FAIL fails, each edit sleeps as the environment says."""
    seconds = float(os.environ.get(SECONDS, "0"))
    return FakeEngine(spec, options, FakeFaults(prompts=("FAIL",)), seconds_per_edit=seconds)


def absent(spec, options):
    """A model that is not on this machine."""
    raise ModelError("not here")
