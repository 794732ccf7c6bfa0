"""Beside runs nothing needed goes, and garbage does: in a folder, and in a real S3 server."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from flows.gc.kinds import Kind, Policy
from flows.gc.sweep import Sweep, mark
from flows.store import boto
from flows.store import lock as lock_module
from flows.store.address import open_objects
from flows.store.claims import claim
from flows.store.folder import LocalObjects
from flows.store.keyed import KeyedStore
from flows.store.lanes import LANES, in_lanes
from flows.store.outputs import OutputStore
from tests.servers.seaweed import admin_client
from tests.store.batch import (
    HOUR,
    age,
    age_all,
    keep,
    keep_output,
    names,
    thumb_name,
    write_run,
    write_stage,
)
from tests.store.samples import digest

from .samples import AUTUMN, DAY, beside

ROUNDS, AT_ONCE = 10, 5  # in S3
TWO_HOURS = Policy(grace=2 * HOUR)


@dataclass
class Night:
    """A run as the engine's side does it: claim, look up, make, manifest.

    Some of its pictures are there as old garbage. One of several workers is planned by one who
    makes a part and must end; the claim goes with it, and another one goes on.
    """

    objects: object
    number: int
    shared: list[str]
    seed: int
    several: bool
    pace: float  # seconds, at most, that it takes its time
    passed: Callable[[object, object], None] = lambda record, output: None
    records: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    texts: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.texts = [*self.rng.sample(self.shared, 4), *(f"{self.number}.{n}" for n in range(5))]
        twins = self.texts[4:6]
        self.twins = {text: f"picture of {self.rng.choice(self.shared)}".encode() for text in twins}
        self.store = KeyedStore(self.objects, touch_after=0.5 * HOUR, lanes=LANES)
        self.keys = [digest(text) for text in self.texts]

    def run(self) -> None:
        self.dawdle()
        if self.several:
            with self.claimed():
                write_stage(self.objects, f"night-{self.number}/0", self.keys)
                self.make(self.texts[::2])
            self.dawdle()  # nobody has it in hand
        with self.claimed():
            assert all(self.store.find(one.key) for one in self.records), "lost in between"
            self.make(self.texts[1::2] if self.several else self.texts)
            for record, output in zip(self.records, self.outputs, strict=True):
                assert self.store.read(record), "lost while the run went on"
                assert OutputStore(self.store).find(output.key, record.blob) == output
                assert self.objects.get(f"blobs/{output.blob}") is not None
            write_run(
                self.objects, f"2026-03-04-night{self.number}-{self.number:08x}", self.records
            )
            if self.several:
                self.objects.create(f"verdicts/parents/night-{self.number}.0", b"{}")

    def claimed(self):
        times = {"every": self.pace / 2, "poll": self.pace / 20}
        run = f"2026-03-04-night{self.number}-{self.number:08x}"
        return claim(self.objects, run=run, plan=digest("p"), keys=self.keys, **times)

    def make(self, texts: list[str]) -> None:
        found = [self.store.find(digest(text)) for text in texts]
        for text, record in zip(texts, found, strict=True):
            self.dawdle(0.1)
            made = record or keep(self.store, text, self.twins.get(text))
            # Two texts, one file: its blob is another's, too.
            output = keep_output(self.store, made, f"file {text[-1]}".encode())
            if self.rng.random() < 0.5:
                self.passed(made, output)
            self.records.append(made)
            self.outputs.append(output)

    def dawdle(self, share: float = 1.0) -> None:
        time.sleep(self.rng.random() * self.pace * share)


def clean_beside(objects, policy: Policy, nights: list[Night], at_once: int, slices) -> None:
    """Nights beside clean-ups, one after the other; what is left is what they need."""
    over, sweeps = threading.Event(), []

    def clean(_=None) -> None:
        done = Sweep(objects, policy, slice_seconds=slices())
        done.run()
        sweeps.append(done.swept.counts)

    def clean_on() -> None:
        while not over.is_set():
            clean()

    def nights_pass() -> None:
        try:
            for _ in in_lanes(lambda night: night.run(), nights, at_once):
                pass
        finally:
            over.set()

    for _ in in_lanes(lambda act: act(), [nights_pass, clean_on], 2):
        pass
    clean()
    store = KeyedStore(objects, lanes=LANES)
    needed = {record.key: record for night in nights for record in night.records}
    for key, record in needed.items():
        assert store.find(key) is not None, record.label
    for output in (output for night in nights for output in night.outputs):
        assert OutputStore(store).find(output.key, output.picture) == output
    outputs = {f"outputs/{output.key}" for night in nights for output in night.outputs}
    assert names(objects, "records/") == {f"records/{key}" for key in needed}
    assert names(objects, "outputs/") == outputs
    assert names(objects, "blobs/") >= {f"blobs/{record.blob}" for record in needed.values()}
    assert names(objects, "thumbs/") <= {thumb_name(record.blob) for record in needed.values()}
    assert names(objects, "claims/") == names(objects, "clocks/") == set()
    for kind in (Kind.RECORDS, Kind.OUTPUTS):
        assert sum(counts[kind] for counts in sweeps) >= 6, "no garbage went"
    assert lock_module.look(objects) is None


@pytest.mark.parametrize("seed", range(20))
def test_in_a_folder_where_hours_pass(tmp_path, seed, monkeypatch):
    rng = random.Random(seed)
    objects = LocalObjects(tmp_path / "out")
    later = [0.0]  # time passes in leaps
    monkeypatch.setattr("flows.gc.slices.BATCH", rng.choice([1, 3, 128]))
    monkeypatch.setattr(
        "flows.gc.sweep.passing_seconds", lambda: lock_module.passing_seconds() + later[0]
    )
    monkeypatch.setattr("flows.gc.sweep._LOOKS", 1000)
    store = KeyedStore(objects)
    shared = [f"shared {number}" for number in range(6)]
    for text in (*shared, *(f"garbage {number}" for number in range(6))):
        keep_output(store, keep(store, text), f"file {text[-1]}".encode())
    listed = Night(objects, 0, shared, 0, several=False, pace=0)
    listed.records = [keep(store, "listed")]
    listed.outputs = [keep_output(store, listed.records[0])]
    write_run(objects, AUTUMN, listed.records)
    age_all(objects)
    listed.run = lambda: None

    def hours_pass(record, output) -> None:
        later[0] += 90 * DAY
        made = (f"records/{record.key}", f"blobs/{record.blob}")
        for name in (*made, f"outputs/{output.key}", f"blobs/{output.blob}"):
            age(objects, name, 90 * DAY)
        with contextlib.suppress(FileNotFoundError):  # nobody depends on it
            age(objects, thumb_name(record.blob), 90 * DAY)

    nights = [
        Night(objects, n, shared, seed * 10 + n, rng.random() < 0.5, 0.1, hours_pass)
        for n in (1, 2)
    ]
    policy = Policy(grace=HOUR)
    clean_beside(objects, policy, [listed, *nights], 3, lambda: rng.choice([0.0, 0.01, 1.0]))


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
def bucket(s3_place) -> Aged:
    return Aged(open_objects(s3_place.url))


@pytest.mark.gate
def test_in_s3(bucket):
    store = KeyedStore(bucket)
    shared = [f"shared {number}" for number in range(12)]
    old = [*shared, *(f"garbage {number}" for number in range(12))]
    for _ in in_lanes(lambda text: keep_output(store, keep(store, text)), old, LANES):
        pass
    bucket.age_all()
    nights = [Night(bucket, n, shared, n, n % 2 == 0, 1.0) for n in range(ROUNDS)]
    clean_beside(bucket, TWO_HOURS, nights, AT_ONCE, lambda: 0.2)


def test_in_s3_a_blob_adopted_while_its_removal_is_on_its_way_is_put_again(bucket, monkeypatch):
    """A DELETE that takes effect after the touch: the ETag that it names is still right."""
    store = KeyedStore(bucket)
    blob = store.keep(b"same")
    bucket.age_all()
    client, threads = boto.client(bucket._settings), []
    delete = client.delete_object

    def late(**asked):
        if asked["Key"].endswith(blob) and not threads:
            name = f"records/{digest('a')}"
            threads.append(beside(bucket, name, keep, store, "a", b"same"))
            time.sleep(0.5)
        return delete(**asked)

    monkeypatch.setattr(client, "delete_object", late)
    sweep = Sweep(bucket, TWO_HOURS)
    sweep.run()
    assert sweep.swept.counts == {Kind.BLOBS: 1}
    threads[0].join(60)
    assert store.read(store.find(digest("a"))) == b"same"


def test_unfinished_uploads_go_when_they_are_old(bucket, s3_place, seaweed):
    bucket.replace("blobs/x", b"")
    key = f"{s3_place.prefix}/blobs/{digest('big')}"
    admin_client(seaweed).create_multipart_upload(Bucket=s3_place.bucket, Key=key)
    time.sleep(2.5)
    assert mark(bucket, Policy(grace=3600.0), time.time()).uploads == ()
    sweep = Sweep(bucket, Policy(grace=1.0))
    sweep.run()
    assert sweep.swept.counts == {Kind.UPLOADS: 1}
    assert list(bucket.abandoned(0.0)) == []
