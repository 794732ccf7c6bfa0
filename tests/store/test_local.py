"""The local store: damage, full disks, missing rights, file systems without hard links."""

from __future__ import annotations

import errno
import json
import os
import time

import pytest

from flows.store import atomic
from flows.store.base import BlobDamaged, StoreError, StoreFull, StoreReadOnly, StoreUnfit
from flows.store.local import LocalStore

from .samples import digest, make_record

KEY = digest("a")


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "store")


@pytest.fixture
def done(store):
    record = make_record(KEY, b"picture")
    store.put(record, b"picture")
    return record


def quarantined(store) -> dict[str, str]:
    notes = sorted((store.root / "quarantine").glob("*.json"))
    return {note["kind"]: note["why"] for note in (json.loads(path.read_text()) for path in notes)}


def names(store, folder) -> list[str]:
    return sorted(path.name for path in (store.root / folder).iterdir())


def test_layout(store, done):
    assert names(store, "records") == [KEY]
    assert names(store, "blobs") == [done.blob]
    assert names(store, "tmp") == []


def test_reading_makes_no_folder(store):
    assert store.find(KEY) is None
    assert not store.root.exists()


@pytest.mark.parametrize("data", [b"", b"{", b'{"schema": "kontext.record", "version": 1}'])
def test_a_damaged_record_is_set_aside_and_remade(store, done, data):
    (store.root / "records" / KEY).write_bytes(data)
    assert not store.has(KEY)
    assert store.find(KEY) is None
    assert names(store, "records") == []
    assert "the record" in quarantined(store)["record"]
    assert store.put(done, b"picture") == done


def test_a_damaged_blob_is_set_aside_with_its_record(store, done):
    (store.root / "blobs" / done.blob).write_bytes(b"picturf")
    assert store.find(KEY) is None
    assert names(store, "records") == names(store, "blobs") == []
    assert quarantined(store) == {
        "blob": "another digest",
        "record": "the blob has another digest than its name",
    }
    assert store.put(done, b"picture") == done
    assert store.find(KEY) == done


def test_a_missing_blob_means_not_done(store, done):
    (store.root / "blobs" / done.blob).unlink()
    assert store.find(KEY) is None
    assert quarantined(store) == {"record": "the blob is missing"}


def test_reading_a_damaged_blob_says_so(store, done):
    (store.root / "blobs" / done.blob).write_bytes(b"")
    with pytest.raises(BlobDamaged, match=r"the picture of 'beach\[product=shoe\]' has another"):
        store.read(done)


def test_put_heals_a_damaged_blob_without_a_record(store, done):
    (store.root / "records" / KEY).unlink()
    (store.root / "blobs" / done.blob).write_bytes(b"torn")
    store.put(done, b"picture")
    assert store.read(done) == b"picture"


def test_put_over_a_damaged_record_wins(store, done):
    (store.root / "records" / KEY).write_bytes(b"torn")
    mine = make_record(KEY, b"mine")
    assert store.put(mine, b"mine") == mine
    assert store.find(KEY) == mine


def test_a_sound_file_that_took_the_place_is_given_back(store, done, monkeypatch):
    """Another process replaces the damaged record between our look and our move."""
    path = store.root / "records" / KEY
    sound = path.read_bytes()
    path.write_bytes(b"torn")
    rename = type(path).rename

    def raced(self, target):
        if self == path:
            path.write_bytes(sound)
        return rename(self, target)

    monkeypatch.setattr(type(path), "rename", raced)
    assert store.find(KEY) is None
    monkeypatch.undo()
    assert store.find(KEY) == done


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("allowed", [0, 1])
def test_a_full_disk_is_named_and_leaves_nothing_half_written(
    store, done, monkeypatch, number, allowed
):
    """The disk fills at the blob (0 files still fit) or at the record (1 does)."""
    written = []

    def fill(descriptor, data):
        written.append(len(data))
        if len(written) > allowed:
            os.write(descriptor, data[: len(data) // 2])
            raise OSError(number, os.strerror(number))
        os.write(descriptor, data)

    monkeypatch.setattr(atomic, "write_all", fill)
    other = make_record(digest("b"), b"another")
    with pytest.raises(StoreFull) as caught:
        store.put(other, b"another")
    assert str(caught.value) == (
        f"{store.root}: {os.strerror(number).lower()}; free some space or choose another --store, "
        "then run again: everything stored so far is kept"
    )
    assert names(store, "records") == [KEY]
    assert names(store, "tmp") == []
    assert len(names(store, "blobs")) == 1 + allowed
    monkeypatch.undo()
    assert store.put(other, b"another") == other


def test_a_place_that_refuses_writing_is_named(store, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreReadOnly, match=r"cannot be used \(permission denied\); make the"):
        store.put(make_record(KEY, b"x"), b"x")


def test_damage_in_a_store_that_cannot_be_written_is_just_not_done(store, done, monkeypatch):
    (store.root / "records" / KEY).write_bytes(b"torn")

    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(type(store.root), "rename", refuse)
    assert store.find(KEY) is None


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "store").write_text("I was here first")
    with pytest.raises(StoreError, match=r"a file is in the way of a folder"):
        LocalStore(tmp_path / "store").put(make_record(KEY, b"x"), b"x")


@pytest.fixture
def no_links(monkeypatch):
    def refuse(source, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


def test_without_hard_links_the_first_writer_still_wins(store, no_links):
    first, second = make_record(KEY, b"first"), make_record(KEY, b"second")
    assert store.put(first, b"first") == first
    assert store.put(second, b"second") == first
    assert store.read(first) == b"first"
    assert names(store, "tmp") == ["lock"]


def test_without_links_and_locks_the_place_is_refused(store, no_links, monkeypatch):
    def refuse(handle, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(atomic.fcntl, "flock", refuse)
    with pytest.raises(StoreUnfit, match="neither hard links nor locks"):
        store.put(make_record(KEY, b"x"), b"x")
    assert store.find(KEY) is None


def test_only_files_of_the_dead_and_the_forgotten_are_cleaned(store, done):
    scratch = store.root / "tmp"
    dead = 2**22 + 1  # above the kernel's largest pid
    hour, days = 3600, 3 * 24 * 3600
    cases = {  # name: (age in seconds, stays)
        f"{atomic._host()}-{dead}-aa": (hour, False),
        f"{atomic._host()}-{dead}-bb": (1, True),
        f"{atomic._host()}-{os.getpid()}-cc": (hour, True),
        f"{atomic._host()}-{os.getpid()}-dd": (days, False),
        f"0badf00d-{dead}-ee": (hour, True),
        f"0badf00d-{dead}-ff": (days, False),
        "somebody's notes": (days, True),
    }
    for name, (age, _) in cases.items():
        (scratch / name).write_bytes(b"")
        os.utime(scratch / name, (time.time() - age,) * 2)
    LocalStore(store.root).put(make_record(digest("b"), b"b"), b"b")
    assert names(store, "tmp") == sorted(name for name, (_, stays) in cases.items() if stays)
