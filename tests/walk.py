"""The walk of ``kontext plan`` and ``kontext run`` through the rooms: ``python -m tests.walk``.

Follows every call and prints those that lead from a room to one above it. Imports go one way
(``test_rooms.py``), so each of these is a callback: a function that the upper room has handed down.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import flows.plan.plan
from flows.cli import main
from kontext_engine.fake import FAKE_SPEC

from .rooms import FLOWS
from .run.fake_kontext import install
from .test_rooms import ORDER

RECIPE = """
version: 1
name: walk
model: fake
matrix: {place: [beach, street, FAIL here]}
defaults: {steps: 2, size: 64x64}
steps:
  scene: {op: generate, prompt: "a hat at the {place}"}
  snow: {op: edit, image: scene, prompt: it snows}
outputs:
  - {step: snow, name: "{place}.jpg"}
"""
VERBS = (("plan", "walk.yaml", "--out", "out"), ("run", "walk.yaml", "--out", "out"))


def room_of(frame: FrameType | None) -> str | None:
    """The room that a frame's code lies in."""
    if frame is None or not frame.f_code.co_filename.startswith(f"{FLOWS}/"):
        return None
    return Path(frame.f_code.co_filename).relative_to(FLOWS).parts[0].removesuffix(".py")


def name_of(frame: FrameType) -> str:
    """``room: function``."""
    return f"{room_of(frame)}: {frame.f_code.co_qualname}"


@contextlib.contextmanager
def followed(calls: set[tuple[str, str]]) -> Iterator[None]:
    """Within it every call from a room to one above it is noted, of all threads."""

    def note(frame: FrameType, event: str, _: Any) -> None:
        above = room_of(frame)
        if event != "call" or above not in ORDER or "<module>" in frame.f_code.co_qualname:
            return  # code of a module runs where it is imported
        caller = frame.f_back
        while caller is not None and room_of(caller) is None:
            caller = caller.f_back
        below = room_of(caller)
        if caller is not None and below in ORDER and ORDER.index(below) < ORDER.index(above):
            calls.add((name_of(caller), name_of(frame)))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def walk(verb: Sequence[str], told: Callable[[str], object]) -> None:
    """Carry out a verb and tell of each call upwards."""
    calls: set[tuple[str, str]] = set()
    with followed(calls), contextlib.suppress(SystemExit):
        main(list(verb))
    for caller, callee in sorted(calls):
        told(f"{verb[0]}: {caller} -> {callee}\n")


if __name__ == "__main__":
    flows.plan.plan.resolve_model = lambda name: FAKE_SPEC
    install("0")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("walk.yaml").write_text(RECIPE)
        for verb in VERBS:
            lines: list[str] = []
            walk(verb, lines.append)
            sys.stderr.writelines(lines)
