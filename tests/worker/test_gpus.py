"""How many engines a worker has: by the GPUs that its process may use."""

from __future__ import annotations

import pytest

from flows.workers.gpus import visible_gpus
from flows.workers.options import WorkerOptions


@pytest.mark.parametrize(
    ("visible", "found"),
    [("0,1", ("0", "1")), ("", ()), ("-1", ()), ("2,-1,3", ("2",)), ("GPU-ab", ("GPU-ab",))],
)
def test_gpus_are_those_that_this_process_may_use(monkeypatch, visible, found):
    visible_gpus.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    try:
        assert visible_gpus() == found
        assert WorkerOptions().count == max(1, len(found))
        assert WorkerOptions(engines=3).count == 3
    finally:
        visible_gpus.cache_clear()
