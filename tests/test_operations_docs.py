"""``docs/operations.md`` and ``README.md``: figures, options, metrics and rooms are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from flows.cli import VERBS, build_app
from flows.engines.options import Backoff, EngineLimits
from flows.engines.stats import HOPELESS, EngineStats
from flows.gc import kinds, underway
from flows.run.execute import USUAL
from flows.run.packing import LEAST, MOST
from flows.scheduling import (
    forms,
    names,
    night,
    notices,
    pools,
    recipe_run,
    server,
    setbacks,
    shown,
    statement,
    states,
)
from flows.scheduling import sweep as sweeping
from flows.scheduling import worker as working
from flows.scheduling.site import Tempo
from flows.scheduling.workers.health import STANDSTILL_SECONDS
from flows.scheduling.workers.metrics import Counts, Metrics, Scheduler
from flows.settings import RESIDENT_PATIENCE, Settings
from flows.store.words import OVERDUE, QUIET, RENEW
from flows.up import keep, launch, ports, postgres, waiting

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
# Of other programs than ours.
FOREIGN = {
    *("--host", "--port", "--rm", "--profile", "--scale", "--from-literal"),
    *("--supervised", "--prefetch", "--drain-seconds"),  # told to be gone
}


def flat(text: str) -> str:
    """Without line breaks."""
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("told", "value", "expected"),
    [
        ("writes it anew every 10 seconds", RENEW, 10),
        ("A lease that stood still for 45 seconds is nobody's", QUIET, 45),
        ("15 seconds and the proof", OVERDUE, 15),
        ("about everything, every 10 seconds", Tempo().sweep, 10),
        ("tried again 20 seconds later", Tempo().back_off, 20),
        ("gives it back for 20 seconds", Tempo().back_off, 20),
        ("It is given 28 seconds", working.DRAIN, 28),
        ("at least 30 seconds between SIGTERM and SIGKILL", working.DRAIN + 2, 30),
        ("Each worker asks every 2 seconds", working.WATCH, 2),
        ("everything else for half an hour", RESIDENT_PATIENCE, 1800),
        ("after up to 30 seconds", Backoff().most, 30),
        ("failed its engine three times", USUAL.attempts, 3),
        ("after 5 minutes without a sign of life", EngineLimits().silence, 300),
        ("(30 minutes while it loads", EngineLimits().load, 1800),
        ("failed to start three times in a row", HOPELESS, 3),
        ("on three different workers", states.DISTINCT, 3),
        ("three attempts in a row came to nothing", setbacks.IN_A_ROW, 3),
        ("up to half an hour", setbacks.LONGEST, 1800),
        ("revived, three times at most", sweeping.REVIVALS, 3),
        ("(4 unless said otherwise)", forms.CONCURRENCY, 4),
        ("waits two minutes for one", recipe_run.EMPTY_POOL, 120),
        ("thirty days after the last", underway.LONGEST, 30 * 86400),
        ("thirty days after it was put there", kinds.ORDERED_FOR, 30 * 86400),
        ("the eight newest pictures", shown.NEWEST, 8),
        ("(a week, which is the most", Settings().presign_seconds, 7 * 86400),
        ("Ten minutes after its time", notices.BEGINS_WITHIN, 600),
        ("(of twenty recipes at most)", night.MOST_REPORTS, 20),
        ("`kontext: a night ended`", notices.ENDED, "kontext: a night ended"),
        ("`kontext: a night failed`", notices.FAILED, "kontext: a night failed"),
        ("`kontext: a night has not begun`", notices.NOT_BEGUN, "kontext: a night has not begun"),
        ("| `kontext-report` |", shown.REPORT, "kontext-report"),
        ("| `kontext-failures` |", shown.FAILURES, "kontext-failures"),
        ("stood still for a minute", STANDSTILL_SECONDS, 60),
        ("serves three pages on 127.0.0.1", Settings().metrics_host, "127.0.0.1"),
        ("set aside at 10 MB when its process", launch.LOG_BYTES, 10 * 2**20),
        ("dying in its first 10 seconds", keep.START_SECONDS, 10),
        ("Without it: 4200, or the next", ports.USUAL["server"], 4200),
        ("It says every ten seconds what it waits for", waiting.TOLD_EVERY, 10),
        ("the user `postgres` or `nobody`", postgres.UNPRIVILEGED, ("postgres", "nobody")),
        ("with one line every 10 seconds", server.WAIT_TOLD, 10),
        ("a minute at most (`--wait`)", Settings().wait, 60),
        ("two work pools, `kontext-parents`", names.PARENTS_POOL, "kontext-parents"),
        ("and `kontext` (chunks", names.CHUNKS_POOL, "kontext"),
        ("former work pool `kontext-runs`", pools.FORMER_POOL, "kontext-runs"),
        ("`kontext_worker_<name>`", statement.WORKER, "kontext_worker_"),
        ("`kontext_model_<name>_<digest>`", statement.MODEL, "kontext_model_"),
    ],
)
def test_a_figure_on_the_page_is_the_codes(told, value, expected):
    assert told in flat(PAGE)
    assert value == expected


def test_a_setback_takes_a_minute_then_two_then_four():
    now = [0.0]
    found = setbacks.Setbacks(lambda: now[0])
    for _ in range(setbacks.IN_A_ROW):
        found.fruitless("no model")
    for minutes in (1, 2, 4):
        now[0] += 60.0 * minutes - 1
        assert not found.may_take(0)
        now[0] += 1
        assert found.may_take(0)
        found.fruitless("no model")
    told = (
        "for a minute, then one on trial; if that comes to nothing too, for two minutes, then four"
    )
    assert told in flat(PAGE)


def test_chunks_are_as_long_as_the_readme_says():
    assert (LEAST, MOST) == (60.0, 300.0)
    assert "chunks of one to five minutes" in flat(README)


def test_the_service_examples_leave_time_to_drain():
    given = re.findall(r"(?:TimeoutStopSec=|are given |Pods get )(\d+)", PAGE)
    assert len(given) == 3
    assert all(int(seconds) >= working.DRAIN + 10 for seconds in given)


def test_the_metrics_on_the_page_are_those_that_a_worker_shows():
    engine = EngineStats(0, 1)
    scheduler = Scheduler(queued={"urgent": 1}, answered=0.0)
    counts = Counts()
    counts.ended("completed")
    metrics = Metrics(
        "w", counts, scheduler, lambda: (engine,), lambda: 0, lambda: 0, lambda: {"0": 1}
    )
    shown = set(re.findall(r"^(kontext_\w+?)(?:\{| )", metrics.text().decode(), re.MULTILINE))
    table = PAGE[PAGE.index("| metric |") : PAGE.index("Worth an alarm")]
    assert set(re.findall(r"`(kontext_\w+)", table)) == shown


def options() -> dict[str, set[str]]:
    """The options of each verb."""
    group = typer.main.get_command(build_app())
    return {
        name: {text for one in verb.params for text in (*one.opts, *one.secondary_opts)}
        for name, verb in group.commands.items()
    }


@pytest.mark.parametrize("text", [PAGE, README], ids=["operations", "readme"])
def test_every_option_that_is_named_is_one(text):
    known = options()
    every = set().union(*known.values())
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    assert named - every - FOREIGN == set()
    for verb, rest in re.findall(r"kontext ([\w-]+)((?: [^`\n#]*)?)", re.sub(r" \\\n", " ", text)):
        if verb in known:
            asked = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", rest))
            assert asked <= known[verb], verb


def test_the_readme_names_every_verb_and_no_other():
    known = set(VERBS)
    for verb in known - {"schema"}:
        assert re.search(rf"`kontext {verb}\b", README), verb
    table = README[README.index("| command |") : README.index("Exit codes")]
    assert set(re.findall(r"kontext ([\w-]+)", table)) <= known


def test_the_house_has_the_rooms_that_the_readme_says():
    tree = README[README.index("## The house") :].split("```")[1]
    for package in ("flows", "kontext_engine"):
        part = tree[tree.index(f"{package}/") :]
        lines = part.split("\n")[1:]
        rooms: list[str] = []
        for line in lines:
            if not line.startswith("  "):
                break
            if found := re.match(r"  (\S.*?)(?:\s{2,}|$)", line):
                rooms += re.split(r",\s*", found[1])
        for room in rooms:
            path = ROOT / package / room
            assert path.exists() or path.with_suffix(".py").exists(), room
        folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
        assert {folder for folder in folders if f"{folder}/" not in rooms} == set()
