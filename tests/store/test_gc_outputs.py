"""Output files and thumbnails go with the steps and pictures that they are of."""

from __future__ import annotations

import hashlib
import os
import threading
import time

import pytest

from flows.gc.kinds import Kind, Policy
from flows.gc.sweep import Sweep, mark
from flows.store.claims import claim
from flows.store.folder import LocalObjects
from flows.store.keyed import KeyedStore
from flows.store.outputs import OutputStore

from .batch import HOUR, age, age_all, keep, keep_output, names, thumb_name, write_run, write_stage
from .samples import digest

DAY = 24 * HOUR
AUTUMN = "2026-01-02-autumn-0123abcd"
POLICY = Policy(grace=3 * DAY)


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def objects(tmp_path):
    return LocalObjects(tmp_path / "out")


@pytest.fixture
def store(objects):
    return KeyedStore(objects)


def gone(objects, policy: Policy = POLICY, **changes) -> dict[Kind, int]:
    done = Sweep(objects, policy, **changes)
    done.run()
    return dict(done.swept.counts)


def all_of(output) -> set[str]:
    return {f"outputs/{output.key}", f"blobs/{output.blob}", thumb_name(output.picture)}


@pytest.mark.parametrize("by", ["manifest", "claim", "stage"])
def test_files_of_needed_steps_stay_and_those_of_others_go(objects, store, by):
    needed, forgotten = keep(store, "needed"), keep(store, "forgotten")
    kept, lost = keep_output(store, needed), keep_output(store, forgotten)
    context = claim(objects, run=AUTUMN, plan=digest("p"), keys=[needed.key])
    if by == "manifest":
        write_run(objects, AUTUMN, [needed])
    elif by == "stage":
        write_stage(objects, "a-run/0", [needed.key])
    age_all(objects, 10 * DAY)
    if by == "claim":
        context.__enter__()
    assert gone(objects) == {Kind.OUTPUTS: 1, Kind.RECORDS: 1, Kind.THUMBS: 1, Kind.BLOBS: 2}
    assert all_of(kept) <= names(objects)
    assert not all_of(lost) & names(objects)
    assert OutputStore(store).find(kept.key, needed.blob) == kept
    assert gone(objects) == {}
    if by == "claim":
        context.__exit__(None, None, None)


def test_young_files_and_thumbnails_stay_whatever_becomes_of_their_step(objects, store):
    record = keep(store, "step")
    output = keep_output(store, record)
    age_all(objects)
    for name in (f"outputs/{output.key}", thumb_name(record.blob)):
        age(objects, name, DAY)
    assert gone(objects) == {Kind.RECORDS: 1, Kind.BLOBS: 1}
    assert all_of(output) == names(objects)  # a file's blob stays with its record, old as it is
    age_all(objects)
    assert gone(objects) == {Kind.OUTPUTS: 1, Kind.THUMBS: 1, Kind.BLOBS: 1}


def test_a_blob_that_two_files_share_stays_with_either(objects, store):
    needed, forgotten = keep(store, "needed"), keep(store, "forgotten")
    kept, lost = keep_output(store, needed, b"same"), keep_output(store, forgotten, b"same")
    assert kept.blob == lost.blob
    write_run(objects, AUTUMN, [needed])
    age_all(objects)
    assert gone(objects)[Kind.BLOBS] == 1  # the forgotten picture
    assert f"blobs/{kept.blob}" in names(objects)


def test_a_picture_that_is_also_a_file_stays_for_the_file(objects, store):
    needed = keep(store, "needed")
    keep(store, "forgotten", b"the same bytes")
    output = keep_output(store, needed, b"the same bytes")
    write_run(objects, AUTUMN, [needed])
    age_all(objects)
    assert gone(objects) == {Kind.RECORDS: 1}
    assert f"blobs/{output.blob}" in names(objects)


def test_the_blob_of_a_file_that_a_manifest_names_stays(objects, store):
    data = b"a file"
    store.keep(data)
    write_run(objects, AUTUMN, [], {"a.png": data})
    age_all(objects)
    assert gone(objects) == {}


def test_a_damaged_record_of_a_file_keeps_nothing(objects, store):
    record = keep(store, "needed")
    output = keep_output(store, record)
    write_run(objects, AUTUMN, [record])
    objects.replace(f"outputs/{output.key}", b"torn")
    assert gone(objects) == {}
    age_all(objects)
    assert gone(objects) == {Kind.OUTPUTS: 1, Kind.BLOBS: 1}


def test_thumbnails_of_sources_stay_while_a_run_reads_the_source(objects, store):
    source = store.keep(b"a photograph")
    objects.create(thumb_name(source), b"thumb")
    objects.create("thumbs/notes.txt", b"mine")
    write_stage(objects, "a-run/0", [], [source])
    age_all(objects, 10 * DAY)
    assert gone(objects) == {}
    objects.replace("verdicts/parents/a-run.0", b"{}")
    assert gone(objects) == {Kind.STAGES: 2, Kind.THUMBS: 1, Kind.BLOBS: 1}
    assert names(objects) == {"verdicts/parents/a-run.0", "thumbs/notes.txt"}


def test_where_needs_cannot_be_known_no_file_goes(objects, store):
    keep_output(store, keep(store, "forgotten"))
    objects.replace(f"runs/{AUTUMN}/manifest.json", b"torn")
    age_all(objects)
    assert gone(objects) == {}


def test_the_survey_tells_why_they_stay(objects, store):
    needed, young = keep(store, "needed"), keep(store, "young")
    keep_output(store, needed)
    write_run(objects, AUTUMN, [needed])
    age_all(objects)
    keep_output(store, young)
    told = mark(objects, POLICY, time.time())
    counts = {why: count for why, (count, _) in told.stays.items()}
    assert counts["outputs/: of a step that a run names"] == 1
    assert counts["outputs/: within the grace period"] == 1
    assert counts["thumbs/: of pictures that stay"] == 1
    assert counts["thumbs/: within the grace period"] == 1
    assert counts["blobs/: named by a record that stays"] == 2


# Moments.


def at_removal(monkeypatch, prefix: str, act) -> list[str]:
    """``act`` once, right before the clean-up removes something under ``prefix``."""
    remove, acted = LocalObjects.remove, []

    def watched(self, name, version=None):
        if name.startswith(prefix) and not acted:
            acted.append(name)
            act()
        return remove(self, name, version)

    monkeypatch.setattr(LocalObjects, "remove", watched)
    return acted


def test_a_run_that_claims_between_two_slices_finds_its_files(objects, store, monkeypatch):
    """Its key was a candidate in the first look."""
    records = [keep(store, text) for text in "ab"]
    for record in records:
        keep_output(store, record)
    age_all(objects)
    monkeypatch.setattr("flows.gc.slices.BATCH", 1)
    running = []

    def start(what, done, total):
        if what == f"removing {Kind.OUTPUTS}" and not running:
            left = next(one for one in records if f"outputs/{of(one)}" in names(objects))
            objects.remove("gc.lock")  # as if it came between two slices
            context = claim(objects, run=AUTUMN, plan=digest("p"), keys=[left.key], poll=0.01)
            context.__enter__()
            running.append((left, context))

    done = Sweep(objects, POLICY, slice_seconds=0.0, tell=start)
    done.run()
    ((left, context),) = running
    expected = {Kind.OUTPUTS: 1, Kind.RECORDS: 1, Kind.THUMBS: 1, Kind.BLOBS: 2}
    assert done.swept.counts == expected
    assert OutputStore(store).find(of(left), left.blob) is not None
    context.__exit__(None, None, None)


def of(record) -> str:
    return digest(f"output of {record.key}")


def test_a_file_remade_after_its_record_went_keeps_its_blob(objects, store, monkeypatch):
    """A run that comes late makes it again, and adopts the blob that is a candidate."""
    record = keep(store, "step")
    output = keep_output(store, record)
    age_all(objects)
    threads = []

    def remake() -> None:
        def again() -> None:
            keep_output(KeyedStore(objects), record)

        threads.append(threading.Thread(target=again))
        threads[0].start()
        end = time.monotonic() + 60
        while objects.get(f"outputs/{output.key}") is None:
            assert time.monotonic() < end
            time.sleep(0.002)

    acted = at_removal(monkeypatch, "blobs/", remake)
    counts = gone(objects)
    threads[0].join(60)
    assert acted
    assert counts[Kind.OUTPUTS] == 1
    assert OutputStore(store).find(output.key, record.blob) == output
    assert hashlib.sha256(objects.get(f"blobs/{output.blob}").data).hexdigest() == output.blob


def test_a_file_whose_removal_failed_keeps_its_blob(objects, store, monkeypatch):
    """Its record was a candidate, and changed before it went."""
    output = keep_output(store, keep(store, "step"))
    age_all(objects)
    name, stat = f"outputs/{output.key}", LocalObjects.stat

    def touched(self, asked):
        if asked == name:
            os.utime(objects.root / name)
        return stat(self, asked)

    monkeypatch.setattr(LocalObjects, "stat", touched)
    counts = gone(objects)
    assert Kind.OUTPUTS not in counts
    assert {name, f"blobs/{output.blob}"} <= names(objects)
