"""A clean-up of a real S3 server, beside runs. Old things are made by telling that they are."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace

import pytest

from flows.gc.kinds import Kind, Policy
from flows.gc.sweep import Sweep, mark
from flows.store import s3
from flows.store.address import open_objects
from flows.store.claims import claim
from flows.store.keyed import KeyedStore
from flows.store.lanes import LANES, in_lanes
from flows.store.outputs import OutputStore
from tests.servers.seaweed import admin_client

from .batch import HOUR, keep, keep_output, names, write_run, write_stage
from .samples import digest

DAY = 24 * HOUR
ROUNDS = 10
AT_ONCE = 5
POLICY = Policy(grace=2 * HOUR)


class Aged:
    """A home in which what was there at some time looks a month old, as long as it is untouched."""

    def __init__(self, home) -> None:
        self._home = home
        self._old: dict[str, str] = {}

    def __getattr__(self, name):
        return getattr(self._home, name)

    def age_all(self) -> None:
        self._old = {entry.name: entry.version for entry in self._home.list("")}
        time.sleep(1.1)  # versions tell seconds apart

    def stat(self, name):
        entry = self._home.stat(name)
        return None if entry is None else self._told(entry)

    def list(self, prefix):
        return map(self._told, self._home.list(prefix))

    def _told(self, entry):
        old = self._old.get(entry.name) == entry.version
        return replace(entry, modified=entry.modified - 30 * DAY) if old else entry


@pytest.fixture
def objects(s3_place) -> Aged:
    return Aged(open_objects(s3_place.url))


def night(objects, seed: int, shared: list[str]) -> tuple[str, list]:
    """One run: claim, look up, make, manifest. Some of its pictures are there as old garbage.

    Every other is of several workers: the first must end, and another goes on with its stage.
    """
    rng = random.Random(seed)
    store = KeyedStore(objects, lanes=LANES)
    texts = [*rng.sample(shared, 3), *(f"new {seed}.{number}" for number in range(2))]
    twins = {texts[-1]: f"picture of {rng.choice(shared)}".encode()}
    run = f"2026-03-04-night{seed}-{seed:08x}"
    time.sleep(rng.random())
    keys = [digest(text) for text in texts]
    claimed = {"run": run, "plan": digest("p"), "keys": keys, "every": 0.5, "poll": 0.05}
    several, records = seed % 2 == 0, []

    def make(some: list[str]) -> None:
        done = dict(zip(some, store.find_all([digest(text) for text in some]), strict=True))
        for text, (_, record) in done.items():
            time.sleep(rng.random() * 0.2)
            records.append(record or keep(store, text, twins.get(text)))
            keep_output(store, records[-1], f"file of {text}".encode())

    if several:
        with claim(objects, **claimed):
            write_stage(objects, f"night-{seed}/0", keys)
            make(texts[:3])
        time.sleep(rng.random())  # nobody has it in hand
    with claim(objects, **claimed):
        make(texts[3:] if several else texts)
        for record in records:
            assert store.read(record), "lost while the run went on"
            output = digest(f"output of {record.key}")
            assert OutputStore(store).find(output, record.blob), "its file was lost"
        write_run(objects, run, records)
        if several:
            objects.create(f"verdicts/parents/night-{seed}.0", b"{}")
    return run, records


def test_beside_runs_nothing_needed_goes_and_garbage_does(objects):
    store = KeyedStore(objects)
    shared = [f"shared {number}" for number in range(12)]
    garbage = [f"garbage {number}" for number in range(12)]

    def old(text: str) -> None:
        keep_output(store, keep(store, text))

    for _ in in_lanes(old, [*shared, *garbage], LANES):
        pass
    objects.age_all()
    over, problems, sweeps = threading.Event(), [], []

    def clean() -> None:
        while not over.is_set():
            sweep = Sweep(objects, POLICY, slice_seconds=0.2)
            try:
                sweep.run()
            except BaseException as problem:
                problems.append(problem)
                return
            sweeps.append(sweep.swept.counts)

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    try:
        nights = list(
            in_lanes(lambda seed: night(objects, seed, shared), list(range(ROUNDS)), AT_ONCE)
        )
    finally:
        over.set()
        cleaner.join()
    assert problems == []
    needed = [record for _, (_, records) in nights for record in records]
    found = dict(store.find_all({record.key for record in needed}))
    assert all(found[record.key] for record in needed)
    assert not any(has for _, has in store.has_all([digest(text) for text in garbage]))
    Sweep(objects, POLICY).run()
    assert names(objects, "records/") == {f"records/{record.key}" for record in needed}
    files = {f"outputs/{digest(f'output of {record.key}')}" for record in needed}
    assert names(objects, "outputs/") == files
    assert names(objects, "blobs/") >= {f"blobs/{record.blob}" for record in needed}
    assert names(objects, "claims/") == names(objects, "clocks/") == set()
    for kind in (Kind.RECORDS, Kind.OUTPUTS):
        assert sum(counts[kind] for counts in sweeps) >= len(garbage)


def test_a_blob_adopted_while_its_removal_is_on_its_way_is_put_again(objects, monkeypatch):
    """A DELETE that takes effect after the touch: the ETag that it names is still right."""
    store = KeyedStore(objects)
    blob = store.keep(b"same")
    objects.age_all()
    delete, threads = s3._delete, []

    def late(asked, client):
        if asked["Key"].endswith(blob) and not threads:
            threads.append(threading.Thread(target=keep, args=(store, "a", b"same")))
            threads[0].start()
            end = time.monotonic() + 60
            while objects.stat(f"records/{digest('a')}") is None:
                assert time.monotonic() < end
                time.sleep(0.02)
            time.sleep(0.5)
        delete(asked, client)

    monkeypatch.setattr(s3, "_delete", late)
    sweep = Sweep(objects, POLICY)
    sweep.run()
    assert sweep.swept.counts == {Kind.BLOBS: 1}
    threads[0].join(60)
    assert store.read(store.find(digest("a"))) == b"same"


def test_unfinished_uploads_go_when_they_are_old(objects, s3_place, seaweed):
    objects.replace("blobs/x", b"")
    client = admin_client(seaweed)
    key = f"{s3_place.prefix}/blobs/{digest('big')}"
    client.create_multipart_upload(Bucket=s3_place.bucket, Key=key)
    time.sleep(2.5)
    assert mark(objects, Policy(grace=3600.0), time.time()).uploads == ()
    sweep = Sweep(objects, Policy(grace=1.0))
    sweep.run()
    assert sweep.swept.counts == {Kind.UPLOADS: 1}
    assert list(objects.abandoned(0.0)) == []
