"""Compare-and-swap of small objects: in a folder, on a real server, and when answers are lost."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import itertools
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from flows.settings import Settings
from flows.store import atomic, folder_cells, s3_cells
from flows.store import s3_place as s3_place_module
from flows.store.address import open_cells, open_objects
from flows.store.base import StoreAway, StoreReadOnly, StoreUnfit
from flows.store.cells import CellChanged, Cells, Sight
from flows.store.s3_cells import S3Cells

from ..servers.careless import Careless
from ..servers.faults import Answer, CutDownload, EmptyAnswer, Hang, LoseAnswer, SpoilDownload
from ..servers.fixtures import Place, set_environment
from ..servers.seaweed import NOBODY, READER

NAME = "leases/parents/a"
WRITERS = 8


def cells_at(place: Place, **changes) -> S3Cells:
    return S3Cells(place.bucket, place.prefix, place.settings(**changes))


@pytest.fixture
def where(request, tmp_path) -> str:
    kind = getattr(request, "param", "local")
    return str(tmp_path / "store") if kind == "local" else request.getfixturevalue("s3_place").url


both = pytest.mark.parametrize("where", ("local", "s3"), indirect=True)


@pytest.fixture
def cells(where) -> Cells:
    made = open_cells(where)
    made.prepare()
    return made


@both
def test_preparing_leaves_nothing_behind(where):
    for _ in range(2):
        open_cells(where).prepare()
    left = {entry.name for entry in open_objects(where).list("")}
    assert left <= {"tmp/cells.lock"}


@both
def test_what_is_not_there_is_absent(cells):
    assert cells.read(NAME) is None
    assert cells.list("leases/") == {}
    with pytest.raises(CellChanged):
        cells.write(NAME, b"x", '"0123"')
    with pytest.raises(CellChanged):
        cells.drop(NAME, '"0123"')
    assert cells.read(NAME) is None


@both
def test_one_spelling_of_a_version_everywhere(cells):
    version = cells.write(NAME, b"one")
    assert cells.read(NAME).version == version
    assert cells.list("leases/") == {NAME: Sight(version, 3)}
    changed = cells.write(NAME, b"four", version)
    assert changed != version
    assert cells.list("leases/par") == {NAME: Sight(changed, 4)}
    assert cells.list("leases/x") == {}
    cells.drop(NAME, changed)
    assert cells.read(NAME) is None
    assert cells.list("leases/") == {}


@both
def test_a_taken_name_and_an_old_version_are_refused(cells):
    first = cells.write(NAME, b"one")
    second = cells.write(NAME, b"two", first)
    for version in (None, first):
        with pytest.raises(CellChanged):
            cells.write(NAME, b"three", version)
    with pytest.raises(CellChanged):
        cells.drop(NAME, first)
    held = cells.read(NAME)
    assert (held.data, held.version) == (b"two", second)


@both
@pytest.mark.parametrize("name", ["", "../x", "/x", "leases//x", "leases/../../x"])
def test_no_name_leaves_the_store(cells, name):
    for ask in (cells.read, lambda at: cells.write(at, b""), lambda at: cells.drop(at, "v")):
        with pytest.raises(ValueError, match="cannot name an object"):
            ask(name)


@pytest.mark.parametrize(("where", "rounds"), [("local", 40), ("s3", 8)], indirect=["where"])
def test_of_eight_writers_of_one_version_one_wins(where, rounds):
    homes = [open_cells(where) for _ in range(WRITERS)]
    version = homes[0].write(NAME, b"0")
    start = threading.Barrier(WRITERS)

    def write(writer: int, turn: int, seen: str) -> str | None:
        start.wait(60)
        try:
            return homes[writer].write(NAME, f"{writer} in {turn}".encode(), seen)
        except CellChanged:
            return None

    winners = set()
    with ThreadPoolExecutor(WRITERS) as pool:
        for turn in range(rounds):
            told = list(pool.map(write, range(WRITERS), [turn] * WRITERS, [version] * WRITERS))
            (won,) = [number for number, new in enumerate(told) if new is not None]
            version = told[won]
            held = homes[0].read(NAME)
            assert (held.data, held.version) == (f"{won} in {turn}".encode(), version)
            winners.add(won)
    assert len(winners) > 1  # it was a race


@pytest.mark.parametrize(("where", "writers"), [("local", 8), ("s3", 3)], indirect=["where"])
def test_of_those_that_take_and_free_a_name_one_has_it_at_a_time(where, writers):
    homes = [open_cells(where) for _ in range(writers)]
    for home in homes:
        home.prepare()
    words, at_once = itertools.count(), []
    holders: list[int] = []

    def work(writer: int) -> None:
        took = 0
        while took < 4:
            try:
                version = homes[writer].write(NAME, f"{writer} {next(words)}".encode())
            except CellChanged:
                continue
            holders.append(writer)
            at_once.append(len(holders))
            holders.remove(writer)
            homes[writer].drop(NAME, version)
            took += 1

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(work, range(writers)))
    assert at_once == [1] * (4 * writers)
    assert homes[0].list("leases/") == {}


def test_a_listing_goes_on_past_its_pages(s3_place, monkeypatch):
    monkeypatch.setattr(s3_place_module, "PAGE", 3)
    cells = cells_at(s3_place)
    for number in range(10):
        cells.write(f"leases/{number}", str(number).encode())
    cells.write("verdicts/x", b"1")
    assert set(cells.list("leases/")) == {f"leases/{number}" for number in range(10)}


# Servers that do not keep what several workers need.


@pytest.mark.parametrize("conditions", ["ignored", "racy", "creates"])
def test_a_server_without_conditions_is_unfit(monkeypatch, conditions):
    with Careless(conditions=conditions) as server:
        set_environment(monkeypatch, server.endpoint)
        cells = cells_at(Place(server.endpoint, server.bucket, "h"))
        with pytest.raises(StoreUnfit, match="several workers need a server that keeps") as told:
            cells.prepare()
        assert "\n" not in str(told.value)
        assert server.things == {}


@pytest.mark.parametrize("status", [501, 405])
def test_a_server_that_knows_no_conditions_is_unfit(faulty_place, faults, status):
    faults.harm(Answer(status, "NotImplemented"), "PUT", times=None)
    with pytest.raises(StoreUnfit, match="does not know conditions of a write"):
        cells_at(faulty_place).prepare()


def test_without_conditional_delete_an_empty_object_is_left(monkeypatch):
    with Careless(conditions="puts") as server:
        set_environment(monkeypatch, server.endpoint)
        cells = cells_at(Place(server.endpoint, server.bucket, "h"))
        cells.prepare()
        assert server.things == {}
        frees_by_emptying(cells)


def test_where_conditional_delete_is_refused_too(faulty_place, faults):
    cells = cells_at(faulty_place)
    faults.harm(Answer(501, "NotImplemented"), "DELETE", "tmp/probe-", times=1)
    cells.prepare()
    assert len(faults.harmed()) == 1
    frees_by_emptying(cells)


def test_who_has_not_tried_the_server_frees_as_every_server_can(s3_place):
    frees_by_emptying(cells_at(s3_place))


@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
def test_settings_are_those_given(tmp_path, s3_place, checksums):
    cells = open_cells(s3_place.url, Settings(s3=s3_place.settings(checksums=checksums)))
    assert cells.where == s3_place.url
    assert open_cells(tmp_path).where == str(tmp_path)
    assert cells.read(NAME) is None
    version = cells.write(NAME, b"one")
    assert cells.read(NAME).version == version


def frees_by_emptying(cells: Cells) -> None:
    first = cells.write(NAME, b"one")
    second = cells.write(NAME, b"two", first)
    with pytest.raises(CellChanged):
        cells.drop(NAME, first)
    cells.drop(NAME, second)
    assert cells.read(NAME).data == b"{}"
    assert cells.list("leases/")[NAME].size == 2


# What is no answer.

DEEDS = {
    "read": ("GET", lambda cells, version: cells.read(NAME)),
    "write": ("PUT", lambda cells, version: cells.write(NAME, b"two", version)),
    "drop": ("DELETE", lambda cells, version: cells.drop(NAME, version)),
    "list": ("GET", lambda cells, version: cells.list("leases/")),
}
SILENCES = {
    "lost": LoseAnswer(),
    "hanging": Hang(),
    "cut": CutDownload(),
    "empty": EmptyAnswer(),
    "busy": Answer(503, "SlowDown"),
    "denied": Answer(403, "AccessDenied"),
    "no bucket": Answer(404, "NoSuchBucket"),
    "a proxy's page": Answer(404, "NotFound"),
    "full": Answer(507, "InsufficientStorage"),
}


def grow_hasty(cells: S3Cells) -> None:
    """From here on an answer is given up soon: only where none will come, for any may be late."""
    short = cells._place.settings.model_copy(update={"read_timeout": 1.5})
    cells._place = dataclasses.replace(cells._place, settings=short)


@pytest.fixture
def beyond(faulty_place, faults, monkeypatch):
    """By way of the proxy; and the version of an object there."""
    monkeypatch.setattr(s3_cells, "RACES", 1)  # the server is raced for by other tests
    cells = cells_at(faulty_place)
    cells.prepare()
    version = cells.write(NAME, b"one")
    faults.requests.clear()
    return cells, version


@pytest.mark.parametrize("silence", SILENCES)
@pytest.mark.parametrize("deed", DEEDS)
def test_silence_is_told_and_nothing_is_tried_again(beyond, faults, deed, silence):
    cells, version = beyond
    method, act = DEEDS[deed]
    if (deed, silence) in {("drop", "empty"), ("drop", "cut"), ("write", "cut")}:
        pytest.skip("there is nothing in this answer that could be missing")
    if silence == "hanging":
        grow_hasty(cells)
    faults.harm(SILENCES[silence], method)
    with pytest.raises(StoreAway, match="s3://"):
        act(cells, version)
    assert len(faults.requests) == 1


@pytest.mark.parametrize(
    "answer", [Answer(409, "ConditionalRequestConflict"), Answer(412, "PreconditionFailed")]
)
def test_a_conflict_is_an_answer(beyond, faults, answer):
    cells, version = beyond
    for act in (DEEDS["write"][1], DEEDS["drop"][1]):
        faults.harm(answer)
        with pytest.raises(CellChanged):
            act(cells, version)


def test_a_change_whose_answer_was_lost_can_be_read(beyond, faults):
    cells, version = beyond
    faults.harm(LoseAnswer(), "PUT")
    with pytest.raises(StoreAway):
        cells.write(NAME, b"two", version)
    held = cells.read(NAME)
    assert held.data == b"two"
    faults.harm(LoseAnswer(), "DELETE")
    with pytest.raises(StoreAway):
        cells.drop(NAME, held.version)
    assert cells.read(NAME) is None


def test_no_server_is_away_soon(s3_place):
    nowhere = dataclasses.replace(s3_place, endpoint="http://127.0.0.1:1")
    for ask in (DEEDS["read"][1], DEEDS["write"][1], DEEDS["list"][1], lambda c, _: c.prepare()):
        with pytest.raises(StoreAway, match="cannot be reached"):
            ask(cells_at(nowhere), None)


def test_time_outs_are_short_whatever_the_settings_say(s3_place):
    settings = cells_at(s3_place, connect_timeout=60.0, read_timeout=600.0)._place.settings
    assert (settings.connect_timeout, settings.read_timeout) == (3.0, 10.0)
    assert s3_place.settings(read_timeout=600.0).read_timeout == 600.0


@pytest.mark.parametrize("identity", [READER, NOBODY], ids=["reader", "nobody"])
def test_without_a_right_nothing_is_known(s3_place, become, identity):
    become(identity)
    with pytest.raises(StoreAway, match=r"s3:PutObject|credentials"):
        cells_at(s3_place).prepare()


# Folders.


def test_a_folder_without_locks_is_unfit(tmp_path, monkeypatch):
    def none(descriptor, how):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(StoreUnfit, match="no locks"):
        open_cells(tmp_path / "store").prepare()


def test_a_folder_whose_locks_hold_nobody_off_is_unfit(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda descriptor, how: None)
    with pytest.raises(StoreUnfit, match="grants one lock twice"):
        open_cells(tmp_path / "store").prepare()


def test_a_lock_that_is_held_for_long_is_silence(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_cells, "ANSWER", 0.05)
    cells = open_cells(tmp_path / "store")
    monkeypatch.setattr(cells, "_locked", lambda: held(tmp_path, 0.05))
    version = None
    with held(tmp_path, -1):
        for ask in (lambda: cells.write(NAME, b"1", version), lambda: cells.drop(NAME, "v")):
            with pytest.raises(StoreAway, match="another process holds its lock"):
                ask()
    assert cells.write(NAME, b"1")


def held(tmp_path, patience):
    (tmp_path / "store" / "tmp").mkdir(parents=True, exist_ok=True)
    lock = tmp_path / "store" / "tmp" / "cells.lock"
    return atomic.locked(lock, tmp_path, "no locks", patience)


def test_a_folder_whose_disk_went_is_away_and_not_empty(tmp_path):
    root = tmp_path / "store"
    cells = open_cells(root)
    cells.prepare()
    version = cells.write(NAME, b"one")
    root.rename(tmp_path / "unmounted")
    for remade in (False, True):
        if remade:
            root.mkdir()
        asks = (cells.read, cells.list, lambda at: cells.write(at, b"2", version))
        for ask in asks:
            with pytest.raises(StoreAway):
                ask(NAME)
    shutil.rmtree(root)
    (tmp_path / "unmounted").rename(root)
    assert cells.read(NAME).version == version


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told_at_the_start_and_away_later(tmp_path):
    root = tmp_path / "store"
    cells = open_cells(root)
    cells.prepare()
    version = cells.write(NAME, b"one")
    for folder in (root, root / "tmp", root / "leases" / "parents"):
        folder.chmod(0o500)
    try:
        with pytest.raises(StoreAway, match="readable and writable"):
            cells.write(NAME, b"two", version)
        with pytest.raises(StoreReadOnly):
            open_cells(root).prepare()
    finally:
        for folder in (root, root / "tmp", root / "leases" / "parents"):
            folder.chmod(0o700)


def test_a_new_file_in_a_freed_inode_is_another_version(tmp_path, monkeypatch):
    """Where the file system's own clock tells such files apart by nothing."""
    write = atomic.write_temporary

    def at_one_moment(data, scratch):
        made = write(data, scratch)
        os.utime(made, (1, 1))
        return made

    monkeypatch.setattr(atomic, "write_temporary", at_one_moment)
    cells, seen = open_cells(tmp_path / "store"), set()
    for number in range(200):
        version = cells.write(NAME, f"{number:03}".encode())
        assert version not in seen
        seen.add(version)
        cells.drop(NAME, version)


def test_a_spoilt_answer_is_never_taken_for_absence(beyond, faults):
    cells, _ = beyond
    faults.harm(SpoilDownload(), "GET")
    with contextlib.suppress(StoreAway):
        assert cells.read(NAME) is not None
