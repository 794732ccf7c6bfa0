"""Judges' picks: made in the same run, recorded with their reasons, judged again when they must."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from flows.plan.planfile import decode_plan, encode_plan
from flows.run.judging import next_plan
from flows.run.outcome import State
from kontext_engine import judges
from kontext_engine.api import Judged
from kontext_engine.cutout import PACKAGE, cutout_method
from tests.decisions.board import PICK, RECIPE, Board
from tests.run.samples import WatchedEngine

JUDGED = RECIPE.replace("by: hand", "by: {score: sharpness}")


@pytest.fixture
def judged(tmp_path, monkeypatch) -> Board:
    monkeypatch.chdir(tmp_path)
    return Board(tmp_path).write(JUDGED)


def looks(engine: WatchedEngine) -> int:
    return sum(bool(request.judge) for batch in engine.asked for request in batch)


def test_a_judges_pick_opens_the_next_stage_of_the_same_run(judged):
    engine = WatchedEngine()
    assert len(judged.plan().waiting) == 4
    manifest = judged.run(engine)
    assert (manifest.whole, manifest.waiting) == (True, {})
    assert (manifest.counts[State.DONE], looks(engine)) == (6 + 6 + 2, 6)
    assert set(judged.files()) == {
        "chosen-s1.png", "chosen-s2.png", "final-s1.png", "final-s2.png",
    }  # fmt: skip
    for row in judged.decided().ledger.lines["judges"].values():
        (said,) = row
        best = max(said.scores.values(), key=lambda score: score.score)
        assert len(said.scores) == 3
        assert "its edges vary by" in best.reason
        pick = judged.plan().picks[said.slot.label]
        assert pick.chosen == said.key
        key = next(key for key, score in said.scores.items() if score == best)
        assert judged.store.peek(key).parents == (said.key,)
        assert judged.store.peek(key).blob == judged.store.peek(said.key).blob
    plan = judged.plan()
    assert decode_plan(encode_plan(plan)).steps.keys() == plan.steps.keys()


def test_it_is_judged_again_when_judge_or_candidates_have_changed(judged, monkeypatch):
    judged.run()
    engine = WatchedEngine()
    assert judged.run(engine).counts[State.DONE] == 0
    assert looks(engine) == 0
    judged.change("takes: 3", "takes: 4")
    assert judged.run(engine).whole
    assert looks(engine) == 2  # at the new ones
    newer = replace(judges.KINDS["sharpness"], version=2)
    monkeypatch.setitem(judges.KINDS, "sharpness", newer)
    judges.judges.cache_clear()
    assert judged.run(engine).whole
    assert looks(engine) == 2 + 8
    judges.judges.cache_clear()
    numbers = [row[-1].number for row in judged.decided().ledger.lines["judges"].values()]
    assert numbers == [3, 3]


def test_a_hand_comes_before_a_judge_and_what_it_rejects_is_not_judged(judged):
    judged.run()
    first = judged.plan().picks[PICK]
    best = [one.key for one in first.candidates].index(first.chosen) + 1
    judged.desk().decide("reject", first.candidates[best - 1].label, None)
    judged.run()
    second = judged.plan().picks[PICK]
    assert second.chosen not in (None, first.chosen)
    assert len(second.judged) == 2
    judged.desk().decide("pick", PICK, str(best))
    manifest = judged.run()
    assert judged.plan().picks[PICK].chosen == first.chosen
    assert next(one.by for one in manifest.picks if one.label == PICK) == "hand"
    judged.desk().decide("release", PICK, None)
    assert judged.plan().picks[PICK].chosen == second.chosen


def test_a_candidate_that_cannot_be_made_is_passed_over(judged):
    from kontext_engine.fake import FakeFaults

    plan = judged.plan()
    bad = plan.picks[PICK].candidates[1].key
    engine = WatchedEngine(faults=FakeFaults(ids=frozenset({bad})))
    manifest = judged.run(engine)
    assert manifest.counts[State.FAILED] == 1
    assert manifest.waiting == {}
    assert "final-s1.png" in judged.files()
    row = judged.decided().ledger.lines["judges"].values()
    assert any(None in said.scores.values() for (said,) in row)


def test_a_judge_of_somebody_else_is_found_by_its_entry_point(judged, monkeypatch):
    class Entry:
        name = "redness"

        @staticmethod
        def load():
            return judges.Kind("tests.decisions.test_judges:redness")

    monkeypatch.setattr(judges.metadata, "entry_points", lambda group: [Entry])
    judges.judges.cache_clear()
    judged.change("sharpness", "redness")
    manifest = judged.run()
    judges.judges.cache_clear()
    assert manifest.waiting == {}
    assert {one.judge for one in manifest.picks} == {"redness 1"}


def redness(shown: judges.Shown) -> Judged:
    return Judged(float(shown.picture.resize((1, 1)).getpixel((0, 0))[0]), "how red it is")


def test_the_next_stage_cuts_by_the_libraries_that_it_is_told(judged):
    """Those of the workers, whatever is installed where the run is planned."""
    judged.change("  final:", "  cut: {op: cutout, image: chosen}\n  final:")
    judged.run()
    plan = judged.plan()
    open_now = replace(
        plan, picks={label: replace(pick, chosen=None) for label, pick in plan.picks.items()}
    )
    outcome = SimpleNamespace(steps={})
    told = next_plan(
        open_now, outcome, judged.store, judged.settings, judged.decided(), [], judged.path,
        {PACKAGE: "1.2.3"},
    )  # fmt: skip
    methods = {step.method for step in told.steps.values() if step.operation == "cutout"}
    assert methods == {cutout_method({PACKAGE: "1.2.3"})}
    assert methods.isdisjoint(step.method for step in plan.steps.values())
