"""A work list in chunks: every step once, none before its parents, one to five minutes each."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.execution.cutting import COUNT, OUTPUTS, STEPS, cut
from flows.execution.work import Missing
from flows.outputs import keyed_outputs
from flows.recipe.step import PlannedOutput

from .measured import measured, timed_plan
from .samples import PlanMaker


def cut_all(plan, engines=1, missing=None, sample=None):
    keys = tuple(plan.steps) if missing is None else tuple(missing)
    records = measured(plan) if sample is None else sample
    return cut(plan, Missing(keys, ()), records, engines)


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


# --- whatever the plan

# The same plans each time: a test that fails by chance is mended by chance.
thorough = settings(max_examples=300, deadline=None, derandomize=True)

LONGEST = 30  # seconds that a step takes here


@st.composite
def plans(draw):
    """Steps that look at some of those before them, near ones and far ones; and some are done."""
    number = draw(st.integers(1, 60))
    reach = draw(st.sampled_from([0, 1, 3, 60]))
    parents = [
        draw(st.lists(st.integers(max(0, at - reach), at - 1), max_size=2, unique=True))
        if at and reach
        else []
        for at in range(number)
    ]
    seconds = draw(st.lists(st.integers(1, LONGEST), min_size=number, max_size=number))
    plan = timed_plan(parents, seconds)
    gone = draw(st.lists(st.sampled_from(list(plan.steps)), unique=True, max_size=number // 3))
    return plan, tuple(key for key in plan.steps if key not in set(gone))


def seconds_of(plan, keys) -> float:
    return float(sum(plan.steps[key].params.steps for key in keys))


@thorough
@given(plans(), st.integers(1, 8))
def test_every_step_is_in_one_chunk_that_comes_after_its_parents(drawn, engines):
    plan, missing = drawn
    check(plan, missing, cut_all(plan, engines, missing))


@thorough
@given(plans(), st.integers(1, 8))
def test_a_chunk_is_one_to_five_minutes_or_all_there_is(drawn, engines):
    plan, missing = drawn
    chunks = cut_all(plan, engines, missing)
    sizes = [seconds_of(plan, chunk.keys) for chunk in chunks]
    assert [chunk.seconds for chunk in chunks] == pytest.approx(sizes)
    assert all(size <= 300 for size in sizes)
    assert all(size >= min(60, sum(sizes)) for size in sizes)


@thorough
@given(
    st.lists(st.lists(st.integers(1, 10), min_size=1, max_size=3), min_size=1, max_size=200),
    st.integers(1, 8),
)
def test_where_there_is_work_for_all_nobody_is_left_without(chains, engines):
    """Chains of half a minute at most can be joined as evenly as anybody may want."""
    parents = [[at - 1] if place else [] for at, place in enumerate_chains(chains)]
    plan = timed_plan(parents, [time for chain in chains for time in chain])
    chunks = cut_all(plan, engines)
    assert all(chunk.after == () for chunk in chunks)
    minutes = seconds_of(plan, plan.steps) / (60 + 30)  # where the last chain fits badly each time
    assert len(chunks) >= min(3 * engines, int(minutes))


def enumerate_chains(chains):
    at = 0
    for chain in chains:
        for place in range(len(chain)):
            yield at, place
            at += 1


# --- by example


def loose_steps(number: int, **params):
    maker = PlanMaker()
    for at in range(number):
        maker.step("s", str(at), [], str(at), **params)
    return maker.plan()


def sizes(chunks) -> list[int]:
    return [len(chunk.keys) for chunk in chunks]


def test_small_pieces_are_joined_evenly():
    for engines in (1, 4):
        chunks = cut_all(loose_steps(100, steps=4), engines)
        assert sorted(sizes(chunks)) == [16, 16, 17, 17, 17, 17]


def test_less_than_a_minute_is_one_chunk():
    (chunk,) = cut_all(loose_steps(7, steps=8), engines=8)
    assert (len(chunk.keys), chunk.seconds) == (7, 56.0)


def test_without_times_steps_are_counted():
    chunks = cut_all(loose_steps(3 * COUNT + 5), sample=())
    assert sizes(chunks) == [18, 18, 17]
    assert {chunk.seconds for chunk in chunks} == {None}


def test_however_quick_steps_are_there_is_an_end_to_a_chunk():
    plan = timed_plan([[]] * (2 * STEPS), [1] * (2 * STEPS))
    quick = [replace(record, seconds=0.0) for record in measured(plan)]
    assert sizes(cut_all(plan, sample=quick)) == [STEPS, STEPS]


def test_chains_stay_whole_when_they_are_joined():
    plan = timed_plan([[at - 1] if at % 2 else [] for at in range(18)], [10] * 18)
    chunks = cut_all(plan)
    assert sizes(chunks) == [6, 6, 6]
    assert all(chunk.after == () for chunk in chunks)


def test_alike_pieces_come_together_so_that_little_is_reloaded():
    plan = timed_plan([[]] * 12, [20 if at % 2 else 10 for at in range(12)])
    chunks = cut_all(plan)
    found = [{plan.steps[key].params.steps for key in chunk.keys} for chunk in chunks]
    assert found == [{10}, {20}, {20}]


def test_what_many_share_is_made_first_with_as_little_else_as_makes_a_minute():
    # One, and forty pairs that begin from it.
    parents = [[], *([0] if at % 2 else [at - 1] for at in range(1, 81))]
    plan = timed_plan(parents, [6] * 81)
    chunks = cut_all(plan, engines=2)
    check(plan, plan.steps, chunks)
    first, *others = chunks
    assert first.keys[0] == next(iter(plan.steps))
    assert 60 <= first.seconds < 72
    assert {chunk.after for chunk in others} == {(first.id,)}
    done = [key for key in plan.steps if key != first.keys[0]]
    assert {chunk.after for chunk in cut_all(plan, 2, done)} == {()}


def test_shared_beginnings_of_many_products_are_joined_too():
    plan = timed_plan([[at - at % 11] if at % 11 else [] for at in range(66)], [10] * 66)
    chunks = cut_all(plan, engines=4)
    check(plan, plan.steps, chunks)
    assert sizes(chunks) == [6] * 11
    assert chunks[0].after == ()
    assert {chunk.after for chunk in chunks[1:]} == {(chunks[0].id,)}


def test_what_joins_everything_does_not_stand_alone_for_a_moments_work():
    plan = timed_plan([[]] * 20 + [list(range(20))], [9] * 20 + [2])
    chunks = cut_all(plan)
    check(plan, plan.steps, chunks)
    assert all(chunk.seconds >= 60 for chunk in chunks)
    assert set(chunks[-1].after) == {chunk.id for chunk in chunks[:-1]}


def test_a_long_chain_is_cut_into_even_stretches_each_after_the_one_before():
    plan = timed_plan([[at - 1] if at else [] for at in range(20)], [10] * 20)
    chunks = cut_all(plan, engines=1)
    assert sizes(chunks) == [7, 6, 7]
    assert [chunk.after for chunk in chunks] == [(), *((c.id,) for c in chunks[:-1])]


def test_a_step_longer_than_a_chunk_is_one():
    assert sizes(cut_all(timed_plan([[]] * 3, [400] * 3))) == [1, 1, 1]


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
        plan = timed_plan([SHAPES[shape](at) for at in range(number)], [10] * number)
        sample = measured(plan)
        plan.steps.looks = 0
        chunks = cut_all(plan, sample=sample)
        assert len(chunks) <= number / 3
        looks.append(plan.steps.looks)
    assert looks[1] <= 11 * looks[0]
    assert looks[1] <= 60 * 5000


# --- outputs


def with_outputs(plan, each: int):
    outputs = tuple(
        PlannedOutput(key, "all", f"{number}-{quality}.jpg", "jpeg", quality)
        for number, key in enumerate(plan.steps)
        for quality in range(50, 50 + each)
    )
    return replace(plan, outputs=outputs)


def test_outputs_ride_with_their_steps():
    plan = with_outputs(loose_steps(40, steps=4), 2)
    known = keyed_outputs(plan)
    for chunk in cut_all(plan):
        assert chunk.outputs == tuple(file for key in chunk.keys for file in known[key])


def test_outputs_of_pictures_that_are_there_are_packed_by_themselves():
    plan = with_outputs(loose_steps(300, steps=4), 3)
    known = keyed_outputs(plan)
    lacking = tuple(file for own in known.values() for file in list(own)[:2])
    chunks = cut(plan, Missing((), lacking), (), 4)
    assert [file for chunk in chunks for file in chunk.outputs] == list(lacking)
    assert [len(chunk.outputs) for chunk in chunks] == [OUTPUTS, OUTPUTS, 600 - 2 * OUTPUTS]
    assert {(chunk.keys, chunk.after) for chunk in chunks} == {((), ())}
    assert len({chunk.id for chunk in chunks}) == 3


def test_the_files_of_one_picture_stay_together():
    plan = with_outputs(loose_steps(100, steps=4), 3)
    lacking = tuple(file for own in keyed_outputs(plan).values() for file in own)
    chunks = cut(plan, Missing((), lacking), (), 1)
    assert [len(chunk.outputs) for chunk in chunks] == [255, 45]


def test_nothing_missing_is_no_chunk():
    assert cut(loose_steps(3), Missing((), ()), (), 4) == ()
