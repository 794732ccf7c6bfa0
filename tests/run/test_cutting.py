"""A work list in chunks: every step once, none before its parents, one to five minutes each."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.plan.estimate import StepTimes
from flows.plan.step import PlannedOutput
from flows.run.cutting import COUNT, OUTPUTS, STEPS, cut
from flows.run.execute import in_groups
from flows.run.look import Look
from flows.run.outputs import keyed_outputs
from flows.run.packing import load_seconds, pack
from flows.run.pieces import Piece, connected

from .measured import measured, record_of, timed_plan
from .samples import PlanMaker


def cut_all(plan, engines=1, missing=None, sample=None):
    keys = tuple(plan.steps) if missing is None else tuple(missing)
    records = measured(plan) if sample is None else sample
    return cut(plan, Look({}, keys, {}), records, engines, "0")


def lacking(plan, each: int) -> Look:
    """All pictures are there, and so many files of each are not."""
    outputs = {
        step: {key: row[0] for key, row in list(own.items())[:each]}
        for step, own in keyed_outputs(plan).items()
    }
    return Look(dict.fromkeys(plan.steps), (), outputs)


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
        holder.update(dict.fromkeys(chunk.keys, chunk.name))


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
def test_every_step_is_in_one_chunk_of_one_to_five_minutes_after_its_parents(drawn, engines):
    """Or of all there is."""
    plan, missing = drawn
    chunks = cut_all(plan, engines, missing)
    check(plan, missing, chunks)
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
    assert {chunk.after for chunk in others} == {(first.name,)}
    done = [key for key in plan.steps if key != first.keys[0]]
    assert {chunk.after for chunk in cut_all(plan, 2, done)} == {()}


def test_shared_beginnings_of_many_products_are_joined_too():
    plan = timed_plan([[at - at % 11] if at % 11 else [] for at in range(66)], [10] * 66)
    chunks = cut_all(plan, engines=4)
    check(plan, plan.steps, chunks)
    assert sizes(chunks) == [6] * 11
    assert chunks[0].after == ()
    assert {chunk.after for chunk in chunks[1:]} == {(chunks[0].name,)}


def test_what_joins_everything_does_not_stand_alone_for_a_moments_work():
    plan = timed_plan([[]] * 20 + [list(range(20))], [9] * 20 + [2])
    chunks = cut_all(plan)
    check(plan, plan.steps, chunks)
    assert all(chunk.seconds >= 60 for chunk in chunks)
    assert set(chunks[-1].after) == {chunk.name for chunk in chunks[:-1]}


def test_a_long_chain_is_cut_into_even_stretches_each_after_the_one_before():
    plan = timed_plan([[at - 1] if at else [] for at in range(20)], [10] * 20)
    chunks = cut_all(plan, engines=1)
    assert sizes(chunks) == [7, 6, 7]
    assert [chunk.after for chunk in chunks] == [(), *((c.name,) for c in chunks[:-1])]


def test_pieces_that_would_be_too_much_together_are_not_joined():
    costs = (85.0, 228.0, 85.0)
    pieces = [Piece((str(at),), cost, 0, ()) for at, cost in enumerate(costs)]
    assert pack(pieces, 160.0) == [[piece] for piece in pieces]


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
    seen = lacking(plan, 2)
    chunks = cut(plan, seen, (), 4, "0")
    assert [file for chunk in chunks for file in chunk.outputs] == list(seen.outputs)
    assert [len(chunk.outputs) for chunk in chunks] == [OUTPUTS, OUTPUTS, 600 - 2 * OUTPUTS]
    assert {(chunk.keys, chunk.after) for chunk in chunks} == {((), ())}
    assert len({chunk.name for chunk in chunks}) == 3


def test_the_files_of_one_picture_stay_together():
    plan = with_outputs(loose_steps(100, steps=4), 3)
    chunks = cut(plan, lacking(plan, 3), (), 1, "0")
    assert [len(chunk.outputs) for chunk in chunks] == [255, 45]


def test_nothing_missing_is_no_chunk():
    assert cut(loose_steps(3), Look({}, (), {}), (), 4, "0") == ()


def test_chunks_are_numbered_in_one_width():
    names = [chunk.name for chunk in cut_all(loose_steps(200, steps=60))]
    assert names == [f"0-{number:02d}" for number in range(1, len(names) + 1)]
    assert len(names) > 9


@pytest.mark.parametrize(
    ("total", "engines", "expected"),
    [(0, 1, 60), (100, 1, 60), (720, 2, 60), (1200, 2, 100), (1e6, 8, 160), (1e6, 0, 160)],
)
def test_there_is_a_minute_in_a_chunk_and_more_where_there_is_enough_for_all(
    total, engines, expected
):
    assert load_seconds(total, engines) == expected


# --- the parts: connected pieces, groups that batch well, the time of a step


def labels(plan, pieces) -> list[list[str]]:
    return [[plan.steps[key].label for key in keys] for keys in pieces]


def test_connected_steps_are_one_piece_and_what_is_done_connects_nothing():
    maker = PlanMaker()
    left, right = (maker.step("make", name, [], name) for name in ("left", "right"))
    maker.step("other", "other", [], "other")
    maker.step("both", "both", [left, right], "both")
    maker.step("next", "next", [left], "next")
    plan = maker.plan()
    joined = ["make[left]", "make[right]", "both[both]", "next[next]"]
    assert labels(plan, connected(plan, list(plan.steps))) == [joined, ["other[other]"]]
    missing = [key for key in plan.steps if key != left.key]
    assert labels(plan, connected(plan, missing)) == [
        ["make[right]", "both[both]"],
        ["other[other]"],
        ["next[next]"],
    ]
    assert connected(plan, []) == []


def test_a_long_chain_does_not_overflow():
    plan = timed_plan([[at - 1] if at else [] for at in range(3000)], [1] * 3000)
    assert connected(plan, list(plan.steps)) == [tuple(plan.steps)]


def test_groups_gather_pieces_that_look_alike_until_they_are_wide_enough():
    maker = PlanMaker()
    for number in range(6):
        maker.step("s", str(number), [], str(number), steps=4 if number % 2 else 8)
    plan = maker.plan()
    groups = [{plan.steps[key].params.steps for key in one} for one in groups_of(plan, 2)]
    assert groups == [{4}, {4, 8}, {8}]


def groups_of(plan, width: int):
    return list(in_groups(plan, list(plan.steps), width))


def test_times_are_the_median_of_what_was_measured_for_the_same_kind():
    maker = PlanMaker()
    root = maker.step("make", "a", [], "a", steps=10)
    maker.step("edit", "b", [root], "b", steps=10)
    maker.step("firm", "c", [root], "c", steps=10, true_cfg=2.0)
    plan = maker.plan()
    first, edit, firm = plan.steps.values()
    seen = [record_of(plan, first, seconds) for seconds in (1.0, 3.0, 50.0)]
    times = StepTimes(plan, seen)
    assert times.seconds(first) == pytest.approx(3.0)
    assert times.seconds(edit) == pytest.approx(6.0)  # no such record: by its work
    times = StepTimes(plan, [*seen, record_of(plan, edit, 9.0)])
    assert times.seconds(edit) == pytest.approx(9.0)
    assert times.seconds(first) == pytest.approx(3.0)
    assert times.seconds(firm) == pytest.approx(4 * statistics.median((1, 3, 50, 4.5)))
    assert times.total([first, edit, edit]) == pytest.approx(21.0)


@pytest.mark.parametrize(
    "other",
    [{"model_digest": "ab" * 32}, {"numerics": {"dtype": "bfloat16"}}, {"params": {"steps": 0}}],
)
def test_records_of_other_weights_or_numerics_tell_nothing(other):
    plan = loose_steps(1)
    (step,) = plan.steps.values()
    times = StepTimes(plan, [record_of(plan, step, 9.0, **other)])
    assert times.seconds(step) is times.total([step]) is None
