"""Chunks: connected pieces, groups that batch well, pieces worth a minute by measured times."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from PIL import Image

from flows.chunk import COUNT, MOST, Chunk, cut_chunks, group_chunks, pack_chunks, rank
from flows.execution.provenance import new_record
from flows.execution.sizing import RECENT, StepTimes, chunk_seconds
from flows.recipe.step import ParentStep, Step, StepParams
from kontext_engine.api import EditResult
from kontext_engine.geometry import Size, plan_geometry

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


def seconds_by_steps(step) -> float:
    return float(step.params.steps)


def sizes(chunks) -> list[int]:
    return [len(chunk.keys) for chunk in chunks]


def check(plan, missing, chunks) -> None:
    """Each missing step in one chunk; each chunk behind all that it waits for, and waiting for
    just those that hold its parents."""
    assert sorted(key for chunk in chunks for key in chunk.keys) == sorted(missing)
    place = {key: at for at, key in enumerate(plan.steps)}
    holder: dict[str, str] = {}
    for chunk in chunks:
        assert list(chunk.keys) == sorted(chunk.keys, key=place.__getitem__)
        parents = {parent for key in chunk.keys for parent in plan.steps[key].parents}
        outside = (parents & set(missing)) - set(chunk.keys)
        assert outside <= set(holder), "a parent's chunk comes later"
        assert set(chunk.after) == {holder[parent] for parent in outside}
        holder.update(dict.fromkeys(chunk.keys, chunk.id))


def loose_steps(number: int, **params) -> PlanMaker:
    maker = PlanMaker()
    for at in range(number):
        maker.step("s", str(at), [], str(at), **params)
    return maker


def test_small_pieces_are_joined_to_about_a_minute():
    plan = loose_steps(100, steps=4).plan()
    chunks = pack_chunks(plan, plan.steps, seconds_by_steps)
    check(plan, plan.steps, chunks)
    assert sizes(chunks) == [15] * 6 + [10]
    assert [chunk.seconds for chunk in chunks] == [60.0] * 6 + [40.0]


def test_without_times_chunks_are_counted():
    plan = loose_steps(40).plan()
    chunks = pack_chunks(plan, plan.steps)
    assert sizes(chunks) == [COUNT, COUNT, 40 - 2 * COUNT]
    assert {chunk.seconds for chunk in chunks} == {None}


def test_however_quick_steps_are_a_chunk_has_no_more_than_one_loss_may_cost():
    plan = loose_steps(3 * MOST - 1).plan()
    chunks = pack_chunks(plan, plan.steps, lambda step: 0.0)
    assert sum(sizes(chunks)) == 3 * MOST - 1
    assert MOST - 2 <= max(sizes(chunks)) <= MOST


def test_chains_stay_whole_when_they_are_joined():
    maker = PlanMaker()
    for number in range(9):
        first = maker.step("a", str(number), [], str(number), steps=10)
        maker.step("b", f"{number}!", [first], str(number), steps=10)
    plan = maker.plan()
    chunks = pack_chunks(plan, plan.steps, seconds_by_steps)
    check(plan, plan.steps, chunks)
    assert sizes(chunks) == [6, 6, 6]
    assert all(chunk.after == () for chunk in chunks)


def test_pieces_are_joined_where_that_is_nearer_to_a_minute_than_not():
    plan = loose_steps(6, steps=38).plan()
    assert sizes(pack_chunks(plan, plan.steps, seconds_by_steps)) == [2, 2, 2]
    plan = loose_steps(6, steps=42).plan()
    assert sizes(pack_chunks(plan, plan.steps, seconds_by_steps)) == [1] * 6


def test_alike_pieces_come_together_so_that_little_is_reloaded():
    maker = PlanMaker()
    for number in range(12):
        maker.step("s", str(number), [], str(number), steps=20 if number % 2 else 10)
    plan = maker.plan()
    chunks = pack_chunks(plan, plan.steps, seconds_by_steps)
    found = [{plan.steps[key].params.steps for key in chunk.keys} for chunk in chunks]
    assert found == [{10}, {20}, {20}]


def test_what_many_share_is_made_once_and_first():
    maker = PlanMaker()
    shared = maker.step("clean", "clean", [], "p", steps=6)
    for number in range(40):
        scene = maker.step("scene", str(number), [shared], str(number), steps=6)
        maker.step("rain", f"{number}!", [scene], str(number), steps=6)
    plan = maker.plan()
    chunks = pack_chunks(plan, plan.steps, seconds_by_steps)
    check(plan, plan.steps, chunks)
    assert chunks[0].keys == (shared.key,)
    assert {chunk.after for chunk in chunks[1:]} == {(chunks[0].id,)}
    assert sizes(chunks[1:]) == [10] * 8
    done = [key for key in plan.steps if key != shared.key]
    later = pack_chunks(plan, done, seconds_by_steps)
    check(plan, done, later)
    assert [chunk.keys for chunk in later] == [chunk.keys for chunk in chunks[1:]]
    assert {chunk.after for chunk in later} == {()}


def test_shared_beginnings_of_many_products_are_joined_too():
    maker = PlanMaker()
    for product in range(6):
        shared = maker.step("clean", str(product), [], str(product), steps=10)
        for number in range(10):
            name = f"{product},{number}"
            maker.step("scene", name, [shared], name, steps=10)
    plan = maker.plan()
    chunks = pack_chunks(plan, plan.steps, seconds_by_steps)
    check(plan, plan.steps, chunks)
    assert sizes(chunks) == [6] * 11
    assert chunks[0].after == ()
    assert {chunk.after for chunk in chunks[1:]} == {(chunks[0].id,)}


def test_a_piece_that_is_hardly_too_long_is_left_whole():
    maker = PlanMaker()
    shared = maker.step("clean", "clean", [], "p", steps=10)
    for number in range(7):
        maker.step("scene", str(number), [shared], str(number), steps=10)
    plan = maker.plan()
    assert sizes(pack_chunks(plan, plan.steps, seconds_by_steps)) == [8]


def test_a_long_chain_is_cut_into_even_stretches_each_after_the_one_before():
    maker = PlanMaker()
    last = maker.step("s", "0", [], "0", steps=10)
    for number in range(1, 20):
        last = maker.step("s", str(number), [last], str(number), steps=10)
    plan = maker.plan()
    chunks = pack_chunks(plan, plan.steps, seconds_by_steps)
    check(plan, plan.steps, chunks)
    assert sizes(chunks) == [5, 5, 5, 5]
    assert [chunk.after for chunk in chunks] == [(), *((c.id,) for c in chunks[:-1])]


def test_a_step_longer_than_a_chunk_is_one():
    plan = loose_steps(3, steps=200).plan()
    assert sizes(pack_chunks(plan, plan.steps, seconds_by_steps)) == [1, 1, 1]


def test_a_chunk_is_known_by_its_steps():
    plan = loose_steps(40).plan()
    first, again = (pack_chunks(plan, plan.steps) for _ in range(2))
    assert [chunk.id for chunk in first] == [chunk.id for chunk in again]
    assert len({chunk.id for chunk in first}) == len(first)
    assert Chunk(first[0].keys, ("x",), 3.0).id == first[0].id


def random_plan(seed: int, number: int):
    """Steps that look at some of those before them, near ones and far ones; and some are done."""
    chance = random.Random(seed)
    maker = PlanMaker()
    refs: list = []
    for at in range(number):
        near = refs[-chance.choice((1, 5, 200)) :]
        parents = chance.sample(near, min(len(near), chance.choice((0, 1, 1, 1, 2))))
        steps = chance.choice((4, 8, 30))
        refs.append(maker.step("s", str(at), list(dict.fromkeys(parents)), str(at), steps=steps))
    plan = maker.plan()
    missing = [key for key in plan.steps if chance.random() < chance.choice((0.5, 0.95))]
    return plan, missing


@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_plan_no_chunk_waits_for_a_later_one(seed):
    plan, missing = random_plan(seed, 400)
    chunks = pack_chunks(plan, missing, seconds_by_steps, target=random.Random(seed).uniform(5, 90))
    check(plan, missing, chunks)


def test_rank_puts_the_urgent_first_then_models_then_shapes():
    small, large = loose_steps(1, steps=4).plan(), loose_steps(1, steps=8).plan()
    other = replace(large, model=replace(large.model, name="a model"))

    def ranked(plan, priority=0):
        (chunk,) = cut_chunks(plan, plan.steps)
        return rank(plan, chunk, priority)

    line = sorted([ranked(small), ranked(other), ranked(large), ranked(large, 5)])
    assert line == [ranked(large, 5), ranked(other), ranked(small), ranked(large)]


class CountedSteps(Mapping):
    """A plan's steps that count how often they are looked at."""

    def __init__(self, steps) -> None:
        self._steps = steps
        self.looks = 0

    def __getitem__(self, key):
        self.looks += 1
        return self._steps[key]

    def __iter__(self):
        for key in self._steps:
            self.looks += 1
            yield key

    def __len__(self) -> int:
        return len(self._steps)


def bare_plan(parents: Sequence[Sequence[int]]):
    """A plan of steps with these parents by number, quick to make: its keys are counted."""
    keys = [f"{at:064x}" for at in range(len(parents))]
    asked = StepParams("p", 1, 10)
    steps = {
        key: Step(key, "s", key, "edit", asked, tuple(ParentStep(keys[i]) for i in before), ())
        for key, before in zip(keys, parents, strict=True)
    }
    return replace(PlanMaker().plan(), steps=CountedSteps(steps))


SHAPES = {
    "loose": lambda at: [],
    "chain": lambda at: [at - 1] if at else [],
    "star": lambda at: [0] if at else [],
    "ladder": lambda at: [before for before in (at - 2, at - 1) if before >= 0],
    "binary tree": lambda at: [(at - 1) // 2] if at else [],
    "comb": lambda at: [at - 1 if at % 2 else at - 2] if at > 1 else [0] * at,
    "products": lambda at: [at // 40 * 40] if at % 40 else [],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_work_grows_with_the_plan_and_no_faster(shape):
    looks = []
    for number in (500, 5000):
        plan = bare_plan([SHAPES[shape](at) for at in range(number)])
        chunks = pack_chunks(plan, list(plan.steps), seconds_by_steps)
        assert len(chunks) <= number / 3
        looks.append(plan.steps.looks)
    assert looks[1] <= 11 * looks[0]
    assert looks[1] <= 60 * 5000


def record_of(plan, step, seconds: float, **changes):
    """A record of one of the plan's steps, as if it had been made in this time."""
    image = Image.new("RGB", (64, 64))
    placed = plan_geometry(
        [], None, step.params.fit, area=64 * 64, multiple=16, default=Size(64, 64)
    )
    made = new_record(plan, step, EditResult(step.key, image, placed, seconds, ()), b"x", 1)
    return replace(made, **changes)


def test_times_are_the_median_of_what_was_measured_for_the_same_kind():
    maker = PlanMaker()
    root = maker.step("make", "a", [], "a", steps=10)
    maker.step("edit", "b", [root], "b", steps=10)
    maker.step("firm", "c", [root], "c", steps=10, true_cfg=2.0)
    plan = maker.plan()
    make, edit, firm = plan.steps.values()
    times = StepTimes(plan)
    assert times.seconds(make) is None
    for seconds in (1.0, 3.0, 50.0):
        times.add(record_of(plan, make, seconds))
    assert times.seconds(make) == pytest.approx(3.0)
    assert times.seconds(edit) == pytest.approx(6.0)  # no such record: by its work
    times.add(record_of(plan, edit, 9.0))
    assert times.seconds(edit) == pytest.approx(9.0)
    assert times.seconds(make) == pytest.approx(3.0)
    assert times.seconds(firm) == pytest.approx(4 * statistics.median((1, 3, 50, 4.5)))


def test_records_of_other_weights_or_numerics_tell_nothing():
    plan = loose_steps(1).plan()
    (step,) = plan.steps.values()
    times = StepTimes(
        plan,
        [
            record_of(plan, step, 9.0, model_digest="ab" * 32),
            record_of(plan, step, 9.0, numerics={"dtype": "bfloat16"}),
            record_of(plan, step, 9.0, params={"steps": 0}),
        ],
    )
    assert times.seconds(step) is None


def test_times_follow_a_machine_that_has_become_slower():
    plan = loose_steps(1).plan()
    (step,) = plan.steps.values()
    times = StepTimes(plan, [record_of(plan, step, 1.0)] * 200)
    for _ in range(RECENT // 2 + 1):
        times.add(record_of(plan, step, 5.0))
    assert times.seconds(step) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("total", "engines", "expected"),
    [(0, 1, 10), (100, 1, 25), (100, 2, 12.5), (1e6, 8, 60), (1e6, 0, 60)],
)
def test_small_orders_are_spread_over_the_engines(total, engines, expected):
    assert chunk_seconds(total, engines) == expected
