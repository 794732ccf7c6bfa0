"""A run's progress: a live bar on a terminal, one plain line a step elsewhere. On stderr."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from flows.run.events import (
    Denoising,
    EngineLoaded,
    EngineLoading,
    Event,
    Retrying,
    Settled,
    Started,
)
from flows.run.outcome import State
from flows.run.report.view import duration

Clock = Callable[[], float]


class Tally:
    """Counts what has happened and estimates what is left. Prints nothing."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._states: dict[str, State] = {}
        self._under_way: dict[str, float] = {}  # key -> share of its denoise steps done
        self._began: float | None = None
        self.total = 0

    def hear(self, event: Event) -> None:
        """Take an event into account."""
        match event:
            case Started(total=total):
                self.total = total
            case EngineLoaded():
                self._began = self._clock()
            case Denoising(keys=keys, step=step, steps=steps):
                self._under_way.update(dict.fromkeys(keys, step / max(1, steps)))
            case Settled(key=key, outcome=outcome):
                self._states[key] = outcome.state
                self._under_way.pop(key, None)

    def count(self, state: State) -> int:
        """Steps that ended so."""
        return Counter(self._states.values())[state]

    @property
    def settled(self) -> int:
        """Steps that have ended, however."""
        return len(self._states)

    @property
    def progress(self) -> float:
        """Steps that have ended and the shares of those under way."""
        return self.settled + sum(self._under_way.values())

    def seconds_left(self) -> float | None:
        """At the pace since the model was loaded; ``None`` while there is none to go by."""
        made = self.count(State.DONE) + sum(self._under_way.values())
        if self._began is None or made <= 0:
            return None
        return max(0.0, (self.total - self.progress) * (self._clock() - self._began) / made)


_MAKING = "making pictures"
_DOING = {
    EngineLoading: "loading the model",
    EngineLoaded: _MAKING,
    Denoising: _MAKING,
    Settled: _MAKING,
}


class RunProgress:
    """Shows a run while it goes on; hand ``hear`` to it as the listener, use it as a context."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tally = Tally()
        self._live = console.is_terminal
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[tail]}"),
            console=console,
            transient=True,
            expand=True,
            disable=not self._live,
        )
        self._task = self._bar.add_task("reading the store", total=None, tail="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bar.stop()

    def hear(self, event: Event) -> None:
        """Show an event."""
        self._tally.hear(event)
        if line := self._line(event):
            self._console.print(line, soft_wrap=True, highlight=False)
        self._bar.update(
            self._task,
            total=self._tally.total or None,
            completed=self._tally.progress,
            description=_DOING.get(type(event)),
            tail=self._tail(),
        )

    def stopping(self) -> None:
        """Say that the wish to stop was heard."""
        self._console.print(
            "stopping at the next denoise step; what is made stays (again Ctrl-C: at once)"
        )
        self._bar.update(self._task, description="stopping")

    def _tail(self) -> str:
        tally = self._tally
        parts = [f"{tally.settled}/{tally.total}", f"{tally.count(State.CACHED)} cached"]
        if failed := tally.count(State.FAILED):
            parts.append(f"[red]{failed} failed[/red]")
        left = tally.seconds_left()
        if left is not None:
            parts.append(f"{duration(left) if left >= 10 else f'{left:.0f} s'} left")
        return "  ".join(parts)

    def _line(self, event: Event) -> str:
        match event:
            case Started(total=total, missing=missing):
                return f"{total} steps: {total - missing} done already, {missing} to do"
            case EngineLoading(model=model) if not self._live:
                return f"loading {escape(model)}"
            case EngineLoaded(model=model, seconds=seconds):
                return f"{escape(model)} is loaded ({duration(seconds)})"
            case Retrying(label=label, reason=reason, attempt=attempt):
                why = f"{escape(label)} after attempt {attempt}: {escape(reason)}"
                return f"[yellow]again[/yellow] {why}"
            case Settled():
                return self._settled(event)
        return ""

    def _settled(self, event: Settled) -> str:
        outcome, label = event.outcome, escape(event.label)
        colour = {State.FAILED: "red", State.BLOCKED: "yellow"}.get(outcome.state)
        if colour:
            return f"[{colour}]{outcome.state}[/{colour}] {label}: {escape(outcome.reason)}"
        if outcome.state is State.DONE and not self._live and outcome.record:
            place = f"\\[{self._tally.settled}/{self._tally.total}]"
            return f"{place} {label}  {duration(outcome.record.seconds)}"
        return ""
