"""Source pictures in the store: once, unread where they are; one that is gone stops no other."""

from __future__ import annotations

import os
import time

import pytest

from flows.run import sources
from flows.run.sources import put_sources, sources_of

from .samples import draw_picture, product_plan


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    names: list[str] = []
    real = sources.read_source
    monkeypatch.setattr(sources, "read_source", lambda ref: names.append(ref.file) or real(ref))
    return names


def blob(store, ref):
    return store.root / "blobs" / ref.digest


def test_each_source_is_put_once_and_then_found_unread(store, products, opened):
    plan = product_plan(products)
    assert put_sources(plan, store) == {}
    for path, ref in zip(products, sources_of(plan), strict=True):
        assert blob(store, ref).read_bytes() == path.read_bytes()
    assert sorted(opened) == ["p0.png", "p1.png", "p2.png"]
    assert put_sources(plan, store) == {}
    assert len(opened) == 3


def test_an_old_one_is_made_young_again(store, products, opened):
    plan = product_plan(products[:1])
    put_sources(plan, store)
    (ref,) = sources_of(plan)
    os.utime(blob(store, ref), (0, 0))
    put_sources(plan, store)
    assert time.time() - blob(store, ref).stat().st_mtime < 60
    assert len(opened) == 1


def test_one_that_was_cut_is_put_again(store, products):
    plan = product_plan(products[:1])
    put_sources(plan, store)
    (ref,) = sources_of(plan)
    blob(store, ref).write_bytes(b"cut")
    assert put_sources(plan, store) == {}
    assert blob(store, ref).read_bytes() == products[0].read_bytes()


def test_those_that_cannot_be_put_are_told_and_the_others_are(store, products):
    plan = product_plan(products)
    gone, changed, sound = sources_of(plan)
    products[0].unlink()
    draw_picture(products[1], 99)
    problems = put_sources(plan, store)
    assert problems.keys() == {gone.digest, changed.digest}
    assert problems[gone.digest] == (
        "p0.png (input 'product'): the file is gone; put it back, then run again"
    )
    assert "the file changed while the run was going on" in problems[changed.digest]
    assert blob(store, sound).is_file()
    assert not blob(store, gone).exists()


def test_one_that_is_gone_but_was_put_before_is_there(store, products):
    plan = product_plan(products)
    put_sources(plan, store)
    products[0].unlink()
    assert put_sources(plan, store) == {}
