"""What GPUs there are and what is in their memory, as NVIDIA's library tells; no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache

import pynvml


def visible_gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, each as ``CUDA_VISIBLE_DEVICES`` names it."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return tuple(map(str, range(_count())))
    # As the driver reads it: what comes after the first that is none does not count.
    parts = [part.strip() for part in named.split(",")]
    wrong = next((n for n, part in enumerate(parts) if part in {"", "-1"}), len(parts))
    return tuple(parts[:wrong])


def gpu_memory() -> Mapping[str, int]:
    """Bytes in use on each GPU of the machine, by its number; nothing where this process has none.

    One that does not answer, since it is lost or says nothing of memory, is left out.
    """
    used: dict[str, int] = {}
    for number in range(_count() if visible_gpus() else 0):
        with suppress(pynvml.NVMLError):
            handle = pynvml.nvmlDeviceGetHandleByIndex(number)
            used[str(number)] = int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
    return used


@cache
def _count() -> int:
    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:  # there is no driver
        return 0
