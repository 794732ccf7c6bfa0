"""Two people decide about one slot at once: one is applied, and the other told."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from flows.decisions.decided import Decided
from flows.decisions.decision import Slot
from flows.decisions.ledger import Refused, add, read_ledger
from flows.settings import Settings
from flows.store.address import open_store
from flows.store.local import LocalStore

ROUNDS = {"folder": 200, "s3": 50}  # a server takes its time
SLOT = Slot(recipe="board", label="chosen[shot=s1]")


@pytest.fixture(params=["folder", "s3"])
def stores(request, tmp_path):
    """Two clients of one store."""
    if request.param == "folder":
        return LocalStore(tmp_path / "out"), LocalStore(tmp_path / "out")
    place = request.getfixturevalue("s3_place")
    return tuple(open_store(place.url, Settings(s3=place.settings())) for _ in range(2))


def test_of_two_at_once_one_is_applied_and_the_other_told(stores, request):
    rounds = ROUNDS[request.node.callspec.params["stores"]]
    gate = threading.Barrier(2)

    def decide(who: str, number: int) -> str:
        store = stores[0 if who == "ann" else 1]
        made = Decided(None, "board", "board.yaml").make(
            "pick", SLOT, who, "text", key=f"{number:064x}", label="frame"
        )
        gate.wait()
        try:
            add(store.objects, made.model_copy(update={"number": number}))
        except Refused as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(2) as pool:
        for number in range(1, rounds + 1):
            told = list(pool.map(decide, ("ann", "bob"), (number, number)))
            assert sorted(map(bool, told)) == [False, True]
            winner = "ann" if told[1] else "bob"
            assert f"decided meanwhile: {winner} picked frame" in "".join(told)
    row = read_ledger(stores[1].objects, None, "board").of("hands", SLOT)
    assert [one.number for one in row] == list(range(1, rounds + 1))
