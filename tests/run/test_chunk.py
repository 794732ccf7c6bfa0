"""Chunks: connected pieces, their names, groups that batch well."""

from __future__ import annotations

from dataclasses import replace

from flows.chunk import Chunk, cut_chunks, group_chunks, rank

from .samples import PlanMaker, product_plan, ten_products


def names(plan, keys) -> list[str]:
    return [plan.steps[key].label for key in keys]


def test_a_chain_is_one_chunk(tmp_path):
    plan = product_plan(ten_products(tmp_path)[:2])
    chunks = cut_chunks(plan, plan.steps)
    assert [names(plan, chunk.keys) for chunk in chunks] == [
        ["place[product=p0]", "snow[product=p0]"],
        ["place[product=p1]", "snow[product=p1]"],
    ]


def test_a_step_with_two_parents_joins_their_chains():
    maker = PlanMaker()
    left, right = (maker.step("make", name, [], name) for name in ("left", "right"))
    maker.step("other", "other", [], "other")
    maker.step("both", "both", [left, right], "both")
    plan = maker.plan()
    chunks = [names(plan, chunk.keys) for chunk in cut_chunks(plan, plan.steps)]
    assert chunks == [["make[left]", "make[right]", "both[both]"], ["other[other]"]]


def test_what_is_done_connects_nothing():
    maker = PlanMaker()
    root = maker.step("root", "root", [], "root")
    for name in ("a", "b"):
        maker.step("leaf", name, [root], name)
    plan = maker.plan()
    assert len(cut_chunks(plan, plan.steps)) == 1
    missing = [key for key in plan.steps if key != root.key]
    assert [len(chunk.keys) for chunk in cut_chunks(plan, missing)] == [1, 1]
    assert cut_chunks(plan, []) == ()


def test_a_long_chain_does_not_overflow():
    maker = PlanMaker()
    last = maker.step("s", "0", [], "0")
    for number in range(1, 3000):
        last = maker.step("s", str(number), [last], str(number))
    plan = maker.plan()
    (chunk,) = cut_chunks(plan, plan.steps)
    assert chunk.keys == tuple(plan.steps)


def test_groups_gather_chunks_that_look_alike_until_they_are_wide_enough():
    maker = PlanMaker()
    for number in range(6):
        maker.step("s", str(number), [], str(number), steps=4 if number % 2 else 8)
    plan = maker.plan()
    groups = list(group_chunks(plan, cut_chunks(plan, plan.steps), width=2))
    assert [len(group) for group in groups] == [2, 2, 2]
    found = [{plan.steps[key].params.steps for key in group} for group in groups]
    assert found == [{4}, {4, 8}, {8}]


def loose_steps(number: int, **params) -> PlanMaker:
    maker = PlanMaker()
    for at in range(number):
        maker.step("s", str(at), [], str(at), **params)
    return maker


def test_a_chunk_is_known_by_its_steps():
    plan = loose_steps(40).plan()
    first, again = (cut_chunks(plan, plan.steps) for _ in range(2))
    assert [chunk.id for chunk in first] == [chunk.id for chunk in again]
    assert len({chunk.id for chunk in first}) == len(first)
    assert Chunk(first[0].keys, ("x",), 3.0, ("an output",)).id == first[0].id


def test_a_chunk_without_steps_is_known_by_its_outputs():
    assert Chunk((), outputs=("a",)).id != Chunk((), outputs=("b",)).id
    assert Chunk((), outputs=("a",)).id == Chunk((), ("x",), 1.0, ("a",)).id


def test_rank_puts_the_urgent_first_then_models_then_shapes():
    small, large = loose_steps(1, steps=4).plan(), loose_steps(1, steps=8).plan()
    other = replace(large, model=replace(large.model, name="a model"))

    def ranked(plan, priority=0):
        (chunk,) = cut_chunks(plan, plan.steps)
        return rank(plan, chunk, priority)

    line = sorted([ranked(small), ranked(other), ranked(large), ranked(large, 5)])
    assert line == [ranked(large, 5), ranked(other), ranked(small), ranked(large)]
