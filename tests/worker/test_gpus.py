"""What GPUs there are, on machines with and without a driver."""

from __future__ import annotations

from types import SimpleNamespace

import pynvml
import pytest

from flows.scheduling.workers import gpus
from flows.scheduling.workers.gpus import gpu_memory, visible_gpus
from flows.scheduling.workers.options import WorkerOptions


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpus._count.cache_clear()
    yield
    gpus._count.cache_clear()


def driver_of(monkeypatch, *used):
    """A driver with so many bytes in use on each GPU; ``None``: that one is lost."""

    def memory(number):
        if used[number] is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return SimpleNamespace(used=used[number])

    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: len(used))
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda number: number)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", memory)


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        ("0,1", ("0", "1")),
        ("", ()),
        ("-1", ()),
        ("2,-1,3", ("2",)),
        ("GPU-ab", ("GPU-ab",)),
        (None, ("0", "1", "2")),
    ],
)
def test_gpus_are_those_that_this_process_may_use(monkeypatch, visible, found):
    driver_of(monkeypatch, 5, None, 7)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_gpus() == found
    assert WorkerOptions().count == max(1, len(found))
    assert WorkerOptions(engines=3).count == 3
    # Whoever may use any is told of all that answer: others may fill them.
    assert gpu_memory() == ({"0": 5, "2": 7} if found else {})


@pytest.mark.parametrize(
    "fault",
    [pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED],
)
def test_without_a_driver_there_are_none(monkeypatch, fault):
    def init():
        raise pynvml.NVMLError(fault)

    monkeypatch.setattr(pynvml, "nvmlInit", init)
    assert visible_gpus() == ()
    assert gpu_memory() == {}
    assert WorkerOptions().count == 1
