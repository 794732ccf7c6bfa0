"""``kontext gc --verify`` finds by reading what no run reads, and the next run makes it again."""

from __future__ import annotations

import json

import pytest

from flows.store.address import open_store
from flows.store.outputs import OutputStore
from flows.store.verify import verify

from .samples import WatchedEngine, make, product_plan, run


def ignore(what: str, done: int, total: int) -> None:
    """Tell nobody."""


@pytest.fixture(params=["folder", "s3"])
def home(request, tmp_path, products):
    where = tmp_path / "out"
    if request.param == "s3":
        where = request.getfixturevalue("s3_place").url
    plan = product_plan(products)
    run(plan, where)
    return plan, where, open_store(where)


def spoil(store, name: str) -> None:
    store.objects.replace(name, store.objects.get(name).data[:-1] + b"?")


def test_what_is_whole_is_read_and_stays(home):
    _, _, store = home
    found = verify(store, ignore)
    # Six pictures and three files of them, all of their records.
    assert (found.read, found.damaged) == (9 + 6 + 3, ())
    assert list(store.objects.list("quarantine/")) == []


@pytest.mark.parametrize("damage", ["spoilt", "missing", "record", "file", "file's record"])
def test_what_is_damaged_is_set_aside_and_made_again(home, damage):
    plan, _, store = home
    first = next(iter(plan.steps))
    (key,) = (one.name.partition("/")[2] for one in list(store.objects.list("outputs/"))[:1])
    file = next(
        found
        for step in plan.steps
        if (found := OutputStore(store).find(key, store.peek(step).blob)) is not None
    )
    blob = f"blobs/{store.peek(first).blob}"
    match damage:
        case "spoilt":
            spoil(store, blob)
        case "missing":
            store.objects.remove(blob)
        case "record":
            spoil(store, f"records/{first}")
        case "file":
            spoil(store, f"blobs/{file.blob}")
        case _:
            spoil(store, f"outputs/{key}")
    found = verify(store, ignore)
    assert 1 <= len(found.damaged) <= 2
    assert verify(store, ignore).damaged == ()
    engine = WatchedEngine()
    assert make(plan, store, engine=engine).counts["failed"] == 0
    assert [request.id for batch in engine.asked for request in batch] == (
        [] if "file" in damage else [first]
    )
    assert (verify(store, ignore).read, verify(store, ignore).damaged) == (18, ())


def test_the_verb_tells_and_its_exit_code_says_so(kontext, made, tmp_path):
    ended = kontext("real", "gc", "--verify")
    assert (ended.returncode, ended.stdout) == (0, "60 objects read, 0 of them damaged\n")
    blob = next((tmp_path / "out" / "blobs").iterdir())
    blob.write_bytes(b"rotten")
    ended = kontext("0", "gc", "--verify", "--json")
    told = json.loads(ended.stdout)
    assert ended.returncode == 1
    assert f"blobs/{blob.name}: has another digest than its name" in told["damaged"]
