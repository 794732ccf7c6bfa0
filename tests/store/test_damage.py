"""Damage in any home: found, set aside with a note, and made again."""

from __future__ import annotations

import json
import time

import pytest

from flows.store.base import BlobDamaged
from flows.store.keyed import KeyedStore

from .samples import digest, make_record

KEY = digest("a")


@pytest.fixture
def done(store):
    record = make_record(KEY, b"picture")
    store.put(record, b"picture")
    return record


def quarantined(store) -> dict[str, tuple[str, bytes]]:
    """By kind: why, and the bytes that were set aside."""
    found = {}
    for entry in list(store.objects.list("quarantine/")):
        if entry.name.endswith(".json"):
            note = json.loads(store.objects.get(entry.name).data)
            aside = store.objects.get(entry.name.removesuffix(".json"))
            found[note["kind"]] = (note["why"], aside.data)
    return found


def names(store, folder) -> list[str]:
    return [entry.name for entry in store.objects.list(folder)]


@pytest.mark.parametrize("kept", [0, 1, 200])
def test_a_truncated_record_is_set_aside_and_made_again(store, open_store, done, kept):
    torn = store.objects.get(f"records/{KEY}").data[:kept]
    store.objects.replace(f"records/{KEY}", torn)
    assert not store.has(KEY)
    assert store.find(KEY) is None
    assert names(store, "records/") == []
    assert quarantined(store) == {"record": ("the record is not JSON", torn)}
    assert open_store().put(done, b"picture") == done
    assert open_store().find(KEY) == done


def test_a_corrupted_blob_is_set_aside_with_its_record_and_made_again(store, open_store, done):
    store.objects.replace(f"blobs/{done.blob}", b"picturf")
    assert store.has(KEY)  # it looks at the record alone
    assert store.find(KEY) is None
    assert names(store, "records/") == names(store, "blobs/") == []
    aside = quarantined(store)
    assert aside["blob"] == ("another digest", b"picturf")
    assert aside["record"][0] == "the blob has another digest than its name"
    assert open_store().put(done, b"picture") == done
    assert open_store().read(done) == b"picture"


def test_a_missing_blob_means_not_done(store, open_store, done):
    assert store.objects.remove(f"blobs/{done.blob}")
    assert store.has(KEY)  # it looks at the record alone
    assert store.find(KEY) is None
    assert quarantined(store)["record"][0] == "the blob is missing"
    assert open_store().put(done, b"picture") == done
    assert open_store().find(KEY) == done


def test_reading_damage_says_where_and_what(store, done):
    store.objects.replace(f"blobs/{done.blob}", b"")
    with pytest.raises(BlobDamaged) as caught:
        store.read(done)
    assert str(caught.value) == (
        f"{store.objects.where}/blobs/{done.blob}: the picture of 'beach[product=shoe]' has "
        "another digest than its name; run again to remake it"
    )


def test_what_was_mended_meanwhile_is_not_set_aside(store, done):
    """Between our look at a damaged record and its removal somebody puts a sound one."""
    name = f"records/{KEY}"
    sound = store.objects.get(name).data
    store.objects.replace(name, b"torn")

    class Raced:
        def __getattr__(self, attribute):
            return getattr(store.objects, attribute)

        def remove(self, removed, version=None):
            if removed == name:
                store.objects.replace(name, sound)
            return store.objects.remove(removed, version)

    assert KeyedStore(Raced()).find(KEY) is None
    assert store.find(KEY) == done
    assert quarantined(store) == {}


def test_a_blob_that_went_while_its_record_was_written_is_put_again(store, done):
    """A clean-up that looked before the record was there takes the forgotten blob."""

    class Raced:
        def __getattr__(self, attribute):
            return getattr(store.objects, attribute)

        def create(self, name, data):
            if name.startswith("records/"):
                store.objects.remove(f"blobs/{done.blob}")
            return store.objects.create(name, data)

    other = make_record(digest("b"), b"picture")
    assert KeyedStore(Raced()).put(other, b"picture") == other
    assert store.read(other) == b"picture"


@pytest.mark.parametrize(("age", "touched"), [(7200.0, True), (-7200.0, True), (60.0, False)])
def test_a_blob_that_a_new_record_comes_to_name_is_made_young(
    store, done, monkeypatch, age, touched
):
    """Of two hours by either clock; one of a minute is left as it is."""
    touches = []

    class Watched:
        def __getattr__(self, attribute):
            return getattr(store.objects, attribute)

        def touch(self, name):
            touches.append(name)
            return store.objects.touch(name)

    later = time.time() + age
    monkeypatch.setattr("flows.store.keyed.time.time", lambda: later)
    KeyedStore(Watched()).put(make_record(digest("b"), b"picture"), b"picture")
    assert touches == ([f"blobs/{done.blob}"] if touched else [])
