"""A clean-up takes what nobody needs, and nothing else."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from flows.gc.kinds import Kind, Policy
from flows.gc.roots import RootReader
from flows.gc.sweep import Sweep, mark
from flows.run.manifest import Manifest
from flows.store.base import StoreError, StoreFull
from flows.store.claims import claim
from flows.store.folder import LocalObjects
from flows.store.lock import LOCK, CollectorBusy, GcLock, passing_seconds
from flows.store.outputs import OutputStore
from tests.store.batch import (
    AtOnce,
    age,
    age_all,
    keep,
    keep_output,
    names,
    thumb_name,
    write_run,
    write_stage,
)
from tests.store.samples import digest, make_record

from .samples import AUTUMN, DAY, OLD_RUNS, POLICY, WINTER, all_of, gone


@pytest.mark.parametrize("by", ["manifest", "claim", "stage"])
def test_what_is_named_stays_with_its_files_and_old_garbage_goes(objects, store, by):
    assert gone(objects) == {}
    needed, forgotten = keep(store, "needed"), keep(store, "forgotten")
    kept, lost = keep_output(store, needed), keep_output(store, forgotten)
    objects.create(f"blobs/{digest('lost')}", b"a blob that no record names")
    claimed = claim(objects, run=AUTUMN, plan=digest("p"), keys=[needed.key])
    if by == "manifest":
        write_run(objects, AUTUMN, [needed], {"a.png": b"a"})
    elif by == "stage":
        write_stage(objects, "a-run/0", [needed.key])
    age_all(objects, 10 * DAY)
    if by == "claim":
        claimed.__enter__()
    ours = names(objects, "runs/") | names(objects, "stages/") | names(objects, "claims/")
    assert gone(objects) == {Kind.OUTPUTS: 1, Kind.RECORDS: 1, Kind.THUMBS: 1, Kind.BLOBS: 3}
    expected = {f"records/{needed.key}", f"blobs/{needed.blob}", *all_of(kept)}
    assert names(objects) == ours | expected
    assert not all_of(lost) & names(objects)
    assert store.find(needed.key) == needed
    assert OutputStore(store).find(kept.key, needed.blob) == kept
    assert gone(objects) == {}
    if by == "claim":
        claimed.__exit__(None, None, None)


def test_what_is_young_stays_whatever_becomes_of_its_step(objects, store):
    record = keep(store, "young")
    output = keep_output(store, record)
    age_all(objects)  # as if old blobs had been named a moment ago
    young = (f"records/{record.key}", f"outputs/{output.key}", thumb_name(record.blob))
    for seconds in (0, 2 * DAY):
        for name in young:
            age(objects, name, seconds)
        assert gone(objects) == {}
    age(objects, young[0])
    assert gone(objects) == {Kind.RECORDS: 1, Kind.BLOBS: 1}
    assert names(objects) == all_of(output)  # a file's blob stays with its record, old as it is
    age_all(objects)
    assert gone(objects) == {Kind.OUTPUTS: 1, Kind.THUMBS: 1, Kind.BLOBS: 1}


@pytest.mark.parametrize("shared", ["pictures", "files", "a picture and a file"])
def test_a_blob_that_is_shared_stays_with_either(objects, store, shared):
    picture, file = shared == "pictures", shared == "files"
    needed = keep(store, "needed", b"same" if picture else None)
    forgotten = keep(store, "forgotten", None if file else b"same")
    if not picture:
        keep_output(store, needed, b"same")
    if file:
        keep_output(store, forgotten, b"same")
    write_run(objects, AUTUMN, [needed])
    age_all(objects)
    both = {Kind.OUTPUTS: 1, Kind.THUMBS: 1, Kind.BLOBS: 1}  # the blob is the forgotten picture
    assert gone(objects) == {Kind.RECORDS: 1} | (both if file else {})
    assert store.find(forgotten.key) is None
    assert b"same" in {objects.get(name).data for name in names(objects, "blobs/")}


def test_a_key_remade_with_another_picture_keeps_both(objects, store):
    """The manifest names the first picture; its record was lost and made anew."""
    first = keep(store, "a", b"first")
    write_run(objects, AUTUMN, [first])
    objects.remove(f"records/{first.key}")
    second = keep(store, "a", b"second")
    age_all(objects)
    assert gone(objects) == {}
    assert names(objects, "blobs/") == {f"blobs/{first.blob}", f"blobs/{second.blob}"}


def test_what_a_claim_names_stays_until_the_claim_is_dead(objects, store):
    record, source = keep(store, "claimed"), store.keep(b"a photograph")
    age_all(objects)
    with claim(objects, run=AUTUMN, plan=digest("p"), keys=[record.key, source]):
        (mine,) = names(objects, "claims/")
        for seconds in (0, 2 * DAY):
            age(objects, mine, seconds)
            assert gone(objects) == {}
        age(objects, mine, 4 * DAY)
        assert gone(objects) == {Kind.CLAIMS: 1, Kind.RECORDS: 1, Kind.BLOBS: 2}


def test_failures_quarantine_and_leftovers_go_when_they_are_old(objects, store):
    needed = keep(store, "needed")
    write_run(objects, AUTUMN, [needed], {"a.png": b"a file"})
    store.keep(b"a file")  # which the manifest names, and no record
    for name in (
        *(f"failures/{needed.key}", f"failures/{digest('gone')}", "calls.jsonl"),
        *("quarantine/blob-x-1", "quarantine/blob-x-1.json"),
        *("tmp/0123-99999999-ab", "tmp/lock", "tmp/cells.lock", "clocks/x"),
    ):
        objects.replace(name, b"{}")
    age_all(objects)
    objects.replace("quarantine/young", b"")
    before = names(objects)
    assert gone(objects) == {Kind.FAILURES: 1, Kind.QUARANTINE: 2, Kind.LEFTOVERS: 2}
    assert before - names(objects) == {
        *(f"failures/{digest('gone')}", "tmp/0123-99999999-ab", "clocks/x"),
        *("quarantine/blob-x-1", "quarantine/blob-x-1.json"),
    }


def test_what_people_keep_beside_ours_is_never_touched(objects):
    for name in (
        *("README.txt", "inputs/a.png", "runs/mine/picture.png", "blobs/notes.txt"),
        *(f"records/mine/{digest('a')}", "outputs/x", "failures/x", "thumbs/notes.txt"),
        *("stages/notes.txt", "stages/a-run/notes", "verdicts/x.0", "leases/x"),
    ):
        objects.replace(name, b"mine")
    age_all(objects, 90 * DAY)
    before = names(objects)
    assert gone(objects, Policy(grace=DAY, runs_older=0.0)) == {}
    assert names(objects) == before


# Whole runs.


def two_runs(objects, store):
    """An old one and a young one; what the young one needs, and stays."""
    shared, old = keep(store, "shared"), keep(store, "old")
    write_run(objects, AUTUMN, [shared, old], {"deep/er/a.png": b"a"})
    write_run(objects, WINTER, [shared], {"b.png": b"b"})
    age_all(objects, 100 * DAY)
    age(objects, f"runs/{WINTER}/manifest.json", DAY)
    stays = {f"records/{shared.key}", f"blobs/{shared.blob}"}
    return names(objects, f"runs/{WINTER}/") | stays


def test_old_runs_go_whole_unless_they_are_pinned_or_running(objects, store):
    stays = two_runs(objects, store)
    assert gone(objects) == {}
    objects.replace(f"pins/{AUTUMN}", b"")
    assert gone(objects, OLD_RUNS) == {}
    objects.remove(f"pins/{AUTUMN}")
    with claim(objects, run=AUTUMN, plan=digest("p"), keys=[]):
        assert gone(objects, OLD_RUNS) == {}
    assert gone(objects, OLD_RUNS) == {Kind.RUNS: 5, Kind.RECORDS: 1, Kind.BLOBS: 1}
    assert names(objects) == stays
    assert list(objects.folders("runs/")) == [WINTER]


def test_a_run_without_a_manifest_goes_when_all_in_it_is_old(objects):
    write_run(objects, AUTUMN, [], {"a.png": b"a"})
    objects.remove(f"runs/{AUTUMN}/manifest.json")
    age_all(objects)
    age(objects, f"runs/{AUTUMN}/a.png", DAY)
    assert gone(objects) == {}
    age(objects, f"runs/{AUTUMN}/a.png", 4 * DAY)
    with claim(objects, run=AUTUMN, plan=digest("p"), keys=[]):
        assert gone(objects) == {}
    assert gone(objects) == {Kind.UNFINISHED: 4}
    assert list(objects.folders("runs/")) == []


class Killed(BaseException):
    """As if the process ended here."""


@pytest.mark.parametrize("moment", range(9))
def test_killed_at_any_moment_it_leaves_garbage_that_the_next_one_takes(
    objects, store, monkeypatch, moment
):
    stays = two_runs(objects, store)
    removals = []
    remove = LocalObjects.remove

    def dying(self, name, version=None):
        if name.startswith(("runs/", "records/", "blobs/")):
            if len(removals) == moment:
                raise Killed
            removals.append(name)
        return remove(self, name, version)

    monkeypatch.setattr("flows.gc.slices.LANES", 1)
    monkeypatch.setattr(LocalObjects, "remove", dying)
    try:
        gone(objects, OLD_RUNS)
    except Killed:
        pass
    else:
        assert moment >= 7
    monkeypatch.undo()
    for record in (keep(store, "shared"), keep(store, "old")):
        assert store.read(store.find(record.key))  # nobody finds a half
    manifest = f"runs/{AUTUMN}/manifest.json" in names(objects)
    whole = len(names(objects, f"runs/{AUTUMN}/")) == 5
    assert whole or not manifest, "a listed run is whole"
    age_all(objects, 100 * DAY)
    age(objects, f"runs/{WINTER}/manifest.json", DAY)
    gone(objects, OLD_RUNS)
    assert names(objects) == stays


# What cannot be read.


@pytest.mark.parametrize(
    ("bad", "data"),
    [
        (f"runs/{AUTUMN}/manifest.json", b'{"schema": "kontext.manifest"'),
        (f"runs/{AUTUMN}/manifest.json", b'{"schema": "kontext.manifest", "version": 2}'),
        (f"runs/{AUTUMN}/manifest.json", None),
        ("claims/x.json", b"torn"),
    ],
    ids=["torn", "other version", "link", "claim"],
)
def test_where_roots_are_unknown_only_clear_garbage_goes(objects, store, bad, data, tmp_path):
    keep_output(store, keep(store, "forgotten"))
    objects.replace("quarantine/blob-x-1", b"")
    write_run(objects, WINTER, [])
    age_all(objects, 100 * DAY)
    if data is None:
        (tmp_path / "elsewhere").mkdir()
        (objects.root / "runs" / AUTUMN).symlink_to(tmp_path / "elsewhere")
    else:
        objects.replace(bad, data)
    done = Sweep(objects, OLD_RUNS)
    (why,) = done.run().blind
    assert why.startswith(f"{bad}: ")
    assert done.swept.counts == {Kind.QUARANTINE: 1}
    if bad.startswith("claims/"):  # once it is old, nobody lives who wrote it
        age(objects, bad)
        assert gone(objects, OLD_RUNS)[Kind.BLOBS] == 2


def test_a_manifest_that_turns_bad_midway_stops_it(objects, store):
    for number in range(3):
        keep(store, f"forgotten {number}")
    age_all(objects)

    def spoil(what, done, total):
        if what == f"removing {Kind.RECORDS}":
            objects.replace(f"runs/{AUTUMN}/manifest.json", b"torn")

    assert gone(objects, slice_seconds=0.0, tell=spoil) == {Kind.RECORDS: 3}
    assert len(names(objects, "blobs/")) == 3


def test_one_that_is_bad_at_another_look_stops_it_for_good(objects, store, monkeypatch):
    """Even if it is mended by the next slice: that look has read no records."""
    name = f"records/{keep(store, 'back again').key}"
    data = objects.get(name).data
    age_all(objects)
    bad, later = f"runs/{AUTUMN}/manifest.json", [0.0]
    monkeypatch.setattr("flows.gc.sweep.passing_seconds", lambda: passing_seconds() + later[0])

    def spoil(what, done, total):
        if what == f"removing {Kind.RECORDS}":
            objects.create(name, data)
            age(objects, name)
            objects.replace(bad, b"torn")
            later[0] += 2 * DAY

    done = Sweep(objects, POLICY, tell=spoil)
    look = done._marker.look

    def mended(*asked):
        told = look(*asked)
        objects.remove(bad)
        return told

    monkeypatch.setattr(done._marker, "look", mended)
    done.run()
    assert later == [2 * DAY]
    assert done.swept.counts == {Kind.RECORDS: 1}
    assert store.find(name.removeprefix("records/")) is not None


@pytest.mark.parametrize("of", ["records", "outputs"])
def test_a_damaged_record_keeps_nothing(objects, store, of):
    record = keep(store, "needed")
    output = keep_output(store, record)
    write_run(objects, AUTUMN, [] if of == "records" else [record])
    objects.replace(f"{of}/{record.key if of == 'records' else output.key}", b"torn")
    age_all(objects)
    assert gone(objects) == (
        {Kind.OUTPUTS: 1, Kind.RECORDS: 1, Kind.THUMBS: 1, Kind.BLOBS: 2}
        if of == "records"
        else {Kind.OUTPUTS: 1, Kind.BLOBS: 1}
    )


@pytest.mark.parametrize(("large", "most"), [(0, 1), (10**9, 6)])
def test_one_large_manifest_is_read_at_a_time(objects, monkeypatch, large, most):
    for number in range(6):
        write_run(objects, f"2026-01-02-autumn-0000000{number}")
    at_once = AtOnce(Manifest.model_validate_json, 1 if large else 0)
    monkeypatch.setattr("flows.run.manifest.LARGE", large)
    monkeypatch.setattr("flows.gc.roots.Manifest", SimpleNamespace(model_validate_json=at_once))
    roots = RootReader(objects, POLICY.grace).read(time.time())
    assert (len(roots.runs), roots.blind) == (6, ())
    assert 1 <= at_once.most <= most
    assert (at_once.most == 1) == (most == 1)


# The lock and its slices.


def test_it_deletes_only_under_its_lock_and_lets_runs_in_between(objects, store, monkeypatch):
    for number in range(5):
        keep(store, f"forgotten {number}")
    age_all(objects)
    taken, under = [], []
    remove, enter = LocalObjects.remove, GcLock.__enter__

    def watched(self, name, version=None):
        if name.startswith(("records/", "blobs/")):
            under.append(self.stat(LOCK) is not None)
        return remove(self, name, version)

    monkeypatch.setattr(LocalObjects, "remove", watched)
    monkeypatch.setattr(GcLock, "__enter__", lambda self: taken.append(self) or enter(self))
    monkeypatch.setattr("flows.gc.slices.BATCH", 2)
    assert gone(objects, slice_seconds=0.0) == {Kind.RECORDS: 5, Kind.BLOBS: 5}
    assert under == [True] * 10
    assert len(taken) == 6  # three batches of each kind, a slice for each
    assert names(objects) == set()


@pytest.mark.parametrize(
    ("patched", "value", "error", "told"),
    [
        ((GcLock, "safe"), lambda self: False, StoreError, "could not be renewed in time"),
        ((LocalObjects, "create"), None, StoreFull, "no space left"),
        (None, None, CollectorBusy, "wait for it to end"),
    ],
    ids=["lock not safe", "full", "another one"],
)
def test_nothing_is_deleted_when_it_cannot_go_on(
    objects, store, monkeypatch, patched, value, error, told
):
    keep(store, "forgotten")
    age_all(objects)
    before = names(objects, "records/") | names(objects, "blobs/")

    def full(self, name, data):
        raise StoreFull("no space left")

    if patched is not None:
        monkeypatch.setattr(*patched, value or full)
    else:
        GcLock(objects).__enter__()
    with pytest.raises(error, match=told):
        gone(objects)
    assert before <= names(objects)


def test_ages_are_told_by_the_homes_clock(objects, store, monkeypatch):
    """A machine whose clock is a year ahead takes nothing young."""
    keep(store, "young")
    ahead = time.time() + 365 * DAY
    monkeypatch.setattr(time, "time", lambda: ahead)
    assert gone(objects) == {}


# Looking without touching.


def test_a_look_changes_nothing_and_tells_why_things_stay(objects, store):
    needed, _ = keep(store, "needed"), keep(store, "forgotten")
    keep_output(store, needed)
    write_run(objects, AUTUMN, [needed])
    age_all(objects)
    keep_output(store, keep(store, "young"))
    before = {(e.name, e.version) for e in objects.list("")}
    told = mark(objects, POLICY, time.time())
    assert {(e.name, e.version) for e in objects.list("")} == before
    found = {kind: len(entries) for kind, entries in told.candidates.items()}
    assert found == {Kind.RECORDS: 1, Kind.BLOBS: 1}
    assert {why: count for why, (count, _) in told.stays.items()} == {
        "records/: named by a run": 1,
        "records/: within the grace period": 1,
        "outputs/: of a step that a run names": 1,
        "outputs/: within the grace period": 1,
        "thumbs/: of pictures that stay": 2,
        "blobs/: named by a run": 1,
        "blobs/: named by a record that stays": 3,
        "runs/: finished": 1,
    }


def test_what_shows_a_regions_difference_stays_with_its_record(objects, store):
    for name in ("needed", "forgotten"):
        region = {"region": {"difference": digest(f"difference of {name}")}}
        data = f"picture of {name}".encode()
        record = store.put(make_record(digest(name), data, label=name, geometry=region), data)
        objects.create(thumb_name(region["region"]["difference"]), b"thumbnail")
        if name == "needed":
            write_run(objects, AUTUMN, [record], {})
    age_all(objects, 10 * DAY)
    assert gone(objects) == {Kind.RECORDS: 1, Kind.THUMBS: 1, Kind.BLOBS: 1}
    assert names(objects, "thumbs/") == {thumb_name(digest("difference of needed"))}
