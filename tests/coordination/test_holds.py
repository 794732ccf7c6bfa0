"""What a run under way claims: its steps, and the pictures that it begins with."""

from __future__ import annotations

import pytest

from flows.coordination.holds import Holds
from flows.coordination.ledger import Ledger
from flows.coordination.sources import sources_of
from flows.store.claims import read_claims
from flows.store.local import LocalStore

from ..run.samples import draw_picture, product_plan
from .town import Town


@pytest.mark.parametrize("how", ["ordered", "adopted"])
def test_a_claim_names_the_source_pictures_too(tmp_path, how):
    town = Town(LocalStore(tmp_path / "out"))
    pictures = [draw_picture(tmp_path / f"in/p{n}.png", n) for n in range(3)]
    order, plan = town.order(product_plan(pictures))
    objects = town.store.objects
    holds = Holds(objects)
    if how == "ordered":
        holds.hold(order.run, plan)
    else:
        holds.adopt(Ledger(objects))
    [claim], _ = read_claims(objects)
    digests = {ref.digest for ref in sources_of(plan)}
    assert len(digests) == 3
    assert claim.keys == digests | set(plan.steps)
    holds.release_all()
