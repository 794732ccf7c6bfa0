"""What /proc tells: real process ids, by their parents and command lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def until(wanted: Callable[[], T], seconds: float, why: Callable[[], str] = str) -> T:
    """The first true answer. Looks come slower by and by: each may cost a server 20 ms."""
    end = time.monotonic() + seconds
    pause = 0.1
    while not (found := wanted()):
        assert time.monotonic() < end, f"not within {seconds:.0f} s. {why()}"
        time.sleep(pause)
        pause = min(pause * 1.2, 1.0)
    return found


def child_of(parent: int, words: str) -> int | None:
    """The living child of ``parent`` whose command line has ``words`` in it."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                after = (folder / "stat").read_text().rpartition(")")[2].split()
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if int(after[1]) == parent and after[0] != "Z" and words in line:
                return int(folder.name)
    return None


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
