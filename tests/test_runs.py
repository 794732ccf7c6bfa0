"""``kontext runs`` and ``kontext gc``: what they tell, and their exit codes."""

from __future__ import annotations

import json
import time

import pytest

from flows.cli.words import seconds, size
from flows.pull.listing import RunState, list_runs
from flows.run.manifest import parse_manifest
from flows.run.outcome import Ending
from flows.store.address import open_objects
from flows.store.claims import ALIVE_FOR, claim
from flows.store.folder import LocalObjects
from flows.store.keyed import KeyedStore
from flows.store.lock import GcLock
from tests.shell import kontext
from tests.store.batch import AtOnce, age, age_all, keep, names, write_run
from tests.store.samples import digest

DAY = 24 * 3600.0
AUTUMN, WINTER = "2026-01-02-autumn-0123abcd", "2026-02-03-winter-4567abcd"
EARLY, LATE = "2026-01-02T03:04:05+00:00", "2026-02-03T03:04:05+00:00"


@pytest.fixture
def objects(tmp_path):
    return LocalObjects(tmp_path / "out")


def states(objects) -> dict[str, RunState]:
    return {line.run: line.state for line in list_runs(objects)}


def test_runs_are_told_newest_first_with_counts_and_outputs(objects):
    records = [keep(KeyedStore(objects), text) for text in "abc"]
    write_run(objects, AUTUMN, records, {"a.png": b"a", "b.png": b"b"}, written=EARLY)
    write_run(objects, WINTER, records[:1], ending=Ending.FAILED, written=LATE)
    objects.replace(f"pins/{AUTUMN}", b"")
    first, second = list_runs(objects)
    assert (first.run, first.recipe, first.when, first.pinned) == (WINTER, "winter", LATE, False)
    assert (second.run, second.pinned, second.outputs) == (AUTUMN, True, 2)
    assert dict(second.counts) == {"done": 3}


def test_a_state_is_how_the_run_ended(objects):
    for ending in Ending:
        write_run(objects, AUTUMN, ending=ending)
        assert states(objects)[AUTUMN].value == ending.value
    # A run with an output that could not be written has failed.
    made = json.loads(write_run(objects, AUTUMN, outputs={"a.png": b"a"}).to_json())
    made["outputs"][0] |= {"sha256": None, "problem": "leaves the folder"}
    objects.replace(f"runs/{AUTUMN}/manifest.json", json.dumps(made).encode())
    assert states(objects) == {AUTUMN: RunState.FAILED}


def test_a_run_is_running_while_it_says_so(objects):
    write_run(objects, WINTER)
    for run in (AUTUMN, WINTER):  # the one has no folder yet, the other is run again
        with claim(objects, run=run, plan=digest("p"), keys=[]):
            assert states(objects)[run] is RunState.RUNNING
            (name,) = names(objects, "claims/")
            age(objects, name, ALIVE_FOR + 5)
            assert states(objects).get(run) is not RunState.RUNNING
    assert states(objects) == {WINTER: RunState.COMPLETE}


def test_a_run_that_was_killed_after_its_manifest_has_ended(objects):
    with claim(objects, run=WINTER, plan=digest("p"), keys=[]):
        write_run(objects, WINTER)
        assert states(objects) == {WINTER: RunState.COMPLETE}


def test_a_run_without_a_manifest_was_interrupted(objects):
    objects.replace(f"runs/{AUTUMN}/a.png", b"a")
    objects.replace("runs/mine/notes.txt", b"not a run's")
    (objects.root / "runs" / WINTER).mkdir()
    (line,) = list_runs(objects)
    assert (line.run, line.state) == (AUTUMN, RunState.INTERRUPTED)
    assert "run the recipe again to go on" in line.why
    write_run(objects, WINTER)
    objects.replace(f"runs/{AUTUMN}/manifest.json", b"torn")  # spoils only its own line
    assert states(objects) == {WINTER: RunState.COMPLETE, AUTUMN: RunState.UNREADABLE}


@pytest.mark.parametrize("large", [0, 10**9])
def test_one_large_manifest_is_read_at_a_time(objects, monkeypatch, large):
    for number in range(6):
        write_run(objects, f"2026-01-02-autumn-0000000{number}")
    at_once = AtOnce(parse_manifest, 1 if large else 0)
    monkeypatch.setattr("flows.run.manifest.LARGE", large)
    monkeypatch.setattr("flows.pull.listing.parse_manifest", at_once)
    assert set(states(objects).values()) == {RunState.COMPLETE}
    assert (at_once.most == 1) == (large == 0)


def test_the_limit_keeps_the_latest_of_a_day(objects):
    runs = {f"2026-01-02-autumn-0000000{n}": f"2026-01-02T0{n % 5}:00:00+00:00" for n in range(9)}
    for run, written in runs.items():
        write_run(objects, run, written=written)
    write_run(objects, WINTER, written=LATE)
    found = [line.run for line in list_runs(objects, 3)]
    assert found == [WINTER, "2026-01-02-autumn-00000004", "2026-01-02-autumn-00000008"]


def test_the_command_tells_people_and_machines(objects, capsys):
    where = ("runs", "--store", objects.where)
    assert kontext(capsys, *where) == (0, f"{objects.where}: no runs yet\n", "")
    records = [keep(KeyedStore(objects), text) for text in "abc"]
    write_run(objects, AUTUMN, records, {"a.png": b"a"})
    objects.replace(f"pins/{AUTUMN}", b"")
    objects.replace(f"runs/{WINTER}/manifest.json", b"torn")
    code, out, err = kontext(capsys, *where)
    head, first, second = (line.split() for line in out.splitlines())
    assert (code, head) == (0, ["run", "state", "steps", "outputs", "when"])
    assert first[:3] == [WINTER, "unreadable", "0"]
    assert second[:6] == [AUTUMN, "complete,", "pinned", "3", "done", "1"]
    assert "not a manifest this version can read" in err
    code, out, _ = kontext(capsys, *where, "--json", "--limit", 1)
    (line,) = json.loads(out)
    assert (line["run"], line["state"], line["pinned"]) == (WINTER, "unreadable", False)


def test_the_command_over_s3(s3_place, capsys):
    objects = open_objects(s3_place.url)
    write_run(objects, AUTUMN, outputs={"a.png": b"a"})
    with claim(objects, run=WINTER, plan=digest("p"), keys=[]):
        code, out, _ = kontext(capsys, "runs", "--store", s3_place.url, "--json")
    assert code == 0
    found = {line["run"]: (line["state"], line["outputs"]) for line in json.loads(out)}
    assert found == {AUTUMN: ("complete", 1), WINTER: ("running", 0)}
    code, out, _ = kontext(capsys, "gc", "--store", s3_place.url, "--delete")
    assert (code, out) == (0, "nothing went\nstays     1 runs/: finished\n")


# kontext gc


@pytest.fixture
def littered(objects):
    store = KeyedStore(objects)
    needed = keep(store, "needed")
    keep(store, "forgotten")
    write_run(objects, AUTUMN, [needed], {"a.png": b"a"})
    age_all(objects, 100 * DAY)
    return objects


def test_gc_tells_first_and_deletes_when_told(littered, capsys):
    where = ("gc", "--store", littered.where)
    before = names(littered)
    code, out, err = kontext(capsys, *where)
    assert (code, err, names(littered)) == (0, "", before)
    lines = out.splitlines()
    assert lines[0].startswith("would go  1 records, ")
    assert lines[1] == "would go  1 blobs, 20 bytes"
    assert "stays     1 blobs/: named by a run, 17 bytes" in lines
    assert lines[-1] == "nothing was deleted; --delete does it"
    code, out, _ = kontext(capsys, *where, "--delete", "--json")
    told = json.loads(out)
    assert (code, told["deleted"], told["finished"]) == (0, True, True)
    assert {kind: row["count"] for kind, row in told["goes"].items()} == {"records": 1, "blobs": 1}
    assert len(before - names(littered)) == 2
    assert kontext(capsys, *where, "--delete")[1].startswith("nothing went\n")


def test_gc_takes_old_runs_but_not_pinned_ones(littered, capsys):
    where = ("gc", "--store", littered.where)
    code, out, _ = kontext(capsys, *where, "--pin", "autumn")
    assert (code, out) == (0, f"{AUTUMN}: pinned\n")
    code, out, _ = kontext(capsys, *where, "--runs-older", "90d")
    assert "stays     1 runs/: pinned" in out.splitlines()
    assert kontext(capsys, *where, "--unpin", AUTUMN)[1] == f"{AUTUMN}: no longer pinned\n"
    assert kontext(capsys, *where, "--unpin", AUTUMN)[1] == f"{AUTUMN}: was not pinned\n"
    code, out, _ = kontext(capsys, *where, "--runs-older", "90d", "--delete")
    assert code == 0
    assert out.splitlines()[0].startswith("went  5 expired runs, ")
    assert f"          {AUTUMN}" in out.splitlines()
    assert names(littered) == set()


def test_gc_waits_for_a_clean_up_before_a_pin_counts(littered, capsys, monkeypatch):
    monkeypatch.setattr("flows.store.lock.POLL", 0.01)
    lock = GcLock(littered)
    lock.__enter__()

    def taken(pause):  # the clean-up under way takes the run, and ends
        littered.remove(f"runs/{AUTUMN}/manifest.json")
        lock.__exit__(None, None, None)

    monkeypatch.setattr(time, "sleep", taken)
    code, _, err = kontext(capsys, "gc", "--store", littered.where, "--pin", AUTUMN)
    assert code == 2
    assert "a clean-up is under way" in err
    assert "has no manifest.json, so it is not pinned" in err
    assert names(littered, "pins/") == set()


def test_gc_tells_what_it_cannot_read_and_is_refused_beside_another(littered, capsys):
    with GcLock(littered):
        code, _, err = kontext(capsys, "gc", "--store", littered.where, "--delete")
    assert code == 1
    assert "another clean-up is under way" in err
    littered.replace(f"runs/{WINTER}/manifest.json", b"torn")
    before = names(littered)
    code, out, err = kontext(capsys, "gc", "--store", littered.where, "--delete")
    assert (code, names(littered)) == (0, before)
    assert out.startswith("nothing went")
    assert f"runs/{WINTER}/manifest.json: not a manifest this version can read" in err
    assert "so no picture, file, failure note or run goes" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--grace", "1h"), "too short to be safe"),
        (("--grace", "soon"), "'soon' is no span of time"),
        (("--runs-older", "-3d"), "is no span of time"),
        (("--pin", "nothing"), "no run is called 'nothing'"),
    ],
)
def test_gc_refuses_what_makes_no_sense(littered, capsys, arguments, told):
    before = names(littered)
    code, _, err = kontext(capsys, "gc", "--store", littered.where, "--delete", *arguments)
    assert (code, names(littered)) == (2, before)
    assert told in " ".join(err.replace("│", " ").split())


def test_spans_and_sizes():
    spans = {"90min": 5400.0, "72h": 259200.0, "7d": 604800.0, "2w": 1209600.0, "1.5 h": 5400.0}
    assert {text: seconds(text) for text in spans} == spans
    sizes = {0: "0 bytes", 999: "999 bytes", 1000: "1.0 kB", 99_949: "99.9 kB", 123_456: "123 kB"}
    sizes |= {999_499: "999 kB", 999_500: "1.0 MB", 4_500_000_000: "4.5 GB", 10**16: "10000 TB"}
    assert {count: size(count) for count in sizes} == sizes
