"""The allocator setting: understood where glibc is, harmless elsewhere; it does what it says."""

import subprocess
import sys

import pytest

from kontext_engine import memory

FAULTS = """
import resource, sys
if sys.argv[1] == "keep":
    from kontext_engine.memory import keep_freed_memory
    assert keep_freed_memory()
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def churn():
    for _ in range(20):
        block = libc.malloc(64 << 20)  # above what glibc's own threshold can grow to
        ctypes.memset(block, 1, 64 << 20)
        libc.free(block)
churn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
churn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode):
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not memory.keep_freed_memory(),
    reason="mallopt is glibc's",
)
def test_pages_of_freed_blocks_are_not_faulted_in_again():
    """64 MiB is 16,384 pages of 4 KiB, each of which the kernel would zero twenty times."""
    assert faults("leave") > 20 * 10_000
    assert faults("keep") < 10_000


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert not memory.keep_freed_memory()


def test_a_c_library_without_it_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    assert not memory.keep_freed_memory()
