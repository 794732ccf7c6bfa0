"""What things are called in Prefect. No Prefect here: workers and command line read it, too."""

from __future__ import annotations

from typing import Final

from flows.coordination.ledger import Queue

RUNS_POOL: Final = "kontext-runs"  # parent runs; the coordinator takes them
RUNS_POOL_TYPE: Final = "kontext-coordinator"
CHUNKS_POOL: Final = "kontext"  # chunks; workers take them
CHUNKS_POOL_TYPE: Final = "kontext"

# Of both pools; the lower number goes first, and nothing of the other starts before it is empty.
PRIORITIES: Final[dict[Queue, int]] = {"urgent": 1, "nightly": 10}

RUN_RECIPE: Final = "run-recipe"
NIGHTLY: Final = "nightly"
MAKE_CHUNK: Final = "make-chunk"


def deployment(flow: str) -> str:
    """``run-recipe/run-recipe``: each flow has one deployment, under its own name."""
    return f"{flow}/{flow}"


def run_tag(run: str) -> str:
    """The tag that a parent and its chunks share."""
    return f"run:{run}"


def nightly_tag(flow_run: str) -> str:
    """The tag of all parents that one nightly run has started."""
    return f"nightly:{flow_run}"
