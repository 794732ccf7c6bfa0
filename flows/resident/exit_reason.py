"""How an engine's process ended and at what, in words for a person."""

from __future__ import annotations

import signal

from flows.resident.options import EngineState
from kontext_engine.api import StepProgress

_HINTS = {
    signal.SIGKILL: "killed; out of memory?",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGBUS: "bus error; no space in shared memory?",
    signal.SIGABRT: "aborted",
    signal.SIGILL: "illegal instruction; built for another processor?",
}


def exit_reason(code: int | None, words: str, stalled: float) -> tuple[str, str]:
    """What goes before and after the work that a process was at.

    ``code`` is the exit code, minus the signal's number, or none if it never started; ``words``
    are its own last ones; ``stalled`` the seconds of silence that it was killed for, else 0.
    """
    if stalled:
        return f"gave no sign of life for {stalled:g} s", ", and was killed"
    if words:
        return "failed", f": {words}"
    if code is not None and code < 0:
        return f"died of {signal_name(-code)}", ""
    return f"ended with exit code {code}", ""


def signal_name(number: int) -> str:
    """A signal for people: its number and what it usually means."""
    try:
        known = signal.Signals(number)
    except ValueError:
        return f"signal {number}"
    return f"signal {number} ({_HINTS.get(known, known.name)})"


def work_at(state: EngineState, model: str, ids: tuple[str, ...], at: StepProgress | None) -> str:
    """What a process was doing: at a job with ``model`` for ``ids``, or without one (no model)."""
    if not model:
        return f"while {state}"
    if state is EngineState.LOADING:
        return f"while loading model '{model}'"
    if not ids:
        return f"when asked to load model '{model}'"
    ids = at.ids if at is not None else ids
    more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
    step = f"step {at.step} of {at.steps} of " if at is not None else ""
    return f"while working on {step}{ids[0][:12]}{more}"
