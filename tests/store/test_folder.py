"""A folder as a home: listing, versions, links, another disk below it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from flows.store import atomic
from flows.store.base import NameLeaves, StoreError
from flows.store.folder import LocalObjects

ELSEWHERE = Path("/dev/shm")  # noqa: S108 - another file system, where there is one


@pytest.fixture
def home(tmp_path) -> LocalObjects:
    return LocalObjects(tmp_path / "home")


def names(home, prefix) -> list[str]:
    return sorted(entry.name for entry in home.list(prefix))


def test_what_cannot_be_an_objects_name_is_not_listed(home):
    home.replace("blobs/a", b"")
    (home.root / "blobs" / "with\nbreak").write_text("")
    assert names(home, "blobs/") == ["blobs/a"]


def test_a_link_below_runs_leads_nowhere(home, tmp_path):
    home.replace("runs/a/x.png", b"")
    (home.root / "runs/a/out").symlink_to(tmp_path)
    (tmp_path / "secret").write_text("not yours")
    with pytest.raises(NameLeaves, match="through a link"):
        home.get("runs/a/out/secret")
    assert names(home, "runs/") == ["runs/a/x.png"]


def test_there_are_no_links_for_others(home):
    with pytest.raises(StoreError, match="use --links relative"):
        home.link("a", 60)


@pytest.fixture
def other_disk(home) -> Path:
    """A folder of another file system, linked into the home as ``runs``."""
    if ELSEWHERE.stat().st_dev == home.root.parent.stat().st_dev:
        pytest.skip("there is one file system only")
    with tempfile.TemporaryDirectory(dir=ELSEWHERE) as folder:
        home.root.mkdir()
        (home.root / "runs").symlink_to(folder)
        yield Path(folder)


def test_a_folder_may_lie_on_another_disk(home, other_disk):
    assert home.create("runs/a/x.png", b"one")
    assert not home.create("runs/a/x.png", b"two")
    home.replace("runs/a/x.png", b"three")
    assert (other_disk / "a/x.png").read_bytes() == b"three"
    assert names(home, "runs/") == ["runs/a/x.png"]
    assert home.remove("runs/a/x.png", home.stat("runs/a/x.png").version)
    assert list((other_disk / "a").iterdir()) == []


def test_what_is_given_back_after_a_race_is_there_once(home, monkeypatch):
    """The name changes hands between the look and the move: the newcomer keeps it."""
    home.replace("a", b"one")
    version = home.stat("a").version
    name = atomic.temporary_name

    def raced() -> str:
        monkeypatch.setattr(atomic, "temporary_name", name)
        home.replace("a", b"newcomer")
        return name()

    monkeypatch.setattr(atomic, "temporary_name", raced)
    assert not home.remove("a", version)
    assert home.get("a").data == b"newcomer"
    assert names(home, "") == ["a"]


def test_a_copy_that_fails_leaves_what_was_there(home, monkeypatch):
    home.create("a", b"new")
    home.create("b", b"old")

    def full(source, target):
        target.write(b"ne")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flows.store.atomic.shutil.copyfileobj", full)
    with pytest.raises(StoreError, match="free some space"):
        home.copy("a", "b")
    assert home.get("b").data == b"old"
    assert names(home, "tmp/") == []


def test_a_copy_is_no_link(home):
    home.create("a", b"one")
    home.copy("a", "b")
    assert (home.root / "a").stat().st_ino != (home.root / "b").stat().st_ino
