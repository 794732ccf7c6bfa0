"""What every home does with objects: a folder, a real server, a server without conditions."""

from __future__ import annotations

import os
import time

import pytest


@pytest.fixture
def objects(store):
    return store.objects


def names(objects, prefix="") -> list[str]:
    return sorted(entry.name for entry in objects.list(prefix))


@pytest.mark.parametrize("data", [b"one", b""])
def test_an_object_is_what_was_written(objects, data):
    assert objects.get("records/a") is None
    assert objects.stat("records/a") is None
    assert objects.create("records/a", data)
    held, entry = objects.get("records/a"), objects.stat("records/a")
    assert held.data == data
    assert (entry.name, entry.size, entry.version) == ("records/a", len(data), held.version)
    assert abs(entry.modified - time.time()) < 60
    assert list(objects.list("records/")) == [entry]


def test_a_taken_name_stays_until_it_is_replaced(objects):
    assert objects.create("a", b"one")
    assert not objects.create("a", b"two")
    assert objects.get("a").data == b"one"
    first = objects.stat("a")
    objects.replace("a", b"three")
    assert objects.get("a").data == b"three"
    assert objects.stat("a").version != first.version


def test_only_the_version_asked_for_is_removed(objects):
    objects.create("a", b"one")
    old = objects.stat("a").version
    objects.replace("a", b"two")
    assert not objects.remove("a", old)
    assert objects.get("a").data == b"two"
    assert objects.remove("a", objects.stat("a").version)
    assert objects.get("a") is None
    assert not objects.remove("a")
    objects.create("a", b"three")
    assert objects.remove("a")
    assert set(names(objects)) <= {"tmp/lock"}


def test_a_touch_makes_young_and_changes_nothing_else(objects):
    objects.create("a", b"one")
    before = objects.stat("a")
    time.sleep(1.1)  # a server tells whole seconds
    assert objects.touch("a")
    after = objects.stat("a")
    assert after.modified > before.modified
    assert objects.get("a").data == b"one"
    assert not objects.remove("a", before.version)  # as a clean-up would that looked before
    assert not objects.touch("none")


def test_a_listing_has_everything_below_and_nothing_beside(objects):
    for name in ("runs/a/report.html", "runs/a/x/y.png", "runs/ab/report.html", "gc.lock"):
        objects.replace(name, name.encode())
    assert names(objects, "runs/a/") == ["runs/a/report.html", "runs/a/x/y.png"]
    assert names(objects, "runs/a") == [*names(objects, "runs/a/"), "runs/ab/report.html"]
    assert names(objects) == ["gc.lock", *names(objects, "runs/")]
    assert names(objects, "nowhere/") == []
    assert sorted(objects.folders("runs/")) == ["a", "ab"]
    assert list(objects.folders("nowhere/")) == []


@pytest.mark.parametrize("size", [0, 20, 3_000_000])
def test_a_copy_is_whole_and_of_its_own(objects, size):
    data = os.urandom(size)
    objects.create("blobs/a", data)
    before = objects.stat("blobs/a")
    for target in ("runs/r/deep/out.png", "copies/b", "runs/r/ö &=+%2F.png"):
        assert objects.copy("blobs/a", target)
        assert objects.get(target).data == data
    assert objects.stat("blobs/a") == before
    objects.replace("copies/b", b"another")
    assert objects.get("blobs/a").data == data
    assert objects.copy("copies/b", "runs/r/deep/out.png")  # over what is there
    assert objects.get("runs/r/deep/out.png").data == b"another"
    assert objects.copy("blobs/a", "blobs/a")
    objects.remove("blobs/a")
    assert objects.get("copies/b").data == b"another"
    objects.replace("blobs/a b%20+ü#?", b"x")
    assert objects.copy("blobs/a b%20+ü#?", "copies/x")
    assert objects.get("copies/x").data == b"x"


def test_without_a_source_there_is_no_copy(objects):
    objects.create("runs/r/out.png", b"before")
    assert not objects.copy("blobs/a", "runs/r/out.png")
    assert not objects.copy("blobs/a", "copies/a")
    assert objects.get("runs/r/out.png").data == b"before"
    assert objects.get("copies/a") is None
    assert set(names(objects, "tmp/")) <= {"tmp/lock"}


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "../a", "a/../b", "a//b", "a\\b", "a\nb", "x" * 901, "./a"]
)
def test_no_name_leaves_the_home(objects, name):
    for act in (
        objects.get,
        objects.stat,
        objects.remove,
        objects.touch,
        lambda at: objects.create(at, b""),
        lambda at: objects.replace(at, b""),
        lambda at: objects.copy(at, "b"),
        lambda at: objects.copy("a", at),
    ):
        with pytest.raises(ValueError, match="cannot name an object"):
            act(name)
