"""Output files in a store: blob first, record last, of one picture, and no record that lies."""

from __future__ import annotations

import hashlib
import json

import pytest

from flows.store.outputs import (
    OutputRecord,
    OutputStore,
    decode_output_record,
    encode_output_record,
)
from flows.store.record import RecordError

from .samples import digest

PICTURE = digest("picture")


def record_of(data: bytes, name: str = "a", picture: str = PICTURE) -> OutputRecord:
    blob = hashlib.sha256(data).hexdigest()
    return OutputRecord(digest(name), digest("step"), picture, blob, len(data), "image/png")


def test_a_file_is_found_by_its_key_and_picture(store):
    outputs, record = OutputStore(store), record_of(b"file")
    assert outputs.find(record.key, PICTURE) is None
    assert outputs.put(record, b"file") == record
    assert outputs.find(record.key, PICTURE) == record
    assert store.objects.get(f"blobs/{record.blob}").data == b"file"
    assert outputs.find(record.key, digest("another picture")) is None
    asked = [(record.key, PICTURE), (digest("b"), PICTURE)]
    assert list(outputs.find_all(asked)) == [(asked[0], record), (asked[1], None)]


def test_the_first_writer_keeps_the_name(store):
    outputs, first, second = OutputStore(store), record_of(b"first"), record_of(b"second")
    outputs.put(first, b"first")
    assert outputs.put(second, b"second") == first
    assert outputs.find(first.key, PICTURE) == first


def test_a_record_of_another_picture_gives_way(store):
    outputs = OutputStore(store)
    outputs.put(record_of(b"old", picture=digest("old picture")), b"old")
    new = record_of(b"new")
    assert outputs.put(new, b"new") == new
    assert outputs.find(new.key, PICTURE) == new


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"schema": "kontext.record"}'])
def test_what_is_no_record_gives_way(store, data):
    outputs, record = OutputStore(store), record_of(b"file")
    store.objects.replace(f"outputs/{record.key}", data)
    assert outputs.find(record.key, PICTURE) is None
    assert outputs.put(record, b"file") == record


def test_a_file_that_is_gone_or_cut_is_written_again(store):
    outputs, record = OutputStore(store), record_of(b"file")
    outputs.put(record, b"file")
    for spoil in (
        store.objects.remove,
        lambda name: store.objects.replace(name, b"fil"),
    ):
        spoil(f"blobs/{record.blob}")
        assert outputs.find(record.key, PICTURE) is None
        assert outputs.put(record, b"file") == record
        assert store.objects.get(f"blobs/{record.blob}").data == b"file"


def test_one_that_proved_damaged_is_discarded_unless_it_was_made_anew(store):
    outputs, old = OutputStore(store), record_of(b"old")
    outputs.put(old, b"old")
    outputs.discard(record_of(b"another"))
    assert outputs.find(old.key, PICTURE) == old
    outputs.discard(old)
    assert outputs.find(old.key, PICTURE) is None
    outputs.discard(old)


def test_a_record_must_name_its_file(store):
    with pytest.raises(ValueError, match="does not name the blob"):
        OutputStore(store).put(record_of(b"one"), b"two")
    with pytest.raises(ValueError, match="expected a SHA-256"):
        OutputStore(store).find("../x", PICTURE)


def test_a_record_is_read_as_it_was_written():
    record = record_of(b"file")
    assert decode_output_record(encode_output_record(record), record.key) == record


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"schema": "x"}, "is not a kontext.output"),
        ({"version": 2}, "has version 2, expected 1"),
        ({"blob": "x"}, "no right 'blob'"),
        ({"picture": None}, "no right 'picture'"),
        ({"size": "4"}, "no right 'size'"),
        ({"size": True}, "no right 'size'"),
        ({"media_type": 1}, "no right 'media_type'"),
        ({"key": digest("b")}, "belongs to key"),
    ],
)
def test_what_it_must_say(change, why):
    record = record_of(b"file")
    data = json.dumps(json.loads(encode_output_record(record)) | change).encode()
    with pytest.raises(RecordError, match=why):
        decode_output_record(data, record.key)
