"""The progress of a run: counts, the time left, plain lines and the live bar."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from flows.cli.progress import RunProgress, Tally
from flows.run.events import Denoising, EngineLoaded, Retrying, Settled, Started
from flows.run.execute import run_plan
from flows.run.outcome import State, StepOutcome
from flows.store.local import LocalStore
from kontext_engine.fake import FakeFaults

from .samples import WatchedEngine, product_plan, ten_products


def test_the_time_left_follows_the_pace_since_the_model_was_loaded():
    now = [100.0]
    tally = Tally(lambda: now[0])
    tally.hear(Settled("cached", StepOutcome(state=State.CACHED), "c"))
    tally.hear(Started(total=5, missing=4))
    assert tally.seconds_left() is None
    tally.hear(EngineLoaded("m", 50.0))
    now[0] = 110.0
    tally.hear(Denoising(("a", "b"), 5, 10))
    assert tally.progress == 2.0
    assert tally.seconds_left() == pytest.approx(30.0)  # one step's worth took 10 s, 3 to go
    for key in "ab":
        tally.hear(Settled(key, StepOutcome(state=State.DONE), key))
    now[0] = 120.0
    tally.hear(Settled("x", StepOutcome(state=State.FAILED, reason="r"), "x"))
    assert tally.seconds_left() == pytest.approx(10.0)
    assert (tally.settled, tally.count(State.DONE), tally.count(State.FAILED)) == (4, 2, 1)


def show(tmp_path, terminal: bool) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100, color_system=None)
    paths = ten_products(tmp_path / "in")[:3]
    paths[0].write_bytes(b"[red]not[/red] a picture")
    engine = WatchedEngine(faults=FakeFaults(prompts=("snow",), retryable=True))
    with RunProgress(console) as progress:
        plan = product_plan(paths, scene="[bold]a beach")
        run_plan(plan, LocalStore(tmp_path / "out"), engine.load, on_event=progress.hear)
        progress.stopping()
    return stream.getvalue()


def test_off_a_terminal_each_step_is_one_plain_line(tmp_path):
    lines = show(tmp_path, terminal=False).splitlines()
    assert "6 steps: 0 done already, 6 to do" in lines
    assert "loading fake" in lines
    assert any(line.startswith("failed place[product=p0]: p0.png (input") for line in lines)
    expected = "blocked snow[product=p0]: needs 'place[product=p0]', which failed"
    assert expected in lines
    assert any(line.startswith("[3/6] place[product=p1]  ") for line in lines)
    assert "again snow[product=p1] after attempt 1: failed on purpose" in lines
    assert "\x1b" not in "".join(lines)


def test_on_a_terminal_there_is_a_bar_with_counts_and_the_time_left(tmp_path):
    text = show(tmp_path, terminal=True)
    assert "6/6  0 cached  3 failed" in text
    assert "left" in text
    assert "failed place[product=p0]" in text
    assert "stopping at the next denoise step" in text


def test_markup_in_labels_is_shown_as_it_is():
    stream = io.StringIO()
    progress = RunProgress(Console(file=stream, width=200))
    progress.hear(Retrying("k", "hero[red]", "[link=x]reason[/link]", 1))
    assert stream.getvalue() == "again hero[red] after attempt 1: [link=x]reason[/link]\n"
