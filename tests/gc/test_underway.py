"""Runs of several workers: their stages stand for them while nobody has them in hand."""

from __future__ import annotations

import time

import pytest

from flows.gc.kinds import Kind
from flows.gc.roots import RootReader
from flows.gc.sweep import Sweep, mark
from flows.gc.underway import UnderWay, UnderWayReader
from flows.run.stages import needs as stage_needs
from flows.store.claims import claim
from tests.store.batch import age, age_all, keep, names, thumb_name, write_run, write_stage
from tests.store.samples import digest

from .samples import AUTUMN, DAY, POLICY, gone, meddle

RUN = "0195fb5e-7f1d-7000-8000-000000000001"
OTHER = "0195fb5e-7f1d-7000-8000-000000000002"


def end(objects, run: str = RUN, number: int = 0) -> str:
    name = f"verdicts/parents/{run}.{number}"
    objects.replace(name, b"{}")
    return name


def under_way(objects) -> UnderWay:
    return UnderWayReader(objects).read(time.time(), POLICY.grace)


# What a stage keeps.


def test_what_a_stage_names_stays_for_thirty_days_after_it_was_written(objects, store):
    record, source = keep(store, "planned"), store.keep(b"a photograph")
    objects.create(thumb_name(source), b"thumb")
    keep(store, "forgotten")
    stage = write_stage(objects, f"{RUN}/0", [record.key, digest("not made yet")], [source])
    age_all(objects, 29 * DAY)
    assert gone(objects) == {Kind.RECORDS: 1, Kind.BLOBS: 1}  # only what was forgotten
    assert store.read(store.find(record.key))
    assert names(objects, "stages/") == set(stage)
    age_all(objects, 31 * DAY)
    assert gone(objects) == {Kind.STAGES: 2, Kind.RECORDS: 1, Kind.THUMBS: 1, Kind.BLOBS: 2}
    assert names(objects) == set()


def test_a_verdict_ends_what_a_stage_keeps_and_both_go_after_the_grace_period(objects, store):
    record = keep(store, "planned")
    write_stage(objects, f"{RUN}/0", [record.key])
    age_all(objects, 2 * DAY)
    verdict = end(objects)
    chunk = f"verdicts/chunks/{RUN}/0-0-1.0"
    objects.replace(chunk, b"{}")
    assert gone(objects) == {}
    for name in names(objects) - {verdict, chunk}:
        age(objects, name, 10 * DAY)
    assert gone(objects) == {Kind.STAGES: 2, Kind.RECORDS: 1, Kind.BLOBS: 1}
    assert names(objects) == {verdict, chunk}
    age_all(objects, 10 * DAY)
    assert gone(objects) == {Kind.VERDICTS: 2}
    assert names(objects) == set()


def test_another_rounds_verdict_ends_nothing(objects, store):
    first, second = keep(store, "first"), keep(store, "second")
    write_stage(objects, f"{RUN}/0", [first.key])
    write_stage(objects, f"{RUN}/1", [second.key])
    end(objects, number=0)
    end(objects, OTHER, 1)
    objects.replace(f"verdicts/chunks/{RUN}/0-0-1.0", b"{}")
    objects.replace(f"verdicts/chunks/{OTHER}/0-0-1.0", b"{}")
    age_all(objects, 10 * DAY)
    # Of the run that is under way verdicts stay, also those of rounds before.
    assert gone(objects) == {Kind.STAGES: 2, Kind.VERDICTS: 2, Kind.RECORDS: 1, Kind.BLOBS: 1}
    assert store.find(second.key) is not None
    assert names(objects, "verdicts/") == {
        f"verdicts/parents/{RUN}.0",
        f"verdicts/chunks/{RUN}/0-0-1.0",
    }


def test_a_later_stage_of_a_round_keeps_the_earlier_ones(objects, store):
    record = keep(store, "planned first")
    old = write_stage(objects, f"{RUN}/0", [record.key])
    age_all(objects, 40 * DAY)
    objects.create(f"stages/{RUN}/0-1.json", objects.get(old[1]).data)
    assert gone(objects) == {}


@pytest.mark.parametrize(
    ("words", "young", "keeps"),
    [(b'{"holder": "x"}', True, True), (b'{"holder": "x"}', False, False), (b"{}", True, False)],
    ids=["renewed", "dead", "freed, where leases cannot be deleted"],
)
def test_a_lease_keeps_a_run_while_it_is_renewed_and_is_never_taken(
    objects, store, words, young, keeps
):
    record = keep(store, "planned")
    write_stage(objects, f"{RUN}/0", [record.key])
    objects.replace(f"verdicts/chunks/{RUN}/0-0-1.0", b"{}")
    leases = {f"leases/parents/{RUN}", "leases/folders/x", f"leases/chunks/{RUN}/0-0-1"}
    for name in leases:
        objects.replace(name, words)
    age_all(objects, 90 * DAY)
    if young:
        age(objects, f"leases/parents/{RUN}", DAY)
    all_of_it = {Kind.STAGES: 2, Kind.VERDICTS: 1, Kind.RECORDS: 1, Kind.BLOBS: 1}
    assert gone(objects) == ({} if keeps else all_of_it)
    assert names(objects, "leases/") == leases


def test_a_nights_list_of_recipes_stays_while_the_night_is_under_way(objects):
    night = f"stages/{RUN}/0-night.json"
    objects.create(night, b'{"recipes": ["a.yaml"]}')
    age_all(objects, 10 * DAY)
    assert under_way(objects).blind == ()
    assert gone(objects) == {}
    end(objects)
    assert gone(objects) == {Kind.STAGES: 1}


# What cannot be read.


@pytest.mark.parametrize("data", [b"torn", b"{}", b'{"folder": "f", "later": 1}', b"\xff"])
def test_a_stage_of_a_run_under_way_that_cannot_be_read_keeps_all(objects, store, data):
    keep(store, "forgotten")
    objects.replace("quarantine/blob-x-1", b"")
    name = f"stages/{RUN}/0-0.json"
    objects.create(name, data)
    write_stage(objects, f"{OTHER}/0", [])
    end(objects, OTHER)
    age_all(objects, 10 * DAY)
    done = Sweep(objects, POLICY)
    (why,) = done.run().blind
    assert why.startswith(f"{name}: the plan of a run under way that cannot be read (")
    assert "\n" not in why
    assert done.swept.counts == {Kind.QUARANTINE: 1, Kind.STAGES: 2, Kind.VERDICTS: 1}
    end(objects)
    assert gone(objects) == {Kind.STAGES: 1, Kind.RECORDS: 1, Kind.BLOBS: 1}


def test_a_stage_is_read_once(objects, monkeypatch):
    write_stage(objects, f"{RUN}/0", [digest("a")], [digest("b")])
    read = []

    def counted(data: bytes):
        read.append(data)
        return stage_needs(data)

    monkeypatch.setattr("flows.run.stages.needs", counted)
    reader = UnderWayReader(objects)
    for _ in range(3):
        found = reader.read(time.time(), POLICY.grace)
        assert (found.keys, found.blobs) == ({digest("a")}, {digest("b")})
        assert (found.rounds, found.runs) == ({(RUN, "0")}, {RUN})
    assert len(read) == 1
    end(objects)
    assert reader.read(time.time(), POLICY.grace) == UnderWay()


# Moments.


def test_a_run_that_hands_over_while_roots_are_read_is_never_without_protection(
    objects, store, monkeypatch
):
    """Its worker must end: the claim goes between two looks, and the stage was written before."""
    record = keep(store, "planned")
    age_all(objects)
    context = claim(objects, run=AUTUMN, plan=digest("p"), keys=[record.key])
    context.__enter__()

    def hand_over():
        write_stage(objects, f"{RUN}/0", [record.key])
        context.__exit__(None, None, None)

    reader = RootReader(objects, POLICY.grace)
    assert reader.read(time.time()).keys == {record.key}
    meddle(monkeypatch, "list", "claims/", hand_over)
    roots = reader.read(time.time())
    assert roots.claims == ()
    assert record.key in roots.keys


def test_a_run_that_ends_while_roots_are_read_is_read_as_ended(objects, store, monkeypatch):
    record = keep(store, "made")
    write_stage(objects, f"{RUN}/0", [record.key])

    def finish():
        write_run(objects, AUTUMN, [record])
        end(objects)

    ended = meddle(monkeypatch, "list", "verdicts/parents/", finish)
    roots = RootReader(objects, POLICY.grace).read(time.time())
    assert ended
    assert roots.under_way == UnderWay()
    assert roots.keys == {record.key}  # by its manifest


def test_a_run_that_goes_on_between_look_and_deletion_keeps_its_stage(objects, monkeypatch):
    stage = write_stage(objects, f"{RUN}/0", [])
    age_all(objects, 40 * DAY)

    def revive(what, done, total):
        objects.replace(f"leases/parents/{RUN}", b'{"holder": "x"}')

    objects.replace("quarantine/blob-x-1", b"")
    age(objects, "quarantine/blob-x-1")
    done = Sweep(objects, POLICY, tell=revive, slice_seconds=0.0)
    assert len(done.run().entries(Kind.STAGES)) == 2
    assert done.swept.counts == {Kind.QUARANTINE: 1}
    assert names(objects, "stages/") == set(stage)


def test_killed_when_a_verdict_went_it_leaves_no_stage_without_one(objects, monkeypatch):
    write_stage(objects, f"{RUN}/0", [digest("a")])
    end(objects)
    age_all(objects, 10 * DAY)

    def die():
        raise KeyboardInterrupt

    meddle(monkeypatch, "remove", "verdicts/", die, after=True)
    with pytest.raises(KeyboardInterrupt):
        gone(objects)
    assert under_way(objects) == UnderWay()


# Orders, and what an earlier release left.


def test_what_was_ordered_stays_for_thirty_days(objects, store):
    recipe, picture = store.keep(b"a recipe"), store.keep(b"a photograph")
    files = f'{{"recipe": "r.yaml", "files": {{"r.yaml": "{recipe}", "a.png": "{picture}"}}}}'
    order = f"orders/{digest(files)}"
    objects.create(order, files.encode())
    age_all(objects, 29 * DAY)
    assert gone(objects) == {}
    age(objects, order, 31 * DAY)
    assert gone(objects) == {Kind.ORDERS: 1, Kind.BLOBS: 2}


def test_an_order_of_another_release_keeps_its_blobs_all_the_same(objects, store):
    blob = store.keep(b"a recipe")
    objects.create(f"orders/{digest('o')}", f"version 2\nrecipe = {blob}\n".encode())
    age_all(objects, 10 * DAY)
    assert gone(objects) == {}


def test_unfinished_runs_of_the_former_scheduler_are_named_and_go(objects):
    order = f"active/{AUTUMN}/order.json"
    for name in (order, f"active/{AUTUMN}/plan", "coordinator.json"):
        objects.create(name, b"{}")
    assert gone(objects) == {}
    age_all(objects)
    told = mark(objects, POLICY, time.time())
    (note,) = told.notes
    assert note == (
        f"{order}: an unfinished run of an earlier release, which nobody goes on with; run its "
        "recipe again"
    )
    assert gone(objects) == {Kind.FORMER: 3}
    assert names(objects) == set()
