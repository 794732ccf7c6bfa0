"""How an engine's process ended, in words for a person."""

from __future__ import annotations

import signal

_HINTS = {
    signal.SIGKILL: "killed; out of memory?",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGBUS: "bus error; no space in shared memory?",
    signal.SIGABRT: "aborted",
    signal.SIGILL: "illegal instruction; built for another processor?",
}


def exit_reason(code: int | None, words: str, stalled: float, *, stopped: bool) -> tuple[str, str]:
    """What goes before and after the work that a process was at.

    ``code`` is the exit code, minus the signal's number, or none if it never started; ``words``
    are its own last ones; ``stalled`` the seconds of silence that it was killed for, else 0.
    """
    if stopped:
        return "was stopped", ""
    if stalled:
        return f"gave no sign of life for {stalled:g} s", ", and was killed"
    if words:
        return "failed", f": {words}"
    if code is not None and code < 0:
        return f"died of {_signal(-code)}", ""
    return f"ended with exit code {code}", ""


def _signal(number: int) -> str:
    try:
        known = signal.Signals(number)
    except ValueError:
        return f"signal {number}"
    return f"signal {number} ({_HINTS.get(known, known.name)})"
