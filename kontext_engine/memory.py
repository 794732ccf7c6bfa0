"""Large CPU tensors kept by the allocator, so that each pass does not fault its pages in anew.

glibc gives every block above its threshold back to the kernel when it is freed; a denoising or
training step allocates hundreds of such blocks, and zeroing their pages again took a third of a
training step of the miniature on two cores (1.42 s against 0.98 s). Other C libraries are left
alone.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_KEPT = 2**31 - 1  # bytes that stay with the process; mallopt takes an int
_MAPPED = 1 << 30  # blocks from this size on still get a mapping of their own
_STRIDE = 1 << 26  # bytes by which the heap grows at least


def keep_freed_memory() -> bool:
    """Let malloc keep up to 2 GiB of freed memory for this process.

    Returns whether the C library understood it.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    options = ((_MMAP_THRESHOLD, _MAPPED), (_TRIM_THRESHOLD, _KEPT), (_TOP_PAD, _STRIDE))
    return all(mallopt(name, value) == 1 for name, value in options)
