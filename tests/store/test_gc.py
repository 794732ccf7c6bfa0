"""A clean-up takes what nobody needs, and nothing else, whoever runs beside it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from flows.gc.kinds import Kind, Policy
from flows.gc.roots import RootReader
from flows.gc.sweep import Sweep, mark
from flows.manifest import Manifest
from flows.store import lock as lock_module
from flows.store.base import StoreError, StoreFull
from flows.store.claims import claim
from flows.store.folder import LocalObjects
from flows.store.keyed import KeyedStore
from flows.store.lock import LOCK, CollectorBusy, GcLock
from flows.store.outputs import OutputStore

from .batch import (
    HOUR,
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
from .samples import digest

DAY = 24 * HOUR
AUTUMN, WINTER = "2026-01-02-autumn-0123abcd", "2026-02-03-winter-4567abcd"
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


def sweep(objects, policy: Policy = POLICY, **changes) -> Sweep:
    done = Sweep(objects, policy, **changes)
    done.run()
    return done


def gone(objects, policy: Policy = POLICY, **changes) -> dict[Kind, int]:
    return dict(sweep(objects, policy, **changes).swept.counts)


def test_an_empty_store_has_nothing_to_take(objects):
    assert gone(objects) == {}
    assert names(objects) == set()


def test_what_a_manifest_names_stays_and_old_garbage_goes(objects, store):
    needed, forgotten = keep(store, "needed"), keep(store, "forgotten")
    objects.create(f"blobs/{digest('lost')}", b"a blob that no record names")
    write_run(objects, AUTUMN, [needed], {"a.png": b"a"})
    age_all(objects)
    run = names(objects, "runs/")
    assert gone(objects) == {Kind.RECORDS: 1, Kind.BLOBS: 2}
    assert names(objects) == run | {f"records/{needed.key}", f"blobs/{needed.blob}"}
    assert store.find(needed.key) == needed
    assert store.find(forgotten.key) is None
    assert gone(objects) == {}


def test_what_is_young_stays(objects, store):
    record = keep(store, "young")
    age(objects, f"blobs/{record.blob}")  # as if an old blob had been named a moment ago
    assert gone(objects) == {}
    age(objects, f"records/{record.key}", 2 * DAY)
    assert gone(objects) == {}
    age(objects, f"records/{record.key}", 4 * DAY)
    assert gone(objects) == {Kind.RECORDS: 1, Kind.BLOBS: 1}


def test_a_blob_that_two_records_share_stays_with_either(objects, store):
    needed, forgotten = keep(store, "needed", b"same"), keep(store, "forgotten", b"same")
    write_run(objects, AUTUMN, [needed])
    age_all(objects)
    assert gone(objects) == {Kind.RECORDS: 1}
    assert store.read(store.find(needed.key)) == b"same"
    assert store.find(forgotten.key) is None


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
    record = keep(store, "claimed")
    context = claim(objects, run=AUTUMN, plan=digest("p"), keys=[record.key])
    with context:
        for name in names(objects) - names(objects, "claims/"):
            age(objects, name)
        assert gone(objects) == {}
        (mine,) = names(objects, "claims/")
        age(objects, mine, 2 * DAY)
        assert gone(objects) == {}
        age(objects, mine, 4 * DAY)
        assert gone(objects) == {Kind.CLAIMS: 1, Kind.RECORDS: 1, Kind.BLOBS: 1}


def test_a_claim_may_name_a_source_picture(objects, store):
    source = store.keep(b"a photograph")
    age_all(objects)
    with claim(objects, run=AUTUMN, plan=digest("p"), keys=[source]):
        assert gone(objects) == {}
    assert gone(objects) == {Kind.BLOBS: 1}


def test_failures_quarantine_and_leftovers_go_when_they_are_old(objects, store):
    needed = keep(store, "needed")
    write_run(objects, AUTUMN, [needed])
    for name in (f"failures/{needed.key}", f"failures/{digest('gone')}", "quarantine/blob-x-1"):
        objects.replace(name, b"{}")
    for name in ("quarantine/blob-x-1.json", "tmp/0123-99999999-ab", "clocks/x", "calls.jsonl"):
        objects.replace(name, b"{}")
    age_all(objects)
    objects.replace("quarantine/young", b"")
    expected = {Kind.FAILURES: 1, Kind.QUARANTINE: 2, Kind.LEFTOVERS: 2}
    assert gone(objects) == expected
    assert {f"failures/{needed.key}", "quarantine/young", "calls.jsonl"} <= names(objects)


def test_what_people_keep_beside_ours_is_never_touched(objects):
    for name in ("README.txt", "inputs/a.png", "runs/mine/picture.png", "blobs/notes.txt"):
        objects.replace(name, b"mine")
    age_all(objects)
    before = names(objects)
    assert gone(objects, Policy(grace=DAY, runs_older=0.0)) == {}
    assert names(objects) == before


# Whole runs.


def two_runs(objects, store):
    shared, old = keep(store, "shared"), keep(store, "old")
    write_run(objects, AUTUMN, [shared, old], {"deep/er/a.png": b"a"})
    write_run(objects, WINTER, [shared], {"b.png": b"b"})
    age_all(objects, 100 * DAY)
    age(objects, f"runs/{WINTER}/manifest.json", DAY)
    return shared, old


def test_old_runs_go_whole_with_what_only_they_named(objects, store):
    shared, _ = two_runs(objects, store)
    assert gone(objects) == {}
    winter = names(objects, f"runs/{WINTER}/")
    done = sweep(objects, Policy(grace=3 * DAY, runs_older=90 * DAY))
    assert done.swept.counts == {Kind.RUNS: 5, Kind.RECORDS: 1, Kind.BLOBS: 1}
    assert names(objects) == winter | {f"records/{shared.key}", f"blobs/{shared.blob}"}
    assert list(objects.folders("runs/")) == [WINTER]


def test_pinned_and_running_runs_do_not_expire(objects, store):
    two_runs(objects, store)
    policy = Policy(grace=3 * DAY, runs_older=90 * DAY)
    objects.replace(f"pins/{AUTUMN}", b"")
    assert gone(objects, policy) == {}
    objects.remove(f"pins/{AUTUMN}")
    with claim(objects, run=AUTUMN, plan=digest("p"), keys=[]):
        assert gone(objects, policy) == {}
    assert gone(objects, policy) == {Kind.RUNS: 5, Kind.RECORDS: 1, Kind.BLOBS: 1}


def test_a_run_without_a_manifest_goes_when_all_in_it_is_old(objects, store):
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
    shared, _ = two_runs(objects, store)
    winter = names(objects, f"runs/{WINTER}/")
    policy = Policy(grace=3 * DAY, runs_older=90 * DAY)
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
        Sweep(objects, policy).run()
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
    sweep(objects, policy)
    assert names(objects) == winter | {f"records/{shared.key}", f"blobs/{shared.blob}"}


# What cannot be read.


@pytest.mark.parametrize("what", ["manifest", "other version", "claim", "link"])
def test_where_needs_cannot_be_known_only_clear_garbage_goes(objects, store, what, tmp_path):
    keep(store, "forgotten")
    objects.replace("quarantine/blob-x-1", b"")
    write_run(objects, WINTER, [])
    age_all(objects, 100 * DAY)
    bad = f"runs/{AUTUMN}/manifest.json"
    if what == "manifest":
        objects.replace(bad, b'{"schema": "kontext.manifest"')
    elif what == "other version":
        objects.replace(bad, b'{"schema": "kontext.manifest", "version": 2}')
    elif what == "link":
        (tmp_path / "elsewhere").mkdir()
        (objects.root / "runs" / AUTUMN).symlink_to(tmp_path / "elsewhere")
    else:
        bad = "claims/x.json"
        objects.replace(bad, b"torn")
    policy = Policy(grace=3 * DAY, runs_older=90 * DAY)
    done = Sweep(objects, policy)
    (why,) = done.run().blind
    assert why.startswith(f"{bad}: ")
    assert done.swept.counts == {Kind.QUARANTINE: 1}
    if what == "claim":  # once it is old, nobody lives who wrote it
        age(objects, bad)
        assert gone(objects, policy)[Kind.BLOBS] == 1


def test_a_manifest_that_turns_bad_midway_stops_it(objects, store):
    for number in range(3):
        keep(store, f"forgotten {number}")
    age_all(objects)

    def spoil(what, done, total):
        if what == f"removing {Kind.RECORDS}":
            objects.replace(f"runs/{AUTUMN}/manifest.json", b"torn")

    done = Sweep(objects, POLICY, slice_seconds=0.0, tell=spoil)
    done.run()
    assert done.swept.counts == {Kind.RECORDS: 3}
    assert len(names(objects, "blobs/")) == 3


def test_a_damaged_record_keeps_nothing(objects, store):
    record = keep(store, "a")
    write_run(objects, AUTUMN, [])
    objects.replace(f"records/{record.key}", b"torn")
    age_all(objects)
    assert gone(objects) == {Kind.RECORDS: 1, Kind.BLOBS: 1}


@pytest.mark.parametrize(("large", "most"), [(0, 1), (10**9, 6)])
def test_one_large_manifest_is_read_at_a_time(objects, monkeypatch, large, most):
    for number in range(6):
        write_run(objects, f"2026-01-02-autumn-0000000{number}")
    at_once = AtOnce(Manifest.model_validate_json, 1 if large else 0)
    monkeypatch.setattr("flows.manifest.LARGE", large)
    monkeypatch.setattr("flows.gc.roots.Manifest", SimpleNamespace(model_validate_json=at_once))
    needs = RootReader(objects, POLICY.grace).read(time.time())
    assert (len(needs.runs), needs.blind) == (6, ())
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


def test_a_second_clean_up_is_refused(objects):
    with GcLock(objects), pytest.raises(CollectorBusy, match="wait for it to end"):
        keep(KeyedStore(objects), "forgotten")
        age_all(objects)
        age(objects, LOCK, 1)
        Sweep(objects, POLICY).run()


def test_nothing_is_deleted_once_the_lock_is_not_safe(objects, store, monkeypatch):
    keep(store, "forgotten")
    age_all(objects)
    before = names(objects)
    monkeypatch.setattr(GcLock, "safe", lambda self: False)
    with pytest.raises(StoreError, match="could not be renewed in time"):
        Sweep(objects, POLICY).run()
    assert names(objects) == before


def test_ages_are_told_by_the_homes_clock(objects, store, monkeypatch):
    """A machine whose clock is a year ahead takes nothing young."""
    keep(store, "young")
    ahead = time.time() + 365 * DAY
    monkeypatch.setattr(time, "time", lambda: ahead)
    assert gone(objects) == {}


def test_a_full_store_says_so(objects, store, monkeypatch):
    keep(store, "forgotten")
    age_all(objects)

    def full(self, name, data):
        raise StoreFull("no space left")

    monkeypatch.setattr(LocalObjects, "create", full)
    with pytest.raises(StoreFull):
        Sweep(objects, POLICY).run()


# The moments between a look and a deletion.


def meddle(monkeypatch, when: Callable[[str], bool], act: Callable[[], None]) -> list[str]:
    """``act`` once, right after the clean-up's own last look at an object."""
    acted = []
    stat = LocalObjects.stat

    def watched(self, name):
        entry = stat(self, name)
        if when(name) and not acted:
            acted.append(name)
            act()
        return entry

    monkeypatch.setattr(LocalObjects, "stat", watched)
    return acted


def adopt(objects, text: str, blob: bytes) -> threading.Thread:
    """Another run puts a picture that is there; returns once its record is, or will soon be."""
    thread = threading.Thread(target=keep, args=(KeyedStore(objects), text, blob))
    thread.start()
    end = time.monotonic() + 60
    while objects.get(f"records/{digest(text)}") is None:
        assert time.monotonic() < end
        time.sleep(0.002)
    return thread


def test_a_blob_adopted_after_the_last_look_stays(objects, store, monkeypatch):
    objects.create(f"blobs/{hashlib.sha256(b'same').hexdigest()}", b"same")
    age_all(objects)
    threads = []
    acted = meddle(
        monkeypatch,
        lambda name: name.startswith("blobs/"),
        lambda: threads.append(adopt(objects, "b", b"same")),
    )
    assert gone(objects) == {}
    threads[0].join(60)
    assert acted
    assert store.read(store.find(digest("b"))) == b"same"


def test_a_blob_adopted_as_it_is_removed_is_put_again(objects, store, monkeypatch):
    """As in S3, where a touch changes no ETag: the removal succeeds after record and touch."""
    name = f"blobs/{hashlib.sha256(b'same').hexdigest()}"
    objects.create(name, b"same")
    age_all(objects)
    remove, threads, went = LocalObjects.remove, [], []

    def late(self, asked, version=None):
        if asked == name and not threads:
            threads.append(adopt(objects, "b", b"same"))
            time.sleep(0.2)  # time enough to look once more, were it not for the lock
            went.append(remove(self, asked))
            return True
        return remove(self, asked, version)

    monkeypatch.setattr(LocalObjects, "remove", late)
    assert gone(objects) == {Kind.BLOBS: 1}
    threads[0].join(60)
    assert went == [True]
    assert store.read(store.find(digest("b"))) == b"same"


def test_a_record_remade_after_the_last_look_stays(objects, store, monkeypatch):
    record = keep(store, "a")
    age_all(objects)

    def remake():
        objects.remove(f"records/{record.key}")
        threads.append(adopt(objects, "a", b"picture of a"))

    threads = []
    meddle(monkeypatch, lambda name: name.startswith("records/"), remake)
    assert gone(objects) == {}
    threads[0].join(60)
    assert store.find(record.key) == record


def test_a_claim_between_two_slices_is_honoured(objects, store, monkeypatch):
    """The run finds a record that was a candidate in the first look, and its blob stays too."""
    record = keep(store, "a")
    keep(store, "b")
    age_all(objects)
    monkeypatch.setattr("flows.gc.slices.BATCH", 1)
    running = []

    def start(what, done, total):
        if what.startswith("removing") and not running:
            left = digest("a") if f"records/{digest('a')}" in names(objects) else digest("b")
            context = claim(objects, run=AUTUMN, plan=digest("p"), keys=[left], poll=0.01)
            running.append((left, context))
            objects.remove(LOCK)  # as if it came between two slices
            context.__enter__()

    done = Sweep(objects, POLICY, slice_seconds=0.0, tell=start)
    done.run()
    ((left, context),) = running
    assert done.swept.counts == {Kind.RECORDS: 1, Kind.BLOBS: 1}
    assert store.find(left) is not None
    context.__exit__(None, None, None)
    assert record.key in {digest("a"), digest("b")}


def test_without_a_claim_the_same_record_would_go(objects, store):
    """What the tests above rest on: it is the claim that keeps it."""
    record = keep(store, "a")
    age_all(objects)
    assert store.find(record.key) is not None
    sweep(objects)
    assert store.find(record.key) is None


# Looking without touching.


def test_a_survey_changes_nothing_and_tells_why_things_stay(objects, store):
    needed, _ = keep(store, "needed"), keep(store, "forgotten")
    write_run(objects, AUTUMN, [needed])
    age_all(objects)
    young = keep(store, "young")
    before = {(e.name, e.version) for e in objects.list("")}
    told = mark(objects, POLICY, time.time())
    assert {(e.name, e.version) for e in objects.list("")} == before
    assert {kind: len(entries) for kind, entries in told.candidates.items()} == {
        Kind.RECORDS: 1,
        Kind.BLOBS: 1,
    }
    counts = {why: count for why, (count, _) in told.stays.items()}
    assert counts == {
        "records/: named by a run": 1,
        "records/: within the grace period": 1,
        "blobs/: named by a run": 1,
        "blobs/: named by a record that stays": 1,
        "runs/: finished": 1,
    }
    assert young.blob != needed.blob


# Beside a batch.


class Batch(threading.Thread):
    """A run as the engine's side does it: claim, look up, make, manifest, and time that passes.

    Half of them are runs of several workers: one plans, makes a part and must end; the claim goes
    with it, and another one goes on.
    """

    def __init__(self, objects, number: int, rng: random.Random, shared: list[str], later) -> None:
        super().__init__(name=f"run {number}")
        self.objects = objects
        self.store = KeyedStore(objects, touch_after=0.5 * HOUR)
        self.number = number
        self.run_name = f"2026-03-04-night{number}-{number:08x}"
        self.rng = rng
        self.texts = [*rng.sample(shared, 4), *(f"new {number}.{n}" for n in range(5))]
        self.twins = dict.fromkeys(self.texts[4:6], f"picture of {rng.choice(shared)}".encode())
        self.records = []
        self.outputs = []
        self.found = 0
        self.later = later
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            self.work()
        except BaseException as problem:
            self.problem = problem

    def work(self) -> None:
        keys = [digest(text) for text in self.texts]
        time.sleep(self.rng.random() * 0.05)
        several = self.rng.random() < 0.5
        if several:
            with self.claimed(keys):
                write_stage(self.objects, f"night-{self.number}/0", keys)
                self.make(self.texts[::2])
            time.sleep(self.rng.random() * 0.1)  # nobody has it in hand
        with self.claimed(keys):
            if several:
                assert all(self.store.find(one.key) for one in self.records), "lost in between"
            self.make(self.texts[1::2] if several else self.texts)
            for record, output in zip(self.records, self.outputs, strict=True):
                assert self.store.read(record), "lost while the run went on"
                assert OutputStore(self.store).find(output.key, record.blob) == output
                assert self.objects.get(f"blobs/{output.blob}") is not None
            write_run(self.objects, self.run_name, self.records)
            if several:
                self.objects.create(f"verdicts/parents/night-{self.number}.0", b"{}")

    def claimed(self, keys: list[str]):
        times = {"every": 0.05, "poll": 0.002}
        return claim(self.objects, run=self.run_name, plan=digest("p"), keys=keys, **times)

    def make(self, texts: list[str]) -> None:
        done = {text: self.store.find(digest(text)) for text in texts}
        self.found += sum(record is not None for record in done.values())
        for text, record in done.items():
            time.sleep(self.rng.random() * 0.01)
            if record is None:
                record = keep(self.store, text, self.twins.get(text))  # noqa: PLW2901
            # Two texts, one file: its blob is another's, too.
            output = keep_output(self.store, record, f"file {text[-1]}".encode())
            if self.rng.random() < 0.5:
                self.hours_pass(record, output)
            self.records.append(record)
            self.outputs.append(output)

    def hours_pass(self, record, output) -> None:
        self.later[0] += 90 * DAY
        made = (f"records/{record.key}", f"blobs/{record.blob}")
        for name in (*made, f"outputs/{output.key}", f"blobs/{output.blob}"):
            age(self.objects, name, 90 * DAY)
        with contextlib.suppress(FileNotFoundError):  # nobody depends on it
            age(self.objects, thumb_name(record.blob), 90 * DAY)


@pytest.mark.parametrize("seed", range(20))
def test_beside_a_running_batch_nothing_needed_goes_and_garbage_does(tmp_path, seed, monkeypatch):
    rng = random.Random(seed)
    objects = LocalObjects(tmp_path / "out")
    monkeypatch.setattr("flows.gc.slices.BATCH", rng.choice([1, 3, 128]))
    later = [0.0]  # time passes in leaps
    monkeypatch.setattr(
        "flows.gc.sweep.passing_seconds", lambda: lock_module.passing_seconds() + later[0]
    )
    monkeypatch.setattr("flows.gc.sweep._LOOKS", 1000)
    old = KeyedStore(objects)
    shared = [f"shared {number}" for number in range(6)]
    garbage = [f"garbage {number}" for number in range(6)]
    for text in (*shared, *garbage):
        keep_output(old, keep(old, text), f"file {text[-1]}".encode())
    listed = keep(old, "listed")
    kept = keep_output(old, listed)
    write_run(objects, AUTUMN, [listed])
    age_all(objects)
    policy = Policy(grace=HOUR)
    over, sweeps, problems = threading.Event(), [], []

    def clean() -> None:
        while not over.is_set():
            try:
                sweeps.append(gone(objects, policy, slice_seconds=rng.choice([0.0, 0.01, 1.0])))
            except BaseException as problem:
                problems.append(problem)
                return

    cleaner = threading.Thread(target=clean)
    runs = [
        Batch(objects, number, random.Random(seed * 10 + number), shared, later)
        for number in (1, 2)
    ]
    for thread in (*runs, cleaner):
        thread.start()
    for run in runs:
        run.join()
    over.set()
    cleaner.join()
    assert problems == []
    assert [run.problem for run in runs] == [None, None]
    sweeps.append(gone(objects, policy))
    store = KeyedStore(objects)
    needed = [listed, *(record for run in runs for record in run.records)]
    for record in needed:
        assert store.read(store.find(record.key)), record.label
    assert store.find(listed.key) == listed
    files = [kept, *(output for run in runs for output in run.outputs)]
    for output in files:
        assert OutputStore(store).find(output.key, output.picture) == output
    assert names(objects, "outputs/") == {f"outputs/{output.key}" for output in files}
    pictures = {thumb_name(record.blob) for record in needed}
    assert names(objects, "thumbs/") <= pictures
    wanted = {text for run in runs for text in run.texts}
    for text in (*shared, *garbage):
        assert text in wanted or store.find(digest(text)) is None, f"{text} should have gone"
    assert names(objects, "records/") == {f"records/{record.key}" for record in needed}
    assert names(objects, "claims/") == set()
    for kind in (Kind.RECORDS, Kind.OUTPUTS):
        assert sum(counts.get(kind, 0) for counts in sweeps) >= len(garbage)
    assert lock_module.look(objects) is None
