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


def how_it_ended(
    who: str, code: int | None, *, at: str, words: str, stalled: float, stopped: bool
) -> str:
    """One line: who ended how, ``at`` doing what.

    ``code`` is the exit code, minus the signal's number, or none if it never started; ``words``
    are its own last ones; ``stalled`` the seconds of silence that it was killed for, else 0.
    """
    if stopped:
        return f"{who} was stopped {at}"
    if stalled:
        return f"{who} gave no sign of life for {stalled:g} s {at}, and was killed"
    if words:
        return f"{who} failed {at}: {words}"
    if code is not None and code < 0:
        return f"{who} died of {signal_name(-code)} {at}"
    return f"{who} ended with exit code {code} {at}"


def signal_name(number: int) -> str:
    """A signal for people: its number and what it usually means."""
    try:
        known = signal.Signals(number)
    except ValueError:
        return f"signal {number}"
    return f"signal {number} ({_HINTS.get(known, known.name)})"
