"""The moments between a look and a deletion."""

from __future__ import annotations

import hashlib
import os
import time

import pytest

from flows.gc.kinds import Kind
from flows.gc.sweep import Sweep
from flows.store.claims import claim
from flows.store.folder import LocalObjects
from flows.store.keyed import KeyedStore
from flows.store.lock import LOCK
from flows.store.outputs import OutputStore
from tests.store.batch import age_all, keep, keep_output, names
from tests.store.samples import digest

from .samples import AUTUMN, POLICY, beside, gone, meddle, output_key


def test_a_blob_adopted_after_the_last_look_stays(objects, store, monkeypatch):
    store.keep(b"same")
    age_all(objects)
    threads = []

    def adopt():
        name = f"records/{digest('b')}"
        threads.append(beside(objects, name, keep, KeyedStore(objects), "b", b"same"))

    assert meddle(monkeypatch, "stat", "blobs/", adopt, after=True) == []
    assert gone(objects) == {}
    threads[0].join(60)
    assert store.read(store.find(digest("b"))) == b"same"


def test_a_blob_adopted_as_it_is_removed_is_put_again(objects, store, monkeypatch):
    """As in S3, where a touch changes no ETag: the removal succeeds after record and touch."""
    name = f"blobs/{store.keep(b'same')}"
    age_all(objects)
    remove, threads = LocalObjects.remove, []

    def late(self, asked, version=None):
        if asked != name or threads:
            return remove(self, asked, version)
        made = f"records/{digest('b')}"
        threads.append(beside(objects, made, keep, KeyedStore(objects), "b", b"same"))
        time.sleep(0.2)  # time enough to look once more, were it not for the lock
        return remove(self, asked)

    monkeypatch.setattr(LocalObjects, "remove", late)
    assert gone(objects) == {Kind.BLOBS: 1}
    threads[0].join(60)
    assert store.read(store.find(digest("b"))) == b"same"


def test_a_record_remade_after_the_last_look_stays(objects, store, monkeypatch):
    record = keep(store, "a")
    age_all(objects)
    threads, name = [], f"records/{record.key}"

    def remake():
        objects.remove(name)
        threads.append(beside(objects, name, keep, KeyedStore(objects), "a"))

    meddle(monkeypatch, "stat", name, remake, after=True)
    assert gone(objects) == {}
    threads[0].join(60)
    assert store.find(record.key) == record


def test_a_run_that_claims_between_two_slices_finds_pictures_and_files(objects, store, monkeypatch):
    """Its key was a candidate in the first look."""
    records = [keep(store, text) for text in "ab"]
    for record in records:
        keep_output(store, record)
    age_all(objects)
    monkeypatch.setattr("flows.gc.slices.BATCH", 1)
    running = []

    def start(what, done, total):
        if what == f"removing {Kind.OUTPUTS}" and not running:
            left = next(one for one in records if f"outputs/{output_key(one)}" in names(objects))
            objects.remove(LOCK)  # as if it came between two slices
            context = claim(objects, run=AUTUMN, plan=digest("p"), keys=[left.key], poll=0.01)
            context.__enter__()
            running.append((left, context))

    counts = gone(objects, slice_seconds=0.0, tell=start)
    ((left, context),) = running
    assert counts == {Kind.OUTPUTS: 1, Kind.RECORDS: 1, Kind.THUMBS: 1, Kind.BLOBS: 2}
    assert store.find(left.key) == left
    assert OutputStore(store).find(output_key(left), left.blob) is not None
    context.__exit__(None, None, None)


def test_a_file_remade_after_its_record_went_keeps_its_blob(objects, store, monkeypatch):
    """A run that comes late makes it again, and adopts the blob that is a candidate."""
    record = keep(store, "step")
    output = keep_output(store, record)
    age_all(objects)
    threads, name = [], f"outputs/{output.key}"

    def remake():
        threads.append(beside(objects, name, keep_output, KeyedStore(objects), record))

    meddle(monkeypatch, "remove", "blobs/", remake)
    counts = gone(objects)
    threads[0].join(60)
    assert counts[Kind.OUTPUTS] == 1
    assert OutputStore(store).find(output.key, record.blob) == output
    assert hashlib.sha256(objects.get(f"blobs/{output.blob}").data).hexdigest() == output.blob


@pytest.mark.parametrize("of", ["outputs", "records"])
def test_what_changed_before_it_went_keeps_its_blob(objects, store, monkeypatch, of):
    record = keep(store, "step")
    output = keep_output(store, record)
    age_all(objects)
    key, blob = (output.key, output.blob) if of == "outputs" else (record.key, record.blob)
    meddle(monkeypatch, "stat", f"{of}/{key}", lambda: os.utime(objects.root / of / key))
    done = Sweep(objects, POLICY)
    done.run()
    kind = Kind(f"{'records of output files' if of == 'outputs' else 'records'}")
    assert kind not in done.swept.counts
    assert done.swept.kept[kind] == 1
    assert {f"{of}/{key}", f"blobs/{blob}"} <= names(objects)
